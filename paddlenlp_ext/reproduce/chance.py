"""Whether two numbers differ by more than chance, by Student's t-interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """How far two numbers are apart.

    Attributes:
        value: Ours less the other.
        half_width: Of the interval of confidence around it; None where one run is all there is, or
            runs do not deviate.
        runs: How many there are, of the side that has fewer.
    """

    value: float
    half_width: float | None
    runs: int = 1

    @property
    def is_chance(self) -> bool | None:
        """Whether the interval has 0 in it; None where there is no interval."""
        return None if self.half_width is None else abs(self.value) <= self.half_width


def from_reported(ours: Sequence[float], reported: float, runs: int = 1) -> Difference:
    """Compare runs with a number that somebody reports.

    That is the mean of some runs itself, whose deviation is not known and taken to be that of ours.

    Args:
        ours: A number of each run.
        reported: What they are compared with.
        runs: How many it is the mean of.
    """
    value, count = fmean(ours) - reported, len(ours)
    if count < 2 or stdev(ours) == 0:
        return Difference(value, None, count)
    error = stdev(ours) * math.sqrt(1 / count + 1 / runs)
    return Difference(value, error * _quantile(count - 1), count)


def from_measured(ours: Sequence[float], others: Sequence[float]) -> Difference:
    """Compare the runs of two sides, whose deviations may differ (Welch's interval).

    Args:
        ours: A number of each run.
        others: Likewise, of the other side.
    """
    value, count = fmean(ours) - fmean(others), min(len(ours), len(others))
    if count < 2:
        return Difference(value, None, count)
    parts = [(stdev(one) ** 2 / len(one), len(one) - 1) for one in (ours, others)]
    squared = sum(part for part, _ in parts)
    if squared == 0:  # equal runs on each side
        return Difference(value, None if value else 0.0, count)
    freedom = squared**2 / sum(part**2 / degrees for part, degrees in parts)
    return Difference(value, math.sqrt(squared) * _quantile(freedom), count)


def _quantile(freedom: float) -> float:
    from scipy.stats import t  # half a second, and not for --help

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))
