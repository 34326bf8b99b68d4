"""Curves of numbers over steps: smoothed, thinned, and brought together over several seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SMOOTHED_OVER = 40  # windows that a curve is made of
MOST_POINTS = 2_000  # of a drawn curve


@dataclass(frozen=True)
class Curve:
    """A number over the steps.

    Attributes:
        steps: Ascending; [N].
        values: NaN where nothing finite was measured; [N].
    """

    steps: Floats
    values: Floats

    @classmethod
    def of(cls, points: Iterable[tuple[int, float | None]]) -> Curve:
        """Make one of what was measured; of a step that was measured again, the last counts."""
        found = {step: math.nan if value is None else value for step, value in points}
        steps = sorted(found)
        return cls(np.array(steps, float), np.array([found[step] for step in steps], float))

    def __len__(self) -> int:
        """Count the points."""
        return len(self.steps)


class Band(NamedTuple):
    """Curves of several seeds as one.

    Attributes:
        curve: Their mean, at the steps that any of them has.
        deviation: The standard deviation (n - 1), NaN where fewer than two have the step; [N].
    """

    curve: Curve
    deviation: Floats

    @property
    def is_wide(self) -> bool:
        """Whether there is a band to draw."""
        return bool(np.isfinite(self.deviation).any())


def smoothed(curve: Curve) -> Curve:
    """Average a curve over windows of a fortieth of it, which its ends cut off."""
    half = len(curve) // SMOOTHED_OVER // 2
    if half == 0:
        return curve
    is_there = np.isfinite(curve.values)
    sums, counts = (
        np.concatenate([[0.0], np.cumsum(part)])
        for part in (np.where(is_there, curve.values, 0.0), is_there)
    )
    places = np.arange(len(curve))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(curve))
    found = counts[high] - counts[low]
    values = np.divide(
        sums[high] - sums[low], found, where=found > 0, out=np.full(len(curve), np.nan)
    )
    return Curve(curve.steps, values)


def thinned(curve: Curve) -> Curve:
    """Keep as many points as can be seen, the lowest and the highest of each stretch."""
    if len(curve) <= MOST_POINTS:
        return curve
    stretches = np.array_split(np.arange(len(curve)), MOST_POINTS // 2)
    kept: list[int] = []
    for places in stretches:
        values = curve.values[places]
        if np.isfinite(values).any():
            kept += sorted({places[np.nanargmin(values)], places[np.nanargmax(values)]})
        else:
            kept.append(places[0])
    return Curve(curve.steps[kept], curve.values[kept])


def band(curves: Sequence[Curve]) -> Band:
    """Average curves; each counts from its first step to its last, straight between its points."""
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return Band(Curve(np.zeros(0), np.zeros(0)), np.zeros(0))
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    rows = np.array(
        [np.interp(steps, one.steps, one.values, left=np.nan, right=np.nan) for one in curves]
    )
    counts = np.isfinite(rows).sum(axis=0)
    sums = np.nansum(rows, axis=0)
    nothing = np.full(len(steps), np.nan)
    mean = np.divide(sums, counts, where=counts > 0, out=nothing.copy())
    squares = np.nansum((rows - mean) ** 2, axis=0)
    spread = np.divide(squares, counts - 1, where=counts > 1, out=nothing)
    return Band(Curve(steps, mean), np.sqrt(spread))


def average(curves: Sequence[Curve]) -> Curve:
    """Average the parts of a split at the steps that all of them have."""
    steps = set.intersection(*(set(one.steps.tolist()) for one in curves)) if curves else set()
    shared = np.array(sorted(steps))
    rows = [one.values[np.isin(one.steps, shared)] for one in curves]
    return Curve(shared, np.mean(rows, axis=0) if len(shared) else np.zeros(0))
