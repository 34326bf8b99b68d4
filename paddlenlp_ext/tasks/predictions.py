"""What a model's scores mean: probabilities and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

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


def answer_of(scores: npt.NDArray[np.float64], labels: Sequence[str], kind: Kind) -> Any:
    """Return a row's answer: a label, a list of them where a row has several, or a score.

    Args:
        scores: Of the labels, or of a regression; float64 [C].
        labels: Their names.
        kind: How scores became probabilities.
    """
    if kind == "none":
        return float(scores[0])
    if kind == "softmax":
        return labels[int(scores.argmax())]
    return [name for name, score in zip(labels, scores, strict=True) if score >= THRESHOLD]
