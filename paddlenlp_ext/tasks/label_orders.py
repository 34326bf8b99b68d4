"""Labels of a trained model beside a task's: the same by their names, maybe in another order."""

import re
from collections.abc import Sequence

from paddlenlp_ext.tasks.task import Task

SAME = {"contradictory": "contradiction", "neg": "negative", "pos": "positive"}


def is_unnamed(names: Sequence[str]) -> bool:
    """Return whether names of labels are their numbers and nothing else: "LABEL_0", "1"."""
    return all(name in (str(number), f"LABEL_{number}") for number, name in enumerate(names))


def numbers_by_name(task: Task, names: Sequence[str]) -> list[int | None]:
    """Find a task's labels among those of a model.

    Args:
        task: Its labels are looked for, in upper or lower case, with hyphens or spaces for
            underscores, and under both names that some have ("contradictory", "contradiction").
        names: Of the model's labels, by number.

    Returns:
        The model's number of each of the task's labels; None for those that it does not have.
    """
    numbers = {_bare(name): number for number, name in enumerate(names)}
    numbers |= {name: number for number, name in enumerate(names)}  # "C" beside "c"
    labels = task.labels or ()
    pairs = zip(labels, task.label_names or labels, strict=True)
    spellings = ((label, _bare(label), _bare(name)) for label, name in pairs)
    return [next((numbers[one] for one in ways if one in numbers), None) for ways in spellings]


def label_order(task: Task, names: Sequence[str]) -> tuple[int, ...] | None:
    """Find all of a task's labels among those of a model; see `numbers_by_name`.

    Returns:
        The model's number of each of the task's labels; None if the model has other ones.
    """
    order = tuple(n for n in numbers_by_name(task, names) if n is not None)
    return order if len({*order}) == task.num_labels == len(names) else None


def _bare(name: str) -> str:
    bare = re.sub(r"[\s_-]+", "_", name.strip().lower())
    return SAME.get(bare, bare)
