"""Train a classifier or a regression on a task, as a sequence of events; and evaluate it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.signals import StopRequest
from paddlenlp_ext.tasks.batches import Batch, Loader
from paddlenlp_ext.tasks.task import Metric
from paddlenlp_ext.training import distributed, loop
from paddlenlp_ext.training.events import Evaluated, Event, Progress
from paddlenlp_ext.training.loop import Evaluation, Scores, UpdateBatches
from paddlenlp_ext.training.losses import Loss, count_labels
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.training.updates import Updater, UpdateSettings, memory_explained

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
    resume: Progress | None = None,
) -> Iterator[Event]:
    """Train `model` for `max_steps` updates, yielding what happened.

    The caller decides what to print, when to save and when to stop: leaving the loop ends training,
    and what does not iterate does not train. All processes of a distributed run must iterate.

    SIGTERM and SIGINT end the run between two updates or two batches of an evaluation, on all
    processes together: the loop yields `Interrupted`, and then raises `KeyboardInterrupt`.

    Args:
        model: Called with a batch's inputs; its output has `.logits`.
        train: Batches of all epochs, as many on every process.
        evaluate_on: Split name to its batches; each process holds its part.
        loss: Of `training.losses`.
        metric: Makes numbers of all predictions and labels of a split.
        optimizer: Of `model`; its schedule, if it has one, is advanced at each update.
        max_steps: Updates of the whole run, those before a resume included.
        evaluate_every: Updates between evaluations; after the last there always is one.
        settings: Accumulation, precision, seed and what happens to a loss that is not finite.
        resume: Where to continue; weights, optimizer and schedule are the checkpoint's already.

    Yields:
        `StepDone` after every update, `Evaluated` for every split; when a signal came,
        `Interrupted` at last.

    Raises:
        UserError: There is nothing to train on, or a loss is not finite.
        KeyboardInterrupt: A signal came.
    """
    if len(train) == 0:
        raise UserError("there are no training examples")
    progress = resume or Progress()

    def evaluation(loader: Loader) -> Evaluation:
        return lambda stop: _score(model, loader, metric, loss, settings.precision, stop)

    yield from loop.train(
        Updater(model, optimizer, _TaskObjective(loss), settings),
        _updates(train, settings.accumulate, progress.step),
        {split: evaluation(loader) for split, loader in evaluate_on.items()},
        max_steps=max_steps,
        evaluate_every=evaluate_every,
        progress=progress,
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
    """Evaluate a model on a split; every process its part, the metric once over all examples.

    Args:
        model: Called with a batch's inputs; its output has `.logits`.
        loader: This process's part of the split.
        loss: Of `training.losses`; its mean over the labels is reported.
        metric: Makes numbers of all predictions [N, C] and labels [N].
        split: Name of the split.
        precision: Mixed precision; None computes in float32.

    Raises:
        UserError: The split is empty.
    """
    runtime.keep_large_blocks()
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


def _updates(train: Loader, accumulate: int, step: int) -> Iterator[UpdateBatches]:
    """Yield what each update takes, from the one after `step` on, forever."""
    epoch, number = divmod(step, -(-len(train) // accumulate))
    while True:
        batches = train.batches(epoch, number * accumulate)
        while parts := list(islice(batches, accumulate)):
            step += 1
            yield UpdateBatches(epoch, number, parts, after=Progress(step))
            number += 1
        epoch, number = epoch + 1, 0


def _score(
    model: nn.Layer,
    loader: Loader,
    metric: Metric,
    loss: Loss,
    precision: MixedPrecision | None,
    stop: StopRequest | None,
) -> Scores | None:
    """Evaluate on a split; None when a signal came in between."""
    began = time.perf_counter()
    model.eval()
    rows, logits, labels, losses = [], [], [], []
    # Processes may have one batch more or less than others, and all must ask whether to stop.
    for batch in islice(_padded(loader), int(distributed.all_reduce([len(loader)], "max")[0])):
        if stop is not None and distributed.agreed_signal(stop):
            return None
        if batch is None or not len(batch.rows):
            continue
        with (
            memory_explained(batch, "evaluation", is_training=False),
            paddle.no_grad(),
            precision.autocast() if precision else nullcontext(),
        ):
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
        raise RuntimeError("the processes' parts do not make up the split, each row once")
    by_row: npt.NDArray[np.int64] = np.argsort(order)
    predictions, gold, losses_by_row = (array[by_row] for array in arrays)
    return Scores(
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
