"""How much each class weighs in training: by the user's numbers, or by how rare it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlenlp_ext.errors import DataError, UserError, WeightsError, shown
from paddlenlp_ext.files.disk import MAX_JSON, parse_json, read_file
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.label_orders import numbers_by_name
from paddlenlp_ext.tasks.rows import BOM, read_score
from paddlenlp_ext.tasks.task import Task
from paddlenlp_ext.training.losses import Emphasis

BALANCED = "balanced"
Weights = Mapping[str, float]
Rows = Iterator[tuple[str, str, Any]]  # where it stands, a label, and what is to be its weight
EXPECTED = "expected lines of a label, a tab and its weight, or a JSON object of them"


def read_class_weights(choice: str | None) -> str | Weights | None:
    """Read what `class_weights` names: a file, unless it is "balanced".

    Args:
        choice: The setting: a path, "balanced" or None.

    Returns:
        Weights by label; what is no path, as it is.

    Raises:
        DataError: The file cannot be read, or a line of it.
    """
    if choice in (None, BALANCED):
        return choice
    assert choice is not None
    path = Path(choice)
    try:
        raw = read_file(path, MAX_JSON).removeprefix(BOM)
        text = raw.decode()
        is_json = text.lstrip().startswith("{")
        rows = _of_json(parse_json(raw, path), path) if is_json else _of_lines(text, path)
    except WeightsError as error:
        raise DataError(
            f"`class_weights`: {error}; give {BALANCED!r}, or a file of weights"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 ({error}); {EXPECTED}") from None
    weights: dict[str, float] = {}
    for where, label, weight in rows:
        _add(weights, label, weight, where)
    if not weights:
        raise DataError(f"{path}: is empty; {EXPECTED}")
    return weights


def _of_json(found: Mapping[str, Any], path: Path) -> Rows:
    return ((str(path), label, weight) for label, weight in found.items())


def _of_lines(text: str, path: Path) -> Rows:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            label, _, weight = line.strip().rpartition("\t" if "\t" in line else " ")
            yield f"{path}:{number}", label.strip(), weight


def balanced_weights(labels: Sequence[Any], num_labels: int) -> list[float]:
    """Weigh classes so that all have the same part: N / (C · count), as scikit-learn does.

    Args:
        labels: Class number of each row: int; or of each of its tokens, with `IGNORED`: int [L].
        num_labels: C; those that do not occur take no part, and weigh 1.
    """
    numbers = np.concatenate(labels) if np.ndim(labels[0]) else np.asarray(labels)
    counts = np.bincount(numbers[numbers != IGNORED], minlength=num_labels)
    classes = np.count_nonzero(counts)
    return [float(counts.sum() / (classes * count)) if count else 1.0 for count in counts]


def weights_of_labels(weights: Weights, task: Task) -> list[float]:
    """Bring the weights of a file into the order of a task's labels.

    Raises:
        UserError: A label has no weight, or a weight no label.
    """
    given, labels = [*weights], task.labels or ()
    numbers = numbers_by_name(task, given)
    lacking = [label for label, number in zip(labels, numbers, strict=True) if number is None]
    strange = [label for number, label in enumerate(given) if number not in numbers]
    if lacking or strange:
        what = f"no weight for {shown(lacking)}" if lacking else f"a weight for {shown(strange)}"
        raise UserError(
            f"`class_weights`: the file has {what}; expected one for each of {task.name}'s labels: "
            f"{', '.join(labels)}"
        )
    return [weights[given[number]] for number in numbers if number is not None]


def choose_emphasis(
    smoothing: float, weights: str | Weights | None, task: Task | None, train: Any
) -> Emphasis:
    """Say what of a task's loss training emphasises.

    Args:
        smoothing: Part of a label that all classes share.
        weights: Of `read_class_weights`.
        task: Whose labels are trained; None where something else is.
        train: Batches of it, with the labels of all rows in their features.

    Raises:
        UserError: The task has no classes, or other ones than the file.
    """
    is_wanted = smoothing or weights is not None
    if is_wanted and task is not None and (not task.labels or task.is_multi_label):
        name = "class_weights" if weights is not None else "label_smoothing_factor"
        raise UserError(
            f"`{name}`: expected a task of which each row has one of several labels, which "
            f"{task.name} is not; leave it out"
        )
    if weights is None:
        return Emphasis(smoothing)
    if task is None:
        raise UserError("`class_weights`: what is trained has no labels; leave it out")
    if isinstance(weights, str):
        by_class = balanced_weights([one.label for one in train.features], task.num_labels)
    else:
        by_class = weights_of_labels(weights, task)
    return Emphasis(smoothing, paddle.to_tensor(by_class, "float32"))


def _add(weights: dict[str, float], label: str, weight: Any, where: str) -> None:
    try:
        value = read_score(str(weight).strip(), (0, math.inf))
    except (ValueError, RecursionError):
        value = math.nan
    if not label or math.isnan(value):
        raise DataError(
            f"{where}: expected a label and a number of at least 0, got {shown(weight, 40)}"
        )
    if label in weights:
        raise DataError(
            f"{where}: the label {shown(label, 40)} has a weight already; leave one of them out"
        )
    weights[label] = value
