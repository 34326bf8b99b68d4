"""How much each class weighs in training: by the user's numbers, or by how rare it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlenlp_ext.errors import DataError, UserError, shown
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.label_orders import numbers_by_name
from paddlenlp_ext.tasks.task import Task
from paddlenlp_ext.training.losses import Emphasis

BALANCED = "balanced"
Weights = Mapping[str, float]
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
    try:
        text = Path(choice).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"`class_weights`: {choice}: cannot be read ({why}); give {BALANCED!r}, or a file of "
            "weights"
        ) from error
    if text.lstrip().startswith("{"):
        return _of_json(text, choice)
    weights: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        label, _, weight = line.strip().rpartition("\t" if "\t" in line else " ")
        _add(weights, label.strip(), weight, f"{choice}:{number}")
    if not weights:
        raise DataError(f"{choice}: is empty; {EXPECTED}")
    return weights


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


def _of_json(text: str, path: str) -> Weights:
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: is no JSON ({error}); {EXPECTED}") from error
    weights: dict[str, float] = {}
    for label, weight in found.items():
        _add(weights, label, weight, path)
    return weights


def _add(weights: dict[str, float], label: str, weight: Any, where: str) -> None:
    try:
        value = float(weight)
    except (TypeError, ValueError):
        value = math.nan
    if not label or not 0 <= value < math.inf:
        raise DataError(f"{where}: expected a label and a number of at least 0, got {weight!r}")
    if label in weights:
        raise DataError(f"{where}: the label {label!r} has a weight already; leave one of them out")
    weights[label] = value
