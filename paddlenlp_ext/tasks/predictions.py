"""What a model's scores mean, probabilities and labels, and the files that say so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.files.disk import replace_file

Array = npt.NDArray[Any]

# How scores become probabilities: of classes that exclude one another, of those that do not, or
# not at all, where they are a regression's.
Kind = Literal["softmax", "sigmoid", "none"]
THRESHOLD = 0.5  # probability from which on one of several labels at once is said


def kind_of(num_labels: int, problem_type: str | None) -> Kind:
    """Choose how scores become probabilities.

    Args:
        num_labels: Width of the classifier; 1 is a regression unless the config says otherwise.
        problem_type: As a config has it.
    """
    if problem_type == "multi_label_classification":
        return "sigmoid"
    is_regression = problem_type == "regression" or (problem_type is None and num_labels == 1)
    return "none" if is_regression else "softmax"


def probabilities(logits: Array, kind: Kind) -> npt.NDArray[np.float64]:
    """Turn scores into probabilities.

    Args:
        logits: float [..., C].
        kind: How; "none" returns them as they are.
    """
    scores = np.asarray(logits, np.float64)
    if kind == "softmax":
        shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
        found: npt.NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
        return found
    if kind == "sigmoid":
        # Of a large negative number, `exp` of its opposite would not be finite.
        small = np.exp(-np.abs(scores))
        return np.where(scores >= 0, 1 / (1 + small), small / (1 + small))
    return scores


def best_first(values: Array, number: int | None = None) -> Sequence[int]:
    """Return the places of the greatest values, the greatest first, and of equal ones the first.

    Args:
        values: [N].
        number: How many; None is all.
    """
    places: list[int] = np.argsort(-values, kind="stable")[:number].tolist()
    return places


@dataclass(frozen=True)
class LabelPredictions:
    """What a model says of the rows of a file.

    Attributes:
        sources: Where each row stands ("test.tsv:17").
        scores: Of the labels, or of a regression; float64 [N, C].
        labels: Names of the labels; empty for a regression.
        kind: How scores became probabilities.
    """

    sources: Sequence[str]
    scores: npt.NDArray[np.float64]
    labels: Sequence[str]
    kind: Kind

    @classmethod
    def of(
        cls, logits: Array, sources: Sequence[str], labels: Sequence[str], kind: Kind
    ) -> LabelPredictions:
        """Make them of logits, float [N, C]."""
        scores = probabilities(logits, kind).reshape(len(sources), -1)
        return cls(sources, scores, () if kind == "none" else labels, kind)

    def answers(self) -> list[Any]:
        """Return each row's answer: a label, a list of them where a row has several, or a score."""
        if self.kind == "none":
            return [float(row[0]) for row in self.scores]
        if self.kind == "softmax":
            return [self.labels[place] for place in self.scores.argmax(axis=-1)]
        chosen = self.scores >= THRESHOLD
        return [
            [name for name, is_said in zip(self.labels, row, strict=True) if is_said]
            for row in chosen
        ]


def write_predictions(
    folder: Path, predictions: LabelPredictions, part: str = ""
) -> tuple[Path, Path]:
    """Write predictions as a table and as a JSON object a line.

    Args:
        folder: Where to; made if it is not there.
        predictions: Of the rows of one file.
        part: What of the data they are of, where there are several parts: a language.

    Returns:
        `predictions.tsv`, with the columns id, label, and the probability of each label (or score,
        for a regression), and `predictions.jsonl`; with "_" and the part in their names.

    Raises:
        WeightsError: They cannot be written; what was there before is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"predictions_{part}" if part else "predictions"
    table, lines = folder / f"{stem}.tsv", folder / f"{stem}.jsonl"
    field = "label" if predictions.labels else "score"
    rows = [*zip(predictions.sources, predictions.answers(), predictions.scores, strict=True)]
    with replace_file(table) as temporary, temporary.open("w", encoding="utf-8") as file:
        columns = ["id", field, *(f"probability_{name}" for name in predictions.labels)]
        file.write("\t".join(map(_field, columns)) + "\n")
        for source, answer, scores in rows:
            of_labels = scores if predictions.labels else ()
            file.write("\t".join(map(_field, (source, answer, *of_labels))) + "\n")
    with replace_file(lines) as temporary, temporary.open("w", encoding="utf-8") as file:
        for source, answer, scores in rows:
            row = {"id": source, field: answer}
            if predictions.labels:
                row["probabilities"] = dict(zip(predictions.labels, scores.tolist(), strict=True))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return table, lines


def _field(value: Any) -> str:
    """Write a field of a table, in which tabs and line ends would be others."""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = ",".join(value) if isinstance(value, list) else str(value)
    return " ".join(text.split()) if {*"\t\n\r"} & {*text} else text
