"""How the models of a run are judged: by the run itself, and by what reads its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TypeVar

from paddlenlp_ext.metrics import is_lower_better
from paddlenlp_ext.reporting.lines import Line

Key = TypeVar("Key")


def spelled(name: str) -> str:
    """Spell a metric in one way: "acc and f1" can be given as eval_acc_and_f1."""
    return name.removeprefix("eval_").replace("_", " ").removeprefix("eval ")


def by_step(evaluations: Iterable[Line], splits: int | None = None) -> dict[int, list[Line]]:
    """Bring the evaluations of each step together, of which all splits were evaluated.

    Args:
        evaluations: Rows of a history.
        splits: How many there are; None takes the most that a step has.
    """
    found: dict[int, list[Line]] = {}
    for row in evaluations:
        found.setdefault(row["step"], []).append(row)
    wanted = max(map(len, found.values()), default=0) if splits is None else splits
    return {step: rows for step, rows in found.items() if len(rows) == wanted}


def scores_of(steps: Mapping[int, Sequence[Line]], metric: str | None = None) -> dict[int, float]:
    """Score the model of each step: the mean of a metric over its splits; higher is better.

    Args:
        steps: Of `by_step`.
        metric: Its name as `spelled`, or "loss"; None takes the first one.

    Returns:
        No score of a step with a number that is not finite, or without the metric.
    """
    scores = {step: _score(rows, metric) for step, rows in steps.items()}
    return {step: score for step, score in scores.items() if score is not None}


def is_stale(steps: Mapping[int, Sequence[Line]], metric: str | None, patience: int) -> bool:
    """Whether as many evaluations as the patience allows were no better than one before.

    Args:
        steps: Of `by_step`.
        metric: Of `scores_of`.
        patience: 0 allows any number.
    """
    top = best(scores_of(steps, metric))
    later = [step for step in steps if top is None or step > top]
    return 0 < patience <= len(later)


def best(scores: Mapping[Key, float]) -> Key | None:
    """Choose the highest score, the first of equal ones.

    Args:
        scores: In the order of the steps.
    """
    return max(scores, key=scores.__getitem__, default=None)


def _score(rows: Iterable[Line], metric: str | None) -> float | None:
    values: list[float] = []
    for row in rows:
        numbers = {spelled(name): value for name, value in row["metrics"].items()}
        numbers.setdefault("loss", row["loss"])
        name = metric or next(iter(numbers))
        if None in numbers.values() or name not in numbers:
            return None
        values.append(-numbers[name] if is_lower_better(name) else numbers[name])
    return fmean(values) if values else None
