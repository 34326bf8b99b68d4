"""Train a classifier or a regression on a task, as a sequence of events; and evaluate it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tasks.batches import Batch, Loader
from paddlenlp_ext.tasks.task import Metric
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated, Event, Interrupted, Position, StepDone
from paddlenlp_ext.training.losses import Loss, count_labels
from paddlenlp_ext.training.optimization import learning_rate_of
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.training.signals import StopRequest
from paddlenlp_ext.training.updates import Updater, UpdateSettings

DEFAULTS = UpdateSettings()


def finetune(
    model: nn.Layer,
    train: Loader,
    *,
    evaluate_on: Mapping[str, Loader],
    loss: Loss,
    metric: Metric,
    optimizer: Optimizer,
    max_steps: int,
    evaluate_every: int = 0,
    settings: UpdateSettings = DEFAULTS,
    resume: Position | None = None,
) -> Iterator[Event]:
    """Train `model` for `max_steps` updates, yielding what happened.

    The caller decides what to print, when to save and when to stop: leaving the loop ends training,
    and what does not iterate does not train. All processes of a distributed run must iterate.

    SIGTERM and SIGINT end the run between two updates or two batches of an evaluation, on all
    processes together: the loop yields `Interrupted`, and after it ends the process (`SystemExit`).

    Args:
        model: Called with a batch's inputs; its output has `.logits`.
        train: Batches of all epochs, as many on every process.
        evaluate_on: Split name to its batches; each process holds its share.
        loss: Of `training.losses`.
        metric: Makes numbers of all predictions and labels of a split.
        optimizer: Of `model`; its schedule, if it has one, is advanced at each update.
        max_steps: Updates of the whole run, those before a resume included.
        evaluate_every: Updates between evaluations; after the last there always is one.
        settings: Accumulation, precision, seed and what happens to a loss that is not finite.
        resume: Where to continue; weights, optimizer and schedule are the checkpoint's already.

    Yields:
        `StepDone` after every update, `Evaluated` for every split, `Interrupted` at last.

    Raises:
        UserError: There is nothing to train on, or a loss is not finite.
    """
    if len(train) == 0:
        raise UserError("there are no training examples")
    updater = Updater(model, optimizer, _TaskObjective(loss), settings)
    position = resume or Position()
    updates = _updates(train, settings.accumulate, first=position.step)
    with StopRequest() as stop:
        while True:
            step = position.step
            if step and (step == max_steps or (evaluate_every and step % evaluate_every == 0)):
                for split, loader in list(evaluate_on.items())[position.evaluations :]:
                    scores = _score(model, loader, metric, loss, settings.precision, stop)
                    if scores is None:
                        yield from _end(stop.agreed(), position)
                        return
                    position = Position(step, position.evaluations + 1)
                    yield Evaluated(step, split, *scores, position=position)
            if step >= max_steps:
                return
            began = time.perf_counter()
            epoch, number, batches = next(updates)
            totals = distributed.all_reduce([*stop.flags, *updater.count(batches)])
            if signal := stop.signal_of(totals[:2]):
                yield from _end(signal, position)
            outcome = updater.update(step + 1, batches, totals[2:])
            position = Position(step + 1)
            yield StepDone(
                step=step + 1,
                total_steps=max_steps,
                epoch=epoch,
                batch=number,
                loss=outcome.loss,
                learning_rate=learning_rate_of(optimizer),
                examples=outcome.examples,
                seconds=time.perf_counter() - began,
                skipped=outcome.skipped,
                position=position,
            )


def evaluate(
    model: nn.Layer,
    loader: Loader,
    *,
    loss: Loss,
    metric: Metric,
    split: str = "dev",
    precision: MixedPrecision | None = None,
) -> Evaluated:
    """Evaluate a model on a split; every process its share, the metric once over all examples.

    Args:
        model: Called with a batch's inputs; its output has `.logits`.
        loader: This process's share of the split.
        loss: Of `training.losses`; its mean over the labels is reported.
        metric: Makes numbers of all predictions [N, C] and labels [N].
        split: Name of the split.
        precision: Mixed precision; None computes in float32.

    Raises:
        UserError: The split is empty.
    """
    scores = _score(model, loader, metric, loss, precision, None)
    assert scores is not None  # nothing could interrupt it
    return Evaluated(0, split, *scores)


@dataclass(frozen=True, slots=True)
class _TaskObjective:
    """The mean loss of a task's labels."""

    loss: Loss

    def count(self, batch: Batch) -> list[int]:
        return [count_labels(batch["labels"])]

    def losses(self, model: nn.Layer, batch: Batch) -> list[Tensor]:
        return [self.loss(model(**batch.inputs).logits, batch["labels"])]


class _Scores(NamedTuple):
    loss: float
    metrics: dict[str, float]
    examples: int
    seconds: float


def _updates(train: Loader, accumulate: int, first: int) -> Iterator[tuple[int, int, list[Batch]]]:
    """Yield epoch, number in the epoch and batches of each update from `first` on, forever."""
    epoch, start = divmod(first, -(-len(train) // accumulate))
    while True:
        batches = train.batches(epoch, start * accumulate)
        number = start
        while parts := list(islice(batches, accumulate)):
            yield epoch, number, parts
            number += 1
        epoch, start = epoch + 1, 0


def _end(signal: int, position: Position) -> Iterator[Interrupted]:
    """Let the caller save, then end the process as a signal ends one."""
    yield Interrupted(position.step, signal, position)
    raise SystemExit(128 + signal)


def _score(
    model: nn.Layer,
    loader: Loader,
    metric: Metric,
    loss: Loss,
    precision: MixedPrecision | None,
    stop: StopRequest | None,
) -> _Scores | None:
    """Evaluate on a split; None when a signal came in between."""
    began = time.perf_counter()
    model.eval()
    rows, logits, labels, losses = [], [], [], []
    # Processes may have one batch more or less than others, and all must ask whether to stop.
    for batch in islice(_padded(loader), int(distributed.all_reduce([len(loader)], "max")[0])):
        if stop is not None and stop.agreed():
            return None
        if batch is None or not len(batch.rows):
            continue
        with paddle.no_grad(), precision.autocast() if precision else nullcontext():
            output = model(**batch.inputs).logits
            losses.append(loss(output, batch["labels"]).numpy())
        rows.append(batch.rows)
        logits.append(output.astype("float32").numpy())
        labels.append(batch["labels"].numpy())
    parts = [part for part in distributed.gather((rows, logits, labels, losses)) if part[0]]
    if not parts:
        raise UserError("there are no examples to evaluate on")
    order, *arrays = (
        np.concatenate([array for part in parts for array in part[kind]]) for kind in range(4)
    )
    if not np.array_equal(np.sort(order), np.arange(len(loader.features))):
        raise RuntimeError("the processes' shares do not make up the split, each row once")
    by_row: npt.NDArray[np.int64] = np.argsort(order)
    predictions, gold, losses_by_row = (array[by_row] for array in arrays)
    return _Scores(
        loss=float(np.mean(losses_by_row, dtype=np.float64)),
        metrics=metric(predictions, gold),
        examples=len(order),
        seconds=time.perf_counter() - began,
    )


def _padded(loader: Loader) -> Iterator[Batch | None]:
    """Yield this process's batches, then nothing for as long as others have some."""
    yield from loader.batches()
    while True:
        yield None
