"""Train a model on a task, as a sequence of events; evaluate it, and predict with it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.signals import StopRequest
from paddlenlp_ext.tasks.batches import Batch, Loader
from paddlenlp_ext.tasks.task import Metric
from paddlenlp_ext.training import distributed, loop
from paddlenlp_ext.training.events import Evaluated, Event, Predicted, Progress
from paddlenlp_ext.training.loop import Evaluation, Scores, UpdateBatches
from paddlenlp_ext.training.losses import Emphasis, Loss, logits_of
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.training.updates import Updater, UpdateSettings, memory_explained

DEFAULTS = UpdateSettings()

# Of N rows: one array [N, ...]; or a list, where each row has an array of its own length.
Predictions = npt.NDArray[Any] | list[npt.NDArray[Any]]


def finetune(
    model: nn.Layer,
    train: Loader,
    *,
    evaluate_on: Mapping[str, Loader],
    loss: Loss,
    metric: Metric | Mapping[str, Metric],
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
        model: Called with a batch's inputs; `losses.logits_of` reads its output.
        train: Batches of all epochs, as many on every process.
        evaluate_on: Split name to its batches; each process holds its part.
        loss: Of `training.losses`; `settings` may emphasise some of it in training.
        metric: Makes numbers of all predictions and labels of a split, as `evaluate` says; or one
            a split, by its name.
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

    def evaluation(split: str, loader: Loader) -> Evaluation:
        own = metric[split] if isinstance(metric, Mapping) else metric
        return lambda stop: _score(model, loader, own, loss, settings.precision, stop)

    yield from loop.train(
        Updater(model, optimizer, _TaskObjective(loss, settings.emphasis), settings),
        _updates(train, settings.accumulate, progress.step),
        {split: evaluation(split, loader) for split, loader in evaluate_on.items()},
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
        model: Called with a batch's inputs; `losses.logits_of` reads its output.
        loader: This process's part of the split.
        loss: Of `training.losses`; its mean over the labels is reported.
        metric: Makes numbers of all predictions [N, C] and labels [N]; where predictions are by
            tokens, of a list of predictions [L, ...] and one of labels, each row's own tokens.
        split: Name of the split.
        precision: Mixed precision; None computes in float32.

    Raises:
        UserError: The split is empty.
    """
    return evaluate_and_predict(
        model, loader, loss=loss, metric=metric, split=split, precision=precision
    )[0]


def evaluate_and_predict(
    model: nn.Layer,
    loader: Loader,
    *,
    loss: Loss,
    metric: Metric,
    split: str = "dev",
    precision: MixedPrecision | None = None,
) -> tuple[Evaluated, Predictions]:
    """Do what `evaluate` and `predict` do, and compute it once."""
    runtime.keep_large_blocks()
    began = time.perf_counter()
    found = _compute(model, loader, loss, precision, None)
    assert found is not None  # nothing could interrupt it
    scores = _scores_of(found, metric, began)
    return Evaluated(0, split, *scores[:4]), found.predictions


@dataclass(frozen=True, slots=True)
class _TaskObjective:
    """The mean loss of a task's labels."""

    loss: Loss
    emphasis: Emphasis

    def count(self, batch: Batch) -> list[float]:
        return [self.emphasis.count(batch.host["labels"])]

    def losses(self, model: nn.Layer, batch: Batch) -> list[Tensor]:
        logits = logits_of(model(**batch.inputs), batch)
        return [self.emphasis.losses(self.loss, logits, batch["labels"])]


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


def predict(
    model: nn.Layer, loader: Loader, *, precision: MixedPrecision | None = None
) -> Predictions:
    """Predict the rows of a split; every process its part, all get all of them.

    Args:
        model: Called with a batch's inputs; `losses.logits_of` reads its output.
        loader: This process's part of the split; labels do not matter.
        precision: Mixed precision; None computes in float32.

    Returns:
        Logits in the order of the rows: float32 [N, C]; where they are by tokens, a list of each
        row's own, float32 [L, ...].
    """
    runtime.keep_large_blocks()
    found = _compute(model, loader, None, precision, None)
    assert found is not None  # nothing could interrupt it
    return found.predictions


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
    found = _compute(model, loader, loss, precision, stop)
    return None if found is None else _scores_of(found, metric, began)


def _scores_of(found: "_Found", metric: Metric, began: float) -> Scores:
    """Measure what a model says of a split; `began` is when it was asked, by `perf_counter`."""
    return Scores(
        loss=float(np.mean(found.losses, dtype=np.float64)),
        metrics=metric(found.predictions, found.labels),
        examples=len(found.predictions),
        seconds=time.perf_counter() - began,
        predicted=Predicted(found.predictions, found.labels),
    )


class _Found(NamedTuple):
    """What a model says of the rows of a split, in their order; losses one a label."""

    predictions: Predictions
    labels: Predictions
    losses: npt.NDArray[np.float32]


def _compute(
    model: nn.Layer,
    loader: Loader,
    loss: Loss | None,
    precision: MixedPrecision | None,
    stop: StopRequest | None,
) -> _Found | None:
    """Run a model over a split, with all processes; None when a signal came in between."""
    model.eval()
    batches: list[tuple[Any, ...]] = []
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
            logits = logits_of(model(**batch.inputs), batch)
            losses = None if loss is None else loss(logits, batch["labels"]).numpy()
        batches.append((batch.rows, *_by_row(logits.astype("float32").numpy(), batch, losses)))
    found = [one for part in distributed.gather(batches) for one in part]
    if not found:
        raise UserError("there are no examples to evaluate on")
    rows, predictions, labels, losses, rows_of_losses = zip(*found, strict=True)
    order: npt.NDArray[np.int64] = np.concatenate(rows)
    if not np.array_equal(np.sort(order), np.arange(len(loader.features))):
        raise RuntimeError("the processes' parts do not make up the split, each row once")
    by_row = np.argsort(order)
    by_label = np.argsort(np.concatenate(rows_of_losses), kind="stable")
    return _Found(
        _in_order(predictions, by_row),
        _in_order(labels, by_row),
        np.concatenate(losses)[by_label],
    )


def _by_row(
    logits: npt.NDArray[np.float32], batch: Batch, losses: npt.NDArray[np.float32] | None
) -> tuple[Predictions, Predictions, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Part what a model says of a batch by its rows; what is by tokens is cut to a row's own.

    Returns:
        Predictions and labels of the rows; losses of the labels that are not ignored, and their
        rows.
    """
    labels = batch.host["labels"].numpy()
    is_label = (labels != IGNORED) & (losses is not None)
    rows_of_labels = np.broadcast_to(batch.rows, labels.T.shape).T[is_label]
    of_labels = logits[:0].reshape(-1) if losses is None else losses.reshape(labels.shape)[is_label]
    if logits.ndim < 3:
        return logits, labels, of_labels, rows_of_labels
    lengths = batch.host["attention_mask"].numpy().sum(-1)
    own_labels = labels
    if labels.shape == logits.shape[:2]:
        own_labels = [one[:length] for one, length in zip(labels, lengths, strict=True)]
    own_logits = [one[:length] for one, length in zip(logits, lengths, strict=True)]
    return own_logits, own_labels, of_labels, rows_of_labels


def _in_order(parts: Sequence[Predictions], by_row: npt.NDArray[np.int64]) -> Predictions:
    """Join the rows of batches, and put them into order."""
    if isinstance(parts[0], list):
        rows = [row for part in parts for row in part]
        return [rows[place] for place in by_row]
    return np.concatenate(parts)[by_row]


def _padded(loader: Loader) -> Iterator[Batch | None]:
    """Yield this process's batches, then nothing for as long as others have some."""
    yield from loader.batches()
    while True:
        yield None
