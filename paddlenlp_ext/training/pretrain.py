"""Pretrain a model on shards, as a sequence of events; and evaluate it on held-out ones.

What is pretrained, and how, is the objective's (`objectives.py`).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from typing import Protocol

import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.signals import StopRequest
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training import distributed, loop
from paddlenlp_ext.training.events import DataPosition, Evaluated, Event, Progress
from paddlenlp_ext.training.loop import Evaluation, Scores, UpdateBatches
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.training.updates import Objective, Updater, UpdateSettings

DEFAULTS = UpdateSettings()

Sums = Mapping[str, float]  # numbers that may be added up over batches and processes
# Makes tensors of some rows in an epoch; of no rows too.
MakeTensors = Callable[[Rows, int], dict[str, Tensor]]


class PretrainingObjective(Objective, Protocol):
    """What pretraining minimises, and how it is judged on held-out rows."""

    def score(self, model: nn.Layer, batch: Batch) -> Sums:
        """Compute sums of losses, right predictions and labels of a batch."""

    def summarize(self, sums: Sums) -> tuple[float, dict[str, float]]:
        """Turn the sums over all batches into the loss and the metrics.

        The first metric is what checkpoints are judged by; higher is better.
        """


class ShardBatches:
    """This process's part of the batches of some shards.

    Args:
        reader: Of the shards.
        make: Makes tensors of rows.
        batch_size: Rows of a full batch on one process.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        reader: ShardReader,
        make: MakeTensors,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.reader = reader
        self.make = make
        self.global_size = batch_size * world_size
        self.rank = rank
        self.world_size = world_size

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return self.reader.num_rows

    def __len__(self) -> int:
        """Return the number of batches of an epoch, equal on all processes."""
        return -(-self.num_rows // self.global_size)

    def batches(self, epoch: int = 0, row: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from a row of its order on.

        Every process yields as many; of the last one, which may be short, parts differ by at most
        one row, and some may be empty.
        """
        for rows in self.reader.batches(self.global_size, epoch, row):
            bounds = [
                len(rows.numbers) * rank // self.world_size for rank in (self.rank, self.rank + 1)
            ]
            part = rows.take(slice(*bounds))
            yield Batch(self.make(part, epoch), part.numbers)


def pretrain(
    model: nn.Layer,
    train: ShardBatches,
    *,
    objective: PretrainingObjective,
    optimizer: Optimizer,
    max_steps: int,
    evaluate_on: Mapping[str, ShardBatches] | None = None,
    evaluate_every: int = 0,
    settings: UpdateSettings = DEFAULTS,
    resume: Progress | None = None,
) -> Iterator[Event]:
    """Train `model` for `max_steps` updates, yielding what happened; see `finetune`.

    Args:
        model: What is trained.
        train: Batches of all epochs.
        objective: What is minimised.
        optimizer: Of `model`; its schedule, if it has one, is advanced at each update.
        max_steps: Updates of the whole run, those before a resume included.
        evaluate_on: Held-out batches by the name of the split.
        evaluate_every: Updates between evaluations; after the last there always is one.
        settings: Accumulation, precision, seed and what happens to a loss that is not finite.
        resume: Where to continue; weights, optimizer and schedule are the checkpoint's already.

    Yields:
        `StepDone` after every update, `Evaluated` for every split; when a signal came,
        `Interrupted` at last.

    Raises:
        UserError: A shard cannot be read, or a loss is not finite.
        KeyboardInterrupt: A signal came.
    """
    progress = resume or Progress()

    def evaluation(held_out: ShardBatches) -> Evaluation:
        return lambda stop: _score(model, held_out, objective, settings.precision, stop)

    yield from loop.train(
        Updater(model, optimizer, objective, settings),
        _updates(train, settings.accumulate, progress),
        {split: evaluation(held_out) for split, held_out in (evaluate_on or {}).items()},
        max_steps=max_steps,
        evaluate_every=evaluate_every,
        progress=progress,
    )


def evaluate(
    model: nn.Layer,
    held_out: ShardBatches,
    *,
    objective: PretrainingObjective,
    split: str = "dev",
    precision: MixedPrecision | None = None,
) -> Evaluated:
    """Evaluate a model on held-out rows, every process on its part of each batch.

    Args:
        model: What was pretrained.
        held_out: The rows.
        objective: Judges the model.
        split: Name of the split.
        precision: Mixed precision; None computes in float32.

    Raises:
        DataError: A shard cannot be read.
    """
    runtime.keep_large_blocks()
    scores = _score(model, held_out, objective, precision, None)
    assert scores is not None  # nothing could interrupt it
    return Evaluated(0, split, *scores)


def _updates(train: ShardBatches, accumulate: int, progress: Progress) -> Iterator[UpdateBatches]:
    """Yield what each update takes, from where the run is on, forever."""
    start = progress.data or DataPosition()
    step, epoch, row = progress.step, start.epoch, start.row
    size = train.global_size * accumulate
    while True:
        batches = train.batches(epoch, row)
        while parts := list(islice(batches, accumulate)):
            number, step, row = row // size, step + 1, row + size
            is_last = row >= train.num_rows
            place = DataPosition(epoch + 1) if is_last else DataPosition(epoch, row)
            yield UpdateBatches(epoch, number, parts, after=Progress(step, data=place))
        epoch, row = epoch + 1, 0


def _score(
    model: nn.Layer,
    held_out: ShardBatches,
    objective: PretrainingObjective,
    precision: MixedPrecision | None,
    stop: StopRequest | None,
) -> Scores | None:
    """Evaluate on a split; None when a signal came in between."""
    began = time.perf_counter()
    model.eval()
    sums: Counter[str] = Counter()
    for batch in held_out.batches():
        if stop is not None and distributed.agreed_signal(stop):
            return None
        if len(batch.rows):
            with paddle.no_grad(), precision.autocast() if precision else nullcontext():
                sums.update(objective.score(model, batch))
    everywhere: Counter[str] = Counter()
    for part in distributed.gather(dict(sums)):
        everywhere.update(part)
    loss, metrics = objective.summarize(everywhere)
    return Scores(loss, metrics, held_out.num_rows, time.perf_counter() - began)
