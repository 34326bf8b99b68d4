"""The files that predictions are written to, row by row: labels, tags, answers and choices.

Each writer is a context that gives a function, which writes a row. The files are there as a whole
once the block has ended; of a block that fails nothing is left, and what was there before stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import replace_file, unwritten
from paddlenlp_ext.tasks.predictions import Kind, LabelPredictions, answer_of

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.choices import ChoiceExample
    from paddlenlp_ext.tasks.questions import Question
    from paddlenlp_ext.tasks.spans import Found
    from paddlenlp_ext.tasks.token_labels import TaggedSentence

Scores = npt.NDArray[np.float64]
Writer = AbstractContextManager[Callable[..., None]]


def path_of(folder: Path, part: str, ending: str = "tsv", kind: str = "predictions") -> Path:
    """Return where predictions are written.

    Args:
        folder: Of all of them.
        part: What of the data they are of, where there are several parts: a language.
        ending: What the file is.
        kind: What it holds.
    """
    return folder / f"{kind}{part and '_'}{part}.{ending}"


def write_all(writer: Writer, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write rows, each by what the writer's function takes.

    Raises:
        WeightsError: They cannot be written; what was there before is whole.
    """
    with writer as write:
        for row in rows:
            write(*row)


def write_labels(folder: Path, part: str, predictions: LabelPredictions) -> Path:
    """Write the predictions of a file's rows; see `label_writer`. Returns the table."""
    labels, kind = predictions.labels, predictions.kind
    rows = zip(predictions.sources, predictions.scores, strict=True)
    write_all(label_writer(folder, part, labels, kind), rows)
    return path_of(folder, part)


@contextmanager
def label_writer(
    folder: Path, part: str, labels: Sequence[str], kind: Kind
) -> Iterator[Callable[[str, Scores], None]]:
    """Write labels as a table and as a JSON object a line.

    `predictions.tsv` has the columns id, label, and the probability of each label (or score, for a
    regression), `predictions.jsonl` the same by name.

    Args:
        folder: Where to; made if it is not there.
        part: See `path_of`.
        labels: By their numbers; none for a regression.
        kind: How scores became probabilities.

    Yields:
        Takes where a row stands ("test.tsv:17"), and its scores, float64 [C].

    Raises:
        WeightsError: They cannot be written.
    """
    field = "label" if labels else "score"
    paths = path_of(folder, part), path_of(folder, part, "jsonl")
    with replaced(*paths) as (table, lines):
        table.write(_line("id", field, *(f"probability_{name}" for name in labels)))

        def write(source: str, scores: Scores) -> None:
            answer = answer_of(scores, labels, kind)
            table.write(_line(source, answer, *(scores if labels else ())))
            row = {"id": source, field: answer}
            if labels:
                row["probabilities"] = dict(zip(labels, scores.tolist(), strict=True))
            lines.write(_object(row))

        yield write


@contextmanager
def tag_writer(
    folder: Path, part: str
) -> Iterator[Callable[[TaggedSentence, Sequence[str]], None]]:
    """Write tags: `predictions.tsv`, a word and its tag a line, and `predictions.jsonl`.

    Args:
        folder: Where to; made if it is not there.
        part: See `path_of`.

    Yields:
        Takes a sentence, and the tags of its words.

    Raises:
        WeightsError: They cannot be written.
    """
    paths = path_of(folder, part), path_of(folder, part, "jsonl")
    with replaced(*paths) as (table, lines):

        def write(sentence: TaggedSentence, tags: Sequence[str]) -> None:
            table.writelines(_line(*pair) for pair in zip(sentence.words, tags, strict=True))
            table.write("\n")
            lines.write(_object({"id": sentence.source, "words": sentence.words, "tags": tags}))

        yield write


@contextmanager
def answer_writer(
    folder: Path, part: str, *, has_negatives: bool
) -> Iterator[Callable[[Question, Found], None]]:
    """Write answers: as a table, as a JSON object a line, and as the official scripts read them.

    These are `predictions.json`, the answers by the ids of their questions, and
    `nbest_predictions.json`; with SQuAD 2.0's, `null_odds.json`.

    Args:
        folder: Where to; made if it is not there.
        part: See `path_of`.
        has_negatives: Whether `null_odds.json` is wanted.

    Yields:
        Takes a question, and what was found for it.

    Raises:
        WeightsError: They cannot be written.
    """
    kinds = ("predictions", "nbest_predictions", *(("null_odds",) if has_negatives else ()))
    paths = path_of(folder, part), path_of(folder, part, "jsonl")
    official = [path_of(folder, part, "json", kind) for kind in kinds]
    columns = ("answer", "score", "start", "end")
    with replaced(*paths, *official) as (table, lines, *by_id):
        table.write(_line("id", *columns))
        is_first = True

        def write(question: Question, found: Found) -> None:
            nonlocal is_first
            chosen = found.chosen
            row = chosen.text, chosen.probability, chosen.start, chosen.end
            table.write(_line(question.name, *row))
            lines.write(_object({"id": question.name, **dict(zip(columns, row, strict=True))}))
            best = [one._asdict() for one in found.best]
            # As one object that is indented by two; only line ends of JSON itself are in the text.
            for file, value in zip(by_id, (found.answer, best, found.null_odds), strict=False):
                text = json.dumps({question.name: value}, ensure_ascii=False, indent=2)
                file.write(("{" if is_first else ",") + text[1:-2])
            is_first = False

        yield write
        for file in by_id:
            file.write("{}\n" if is_first else "\n}\n")


@contextmanager
def choice_writer(
    folder: Path, part: str, width: int
) -> Iterator[Callable[[ChoiceExample, Scores], None]]:
    """Write choices as a table and as a JSON object a line: the place of each, its text.

    Args:
        folder: Where to; made if it is not there.
        part: See `path_of`.
        width: Most choices of a row.

    Yields:
        Takes an example, and the probability of each of its choices, float64 [C].

    Raises:
        WeightsError: They cannot be written.
    """
    paths = path_of(folder, part), path_of(folder, part, "jsonl")
    with replaced(*paths) as (table, lines):
        table.write(_line("id", "label", *(f"probability_{place}" for place in range(width))))

        def write(example: ChoiceExample, scores: Scores) -> None:
            label = int(scores.argmax())
            lacking = [""] * (width - len(scores))
            table.write(_line(example.source, label, *scores, *lacking))
            named = {str(place): score for place, score in enumerate(scores.tolist())}
            row = {"id": example.source, "label": label, "answer": example.choices[label]}
            lines.write(_object({**row, "probabilities": named}))

        yield write


@contextmanager
def replaced(*paths: Path) -> Iterator[list[TextIO]]:
    """Open files of one folder to write, which are put in their places once the block has ended.

    Raises:
        WeightsError: They cannot be written.
    """
    folder = paths[0].parent
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WeightsError(unwritten(error, folder)) from error
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    stack.enter_context(replace_file(path)).open(
                        "w", encoding="utf-8", errors="backslashreplace", newline="\n"
                    )
                )
                for path in paths
            ]
    except BaseException:
        for one in made:
            with suppress(OSError):
                one.rmdir()
        raise


def _object(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _line(*values: Any) -> str:
    return "\t".join(map(_field, values)) + "\n"


def _field(value: Any) -> str:
    """Write a field of a table, in which tabs and line ends would be others."""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = ",".join(value) if isinstance(value, list) else str(value)
    return " ".join(text.split()) if {*"\t\n\r"} & {*text} else text
