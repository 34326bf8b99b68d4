"""What happens during training, as values that the loop yields and a script prints or acts on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DataPosition:
    """Where pretraining is in its data: it counts rows, whoever reads them.

    Attributes:
        epoch: Epochs that were gone through.
        row: Rows of the epoch that were used, by all processes together.
    """

    epoch: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run had come when something happened; what it takes to continue from there.

    The order of the data follows from the seed and the epoch. When a task is trained, the epoch
    and the place in it follow from the step.

    Attributes:
        step: Updates done.
        evaluations: Splits that were evaluated after this step.
        data: Where pretraining is in its data.
        mixture: The same of each reader of a mixture, in its order.
    """

    step: int = 0
    evaluations: int = 0
    data: DataPosition | None = None
    mixture: tuple[DataPosition, ...] = ()


@dataclass(frozen=True, slots=True)
class StepDone:
    """One update of the weights.

    Attributes:
        step: Number of the update, from 1.
        total_steps: Updates of the whole run.
        epoch: From 0.
        batch: Number of the update in its epoch, from 0.
        loss: Mean over the labels of the update, of all processes.
        learning_rate: That of the next update, as the pages' log lines show it.
        examples: Examples of the update, of all processes.
        seconds: What the update took, reading its batches included.
        reading_seconds: What of it was waiting for the batches.
        skipped: Whether the weights stayed as they were, because a loss or the norm of the
            gradients was not finite, or a float16 gradient overflowed.
        progress: To continue from here.
    """

    step: int
    total_steps: int
    epoch: int
    batch: int
    loss: float
    learning_rate: float
    examples: int
    seconds: float
    reading_seconds: float = 0.0
    skipped: bool = False
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a model says of the rows of a split.

    Attributes:
        logits: Float [N, C]; or by tokens, a list of each row's own, [L, C].
        labels: Class numbers, int [N]; of several labels at once, float [N, C]; of a regression,
            float [N]; or by tokens, a list of int [L].
    """

    logits: Any
    labels: Any


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A split was evaluated, on all processes together.

    Attributes:
        step: Updates done.
        split: Its name.
        loss: Mean over the labels.
        metrics: By their names; the first one is the score that a model is judged by, higher is
            better.
        examples: Examples of the split.
        seconds: What the evaluation took.
        progress: To continue from here.
        predicted: What the model says of each row; None where tokens of texts are predicted.
    """

    step: int
    split: str
    loss: float
    metrics: Mapping[str, float]
    examples: int
    seconds: float
    progress: Progress = field(default_factory=Progress)
    predicted: Predicted | None = field(default=None, repr=False, compare=False)

    @property
    def is_finite(self) -> bool:
        """Whether the loss and all metrics are numbers that say something."""
        return all(math.isfinite(value) for value in (self.loss, *self.metrics.values()))


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A signal asked the run to end; save now. The loop then raises `KeyboardInterrupt`.

    Attributes:
        step: Updates done, the same on all processes.
        signal: Number of the signal.
        progress: To continue from here.
    """

    step: int
    signal: int
    progress: Progress


Event = StepDone | Evaluated | Interrupted
