"""Pretrain a model on shards, as a sequence of events; and evaluate it on held-out ones.

What is pretrained, and how, is the objective's (`objectives.py`).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from typing import NamedTuple, Protocol

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


class UpdateRows(NamedTuple):
    """What one update takes of some shards, on this process.

    Attributes:
        epoch: From 0.
        number: Of the update in its epoch, from 0.
        parts: Rows of the batches that are accumulated; as many on every process.
        after: Where the reader is when the update is done.
    """

    epoch: int
    number: int
    parts: list[Rows]
    after: DataPosition


class Updates(Protocol):
    """What pretraining takes its updates from."""

    def updates(self, accumulate: int, progress: Progress) -> Iterator[UpdateBatches]:
        """Yield what each update takes, from where the run is on, forever."""


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
        for part in self._parts(epoch, row):
            yield Batch(self.make(part, epoch), part.numbers)

    def updates(self, accumulate: int, progress: Progress) -> Iterator[UpdateBatches]:
        """Yield what each update takes, from where the run is on, forever."""
        step = progress.step
        for epoch, number, parts, after in self.rows_of_updates(accumulate, progress.data):
            step += 1
            batches = [Batch(self.make(part, epoch), part.numbers) for part in parts]
            yield UpdateBatches(epoch, number, batches, after=Progress(step, data=after))

    def rows_of_updates(self, accumulate: int, start: DataPosition | None) -> Iterator[UpdateRows]:
        """Yield the rows that each update takes, from a place on, forever."""
        epoch, row = (start.epoch, start.row) if start else (0, 0)
        size = self.global_size * accumulate
        while True:
            rows = self._parts(epoch, row)
            while parts := list(islice(rows, accumulate)):
                number, row = row // size, row + size
                is_last = row >= self.num_rows
                after = DataPosition(epoch + 1) if is_last else DataPosition(epoch, row)
                yield UpdateRows(epoch, number, parts, after)
            epoch, row = epoch + 1, 0

    def _parts(self, epoch: int, row: int) -> Iterator[Rows]:
        """Yield this process's part of the rows of each batch of an epoch; see `batches`."""
        for rows in self.reader.batches(self.global_size, epoch, row):
            bounds = [
                len(rows.numbers) * rank // self.world_size for rank in (self.rank, self.rank + 1)
            ]
            yield rows.take(slice(*bounds))


def pretrain(
    model: nn.Layer,
    train: Updates,
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
        train.updates(settings.accumulate, progress),
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
    return Evaluated(0, split, **scores._asdict())


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
