"""Labels of a trained model beside a task's: the same by their names, maybe in another order."""

from collections.abc import Sequence
from dataclasses import replace

from paddlenlp_ext.tasks.cross_lingual import SAME_LABEL, CrossLingualTask, ExamplesByLanguage


def label_order(task: CrossLingualTask, names: Sequence[str]) -> tuple[int, ...] | None:
    """Find a task's labels among those of a model.

    Args:
        task: Its labels are looked for, in upper or lower case; "contradiction" and
            "contradictory" are the same one.
        names: Of the model's labels, by number.

    Returns:
        The model's number of each of the task's labels; None if the model has other ones.
    """
    assert task.labels is not None  # these tasks are classifications
    numbers = {name.lower(): number for number, name in enumerate(names)}
    found = [numbers.get(label, numbers.get(SAME_LABEL.get(label, ""))) for label in task.labels]
    order = tuple(number for number in found if number is not None)
    return order if len(order) == len(task.labels) == len(names) else None


def renumber(examples: ExamplesByLanguage, order: Sequence[int]) -> None:
    """Give the labels of all examples a model's numbers.

    Args:
        examples: Changed in place.
        order: Of `label_order`.
    """
    for rows in examples.values():
        rows[:] = [replace(row, label=order[int(row.label)]) for row in rows]
