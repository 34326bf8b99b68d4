"""Labels as a user's files have them: which there are, of which kind, and their numbers."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from paddlenlp_ext import metrics
from paddlenlp_ext.errors import DataError, WeightsError, shown
from paddlenlp_ext.files.disk import MAX_JSON, read_file
from paddlenlp_ext.tasks.label_orders import is_unnamed
from paddlenlp_ext.tasks.records import fault_of
from paddlenlp_ext.tasks.rows import read_score
from paddlenlp_ext.tasks.task import Metric

SLIPS = 0.25  # most of the labels that occur among scores and are none
NUMBER = re.compile(r"\d+(?:\.0*)?")
WHOLE = re.compile(r"([+-]?\d+)\.0*")  # as pandas has integers, too, where some are lacking
PATHS = ("/", "~", "./", "../")  # what begins one
ProblemType = Literal["single_label", "multi_label", "regression"]
Label = int | float | npt.NDArray[np.float32]
Written = str | tuple[str, ...]  # a label as it is written; several at once are a tuple
ReadLabel = Callable[[Written], Label]


def written_label(value: Any, name: str, separator: str | None) -> Written:
    """Return a label, or several, as text; ValueError says what it lacks.

    Args:
        value: Of the field.
        name: Of its column, for messages.
        separator: What parts several labels in a text; None where it is one.
    """
    if isinstance(value, list):
        return tuple(dict.fromkeys(_one_written(one, name) for one in value))
    if separator is not None and isinstance(value, str):
        parts = (part.strip() for part in value.split(separator))
        return tuple(dict.fromkeys(part for part in parts if part))
    return _one_written(value, name)


def _one_written(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    text = repr(value) if isinstance(value, float) else value
    if not isinstance(text, str) or not text.strip():
        got = "none" if text is None or isinstance(text, str) else shown(text, 40)
        raise ValueError(f"expected a label, got {got} in column {shown(name, 40)}")
    if reason := fault_of(text):
        raise ValueError(reason)
    return text.strip()


def guess_problem(written: Iterable[Written]) -> ProblemType:
    """Guess the kind of problem: lists are several labels, numbers with fractions are scores.

    A few others among those, such as "N/A", are slips, which the reader of scores refuses.
    """
    labels = {*written}
    scores = []
    for one in labels:
        if isinstance(one, tuple):
            return "multi_label"
        with suppress(ValueError):
            scores.append(read_score(one))
    has_fraction = not all(map(float.is_integer, scores))
    are_scores = len(labels) - len(scores) <= SLIPS * len(labels)
    return "regression" if are_scores and has_fraction else "single_label"


def sorted_labels(
    written: Iterable[Written], problem: ProblemType, column: str | None
) -> tuple[str, ...]:
    """Number the labels that occur: numbers by their size, texts as they are sorted.

    "1" and "1.0" are one label, as it is written shorter. A regression has none.

    Args:
        written: Of all rows to train on.
        problem: With one label a row there must be two or more.
        column: Where they stand, for messages.

    Raises:
        DataError: There are too few.
    """
    if problem == "regression":
        return ()
    found = {label for one in {*written} for label in ((one,) if isinstance(one, str) else one)}
    if not found or (problem == "single_label" and len({*map(_whole, found)}) < 2):
        raise DataError(
            f"`train_file`: expected two labels or more in column {shown(column, 40)}, got "
            f"{', '.join(found) or 'none'}; give the right `label_column_name`, or all `labels`"
        )
    is_numbers = all(map(NUMBER.fullmatch, found))
    shortest = {_whole(label): label for label in sorted(found, key=len, reverse=True)}
    return tuple(sorted(shortest.values(), key=_size if is_numbers else None))


def _whole(label: str) -> str:
    """Write whole numbers in one way."""
    found = WHOLE.fullmatch(label)
    return found[1] if found else label


def _size(number: str) -> tuple[int, str, str]:
    """Return what sorts numbers of any length by their size."""
    digits = number.partition(".")[0].lstrip("0")
    return len(digits), digits, number


def given_labels(given: Sequence[str]) -> tuple[str, ...]:
    """Return labels that are given in their order, or in a file with one a line.

    Raises:
        DataError: The file cannot be read, or a label comes twice.
    """
    labels = [*given]
    if len(labels) == 1 and _is_path(labels[0]):
        path = Path(os.path.expanduser(labels[0]))
        try:
            lines = read_file(path, MAX_JSON).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise DataError(f"{path}: expected labels in UTF-8, one a line") from None
        except WeightsError as error:
            raise DataError(f"`labels`: {error}; give a file with a label a line") from None
        labels = [line.strip() for line in lines if line.strip()]
    twice = next((label for label, count in Counter(labels).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"`labels`: {shown(twice, 40)} comes twice; give each once")
    if not labels:
        raise DataError("`labels`: expected labels, got none")
    return tuple(labels)


def _is_path(text: str) -> bool:
    """Whether a text is the path of a file, or looks like one of a file that is not there."""
    is_meant = text.startswith(PATHS) or text.endswith(".txt")
    return is_meant or os.path.isfile(text)


def label_reader(problem: ProblemType, labels: Sequence[str]) -> ReadLabel:
    """Return what numbers a written label; its ValueError says what is wrong with it.

    Whole numbers may be written as "1.0", too, and labels of the names that a library makes up
    ("LABEL_0") as their numbers.
    """
    if problem == "regression":
        return _score_of
    numbers = {label: number for number, label in enumerate(labels)}
    if is_unnamed(labels):
        numbers |= {str(number): number for number in range(len(labels))}
    numbers = {_whole(label): number for label, number in numbers.items()} | numbers

    def number_of(label: str) -> int:
        number = numbers.get(label, numbers.get(_whole(label)))
        if number is None:
            raise ValueError(f"expected a label of {', '.join(labels)}, got {shown(label, 40)}")
        return number

    if problem == "single_label":
        return lambda written: number_of(_single(written))
    vectors: dict[Written, npt.NDArray[np.float32]] = {}  # one object for all rows alike

    def vector_of(written: Written) -> npt.NDArray[np.float32]:
        if written not in vectors:
            vector = np.zeros(len(labels), np.float32)
            for label in (written,) if isinstance(written, str) else written:
                vector[number_of(label)] = 1
            vectors[written] = vector
        return vectors[written]

    return vector_of


def _score_of(written: Written) -> float:
    try:
        return read_score(_single(written))
    except ValueError as error:
        raise ValueError(f"{error} (`problem_type` is regression)") from None


def _single(written: Written) -> str:
    if isinstance(written, tuple):
        raise ValueError(f"expected one label, got a list of {len(written)}")
    return written


def metric_of(problem: ProblemType, labels: Sequence[str]) -> Metric:
    """Return the metric of a kind of problem."""
    if problem == "regression":
        return metrics.regression
    by_labels = metrics.multi_label if problem == "multi_label" else metrics.single_label
    return partial(by_labels, names=labels)
