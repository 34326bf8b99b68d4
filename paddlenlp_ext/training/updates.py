"""One update of the weights, from batches that are accumulated and divided among processes.

What is minimised is a mean over labels: of all accumulated batches and all processes together. So
the count of labels is brought together before the backward pass and every loss is divided by it;
two processes with 16 rows, one with 32, and one with 2 x 16 then compute the same gradient.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import devices, runtime
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.losses import Emphasis
from paddlenlp_ext.training.optimization import apply_gradients, schedule_of, squared_norms
from paddlenlp_ext.training.precision import MixedPrecision

SHOWN = 8  # rows that a message names


class NonFiniteLossError(UserError):
    """A loss, or the norm of the gradients, is not finite; the weights were left as they are."""


class OutOfMemoryError(UserError):
    """The memory of the machine or of its device does not suffice; weights are as they were."""


class Objective(Protocol):
    """What an update minimises: a sum of terms, each a mean over its own labels."""

    def count(self, batch: Batch) -> Sequence[float]:
        """Count the labels of each term, or add up their weights."""

    def losses(self, model: nn.Layer, batch: Batch) -> Sequence[Tensor]:
        """Compute each term's losses, one a label; float32 [N]."""


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """How updates are made, whatever is trained.

    Attributes:
        accumulate: Batches of an update; an epoch's last update may have fewer.
        precision: Mixed precision; None computes in float32.
        seed: Of dropout, together with the step and the rank.
        on_non_finite: Whether a loss or a norm of the gradients that is not finite ends the run,
            or only its update.
        sources: Where each training row stands ("train.tsv:17"), for messages.
        emphasis: Which labels of a task weigh more, and how sure the model shall be of them.
        is_over: Asked on all processes when all splits were evaluated after a step, which it is
            given: whether to stop there.
    """

    accumulate: int = 1
    precision: MixedPrecision | None = None
    seed: int = 42
    on_non_finite: Literal["stop", "skip"] = "stop"
    sources: Sequence[str] = ()
    emphasis: Emphasis = field(default_factory=Emphasis)
    is_over: Callable[[int], bool] = lambda step: False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an update.

    Attributes:
        loss: The objective over all accumulated batches and processes.
        examples: Of all of them.
        skipped: Whether the update was left out: a loss or the norm of the gradients was not
            finite, or a float16 gradient overflowed.
    """

    loss: float
    examples: int
    skipped: bool


@dataclass(frozen=True, slots=True)
class Updater:
    """Makes updates of a model; every process calls it for every step.

    Attributes:
        model: What is trained.
        optimizer: Of its parameters; clips their global norm, if it does, after the division.
        objective: What is minimised.
        settings: How.
    """

    model: nn.Layer
    optimizer: Optimizer
    objective: Objective
    settings: UpdateSettings

    def count(self, batches: Sequence[Batch]) -> list[float]:
        """Count this process's examples and the labels of each term, to be summed over all."""
        labels = np.sum([self.objective.count(batch) for batch in batches], axis=0)
        return [sum(len(batch.rows) for batch in batches), *map(float, labels)]

    def update(
        self,
        step: int,
        batches: Sequence[Batch],
        totals: Sequence[float],
        *,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Outcome:
        """Update the weights once.

        Args:
            step: Number of the update, from 1.
            batches: Those of this process; rows may be missing, on all but one process.
            totals: What `count` returned, summed over all processes.
            meanwhile: Called when a device that is not the host has its work for this update, and
                before its results are waited for.

        Raises:
            NonFiniteLossError: On all processes, when a loss of any of them is not finite, or the
                norm of the gradients of all of them is not.
            OutOfMemoryError: Memory does not suffice for a batch.
        """
        examples, *labels = totals
        self.model.train()
        distributed.seed_everything(self.settings.seed, step, distributed.rank())
        parameters = [p for p in self.model.parameters() if not p.stop_gradient]
        total = self._sum_of_gradients(parameters, len(batches))
        computed = self._backward(step, batches, labels, total)
        has_gradient = [parameter.grad is not None for parameter in parameters]
        gradients = total.finish()
        if not devices.current().is_host:
            meanwhile()
        # The one place where the host waits for the device: all is queued there but the update.
        losses, norm = _read([one.loss for one in computed], gradients)
        bad_rows = _bad_rows(computed, losses)
        loss, bad, *has_anywhere = distributed.all_reduce(
            [sum(losses), bool(bad_rows), *has_gradient]
        )
        total.give(gradients, [has > 0 for has in has_anywhere])
        precision, overflowed = self.settings.precision, not bad and not math.isfinite(norm)
        if not bad and not overflowed:
            self._apply(parameters, norm)
        if precision is not None and not bad:
            precision.end_update(overflowed=overflowed)
        # Scaled losses may have gradients too large for their type: on with another scale.
        is_finite = not bad and (not overflowed or bool(precision and precision.is_scaled))
        # Gradients become None, not zero: a parameter that takes no part must not be decayed.
        self.optimizer.clear_grad(set_to_zero=False)
        if not is_finite and self.settings.on_non_finite == "stop":
            raise self._non_finite(step, bad_rows)
        if (schedule := schedule_of(self.optimizer)) is not None:
            schedule.step()
        runtime.keep_large_blocks()
        return Outcome(float(loss), int(examples), skipped=bool(bad) or overflowed)

    def _apply(self, parameters: Sequence[Tensor], norm: float) -> None:
        """Update the weights by their gradients; `norm` is that of all of them."""
        scale = self.settings.precision.scale if self.settings.precision else 1.0
        gradients = [p.grad for p in parameters if p.grad is not None]
        apply_gradients(self.optimizer, gradients, norm / scale, scale)

    def _sum_of_gradients(
        self, parameters: Sequence[Tensor], count: int
    ) -> distributed.GradientSum:
        """Begin to sum the gradients of so many batches over all processes."""
        if (precision := self.settings.precision) is None or not precision.has_master_gradients:
            return distributed.GradientSum(parameters)
        # Those of other weights become float32 at the end of a backward pass, and add up so.
        own = "float32" if count > 1 else None
        return distributed.GradientSum(parameters, dtype=own, result="float32")

    def _backward(
        self,
        step: int,
        batches: Sequence[Batch],
        labels: Sequence[float],
        total: distributed.GradientSum,
    ) -> list["_Computed"]:
        """Queue the computation of the gradients; return what it gives of each batch."""
        precision = self.settings.precision
        computed: list[_Computed] = []
        own = [batch for batch in batches if len(batch.rows)]
        for batch in own:
            with memory_explained(batch, f"step {step}", is_training=True):
                with precision.autocast() if precision else nullcontext():
                    terms = self.objective.losses(self.model, batch)
                means = [t.sum() / (n or 1.0) for t, n in zip(terms, labels, strict=True)]
                loss = paddle.add_n(means)
                scaled = loss * precision.scale if precision and precision.is_scaled else loss
                total.backward(scaled, is_last=batch is own[-1])
            computed.append(_Computed(batch, [term.detach() for term in terms], loss.detach()))
        return computed

    def _non_finite(self, step: int, rows: Sequence[int]) -> NonFiniteLossError:
        sources = self.settings.sources
        names = [sources[row] if sources else f"row {row}" for row in rows]
        found = [
            f"rank {rank}: {', '.join(part[:SHOWN])}{' ...' if len(part) > SHOWN else ''}"
            for rank, part in enumerate(distributed.gather(names))
            if part
        ]
        what = f"the loss is not finite ({'; '.join(found)})"
        return NonFiniteLossError(
            f"step {step}: {what if found else 'the norm of the gradients is not finite'}; the "
            f"weights are those of step {step - 1}; {self.cure()}, or leave such updates out with "
            "`on_non_finite` skip"
        )

    def cure(self) -> str:
        """Say what helps where numbers are not finite."""
        for name, parameter in self.model.named_parameters():
            if not bool(paddle.isfinite(parameter.astype("float32")).all()):
                return f"{name} has weights that are not finite: begin with another model"
        return "lower `learning_rate`"


@contextmanager
def memory_explained(batch: Batch, when: str, *, is_training: bool) -> Iterator[None]:
    """Turn a `MemoryError` of the computations inside into one that says what to lower.

    Paddle's own message names allocations, not settings.

    Args:
        batch: What is computed with.
        when: The moment, for the message ("step 7").
        is_training: Whether there is a backward pass, which other settings make cheaper.

    Raises:
        OutOfMemoryError: Instead of `MemoryError`.
    """
    try:
        yield
    except MemoryError as error:
        rows, length = batch["input_ids"].shape
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cure = "lower `eval_batch_size`, or lower `max_seq_length`"
        if is_training:
            cure = (
                "lower `batch_size` (`gradient_accumulation_steps` makes up for it), lower "
                "`max_seq_length`, or set `recompute`"
            )
        raise OutOfMemoryError(
            f"{when}: out of memory with a batch of {rows} rows of {length} tokens "
            f"({lines[-1] if lines else 'no detail given'}); {cure}; checkpoints saved before "
            "are whole"
        ) from error


class _Computed(NamedTuple):
    """What was computed with a batch: losses of its terms, one a label, and what is minimised."""

    batch: Batch
    terms: Sequence[Tensor]
    loss: Tensor


def _read(
    losses: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> tuple[list[float], float]:
    """Read losses, and the norm of all gradients together, at once."""
    # Float64 only where a loss is: not all devices have it.
    dtype = "float64" if any(loss.dtype == paddle.float64 for loss in losses) else "float32"
    parts = [loss.reshape([1]).astype(dtype) for loss in losses]
    if any_there := [gradient for gradient in gradients if gradient is not None]:
        parts.append(squared_norms(any_there).astype(dtype))
    numbers = paddle.concat(parts).tolist() if parts else []
    return numbers[: len(losses)], math.sqrt(sum(numbers[len(losses) :]))


def _bad_rows(computed: Sequence[_Computed], losses: Sequence[float]) -> list[int]:
    """Name the rows whose loss is not finite, of batches all rows where losses are not by rows."""
    bad_rows: list[int] = []
    for (batch, terms, _), loss in zip(computed, losses, strict=True):
        if math.isfinite(loss):
            continue
        finite = np.ones(len(batch.rows), bool)
        for term in terms:
            values = np.isfinite(term.numpy())
            if len(values) == len(finite):
                finite &= values
        bad_rows += [int(row) for row in batch.rows[~finite]] or [int(row) for row in batch.rows]
    return bad_rows
