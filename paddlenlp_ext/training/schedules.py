"""How a learning rate runs over a run, as factors of the highest one; those of transformers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LOWEST = 1e-7  # learning rate that a polynomial falls to
TIMESCALE = 10_000  # updates after which an inverse square root without warm-up is at 0.7


@dataclass(frozen=True, slots=True)
class Course:
    """What a schedule depends on.

    Attributes:
        learning_rate: The highest.
        steps: Updates of the whole run.
        warmup: Updates of the warm-up.
    """

    learning_rate: float
    steps: int
    warmup: int

    def factor(self, kind: str, step: int) -> float:
        """Return the factor of the highest rate with which the update after `step` is made."""
        if step < self.warmup:
            return step / self.warmup
        return SCHEDULES[kind](self, step)

    def left(self, step: int) -> float:
        """Return the part of the updates after the warm-up that is still to come."""
        return max(0.0, (self.steps - step) / max(1, self.steps - self.warmup))


def _linear(course: Course, step: int) -> float:
    return course.left(step)


def _cosine(course: Course, step: int) -> float:
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (1.0 - course.left(step)))))


def _constant(course: Course, step: int) -> float:
    return 1.0


def _polynomial(course: Course, step: int) -> float:
    """Fall in a line to `LOWEST`: transformers' default power is 1."""
    rate = course.learning_rate
    return ((rate - LOWEST) * course.left(step) + LOWEST) / rate


def _inverse_sqrt(course: Course, step: int) -> float:
    scale = course.warmup or TIMESCALE
    return 1.0 / math.sqrt((step - course.warmup + scale) / scale)


# By the names of transformers' `lr_scheduler_type`; "constant" warms up too, where it is asked to.
SCHEDULES: Mapping[str, Callable[[Course, int], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "constant": _constant,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
}
