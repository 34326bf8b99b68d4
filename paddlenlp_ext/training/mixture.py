"""Several objectives in one run: each update has one of them, as often as its weight says.

Which one follows from the number of the update alone, so that processes agree and a resumed run
goes on as before. Objectives of the same kind of rows share a reader: what one took, the next goes
on from, and no row comes twice in an epoch. `Progress.mixture` has the position of each reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import overload

import numpy as np

from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training.events import DataPosition, Event, Progress, StepDone
from paddlenlp_ext.training.loop import UpdateBatches
from paddlenlp_ext.training.pretrain import MakeTensors, ShardBatches

STRIDE = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: its multiples fill 0 to 2^64 evenly


@dataclass(frozen=True)
class Ingredient:
    """An objective of a mixture.

    Attributes:
        reader: Name of the rows that it takes.
        make: Makes tensors of them.
        weight: Its part of the updates, relative to those of the others.
    """

    reader: str
    make: MakeTensors
    weight: float = 1.0


class MixedBatches:
    """This process's part of the batches of several readers.

    Args:
        readers: By their names.
        objectives: By their names.
    """

    def __init__(
        self, readers: Mapping[str, ShardBatches], objectives: Mapping[str, Ingredient]
    ) -> None:
        self.readers = readers
        self.objectives = objectives
        weights = [one.weight for one in objectives.values()]
        self._bounds = np.cumsum(weights) / sum(weights)

    @property
    def num_rows(self) -> int:
        """Rows of an epoch of every reader."""
        return sum(reader.num_rows for reader in self.readers.values())

    def __len__(self) -> int:
        """Return the number of batches of an epoch of every reader, equal on all processes."""
        return sum(len(reader) for reader in self.readers.values())

    @property
    def shards(self) -> list[ShardSet]:
        """What is read."""
        return [reader.reader.shards for reader in self.readers.values()]

    @property
    def sources(self) -> Sequence[str]:
        """Where each row stands, by the numbers that batches have."""
        return _Sources([reader.reader.sources for reader in self.readers.values()])

    def objective_of(self, step: int) -> str:
        """Name the objective of an update, from 1."""
        lot = step * STRIDE % 2**64 / 2**64
        number = int(np.searchsorted(self._bounds, lot, side="right"))
        return [*self.objectives][min(number, len(self._bounds) - 1)]

    def updates(self, accumulate: int, progress: Progress) -> Iterator[UpdateBatches]:
        """Yield what each update takes, from where the run is on, forever."""
        places = list(progress.mixture) or [DataPosition()] * len(self.readers)
        names = [*self.readers]
        rows = {
            name: reader.rows_of_updates(accumulate, place)
            for (name, reader), place in zip(self.readers.items(), places, strict=True)
        }
        step = progress.step
        while True:
            step += 1
            objective = self.objectives[self.objective_of(step)]
            reader = names.index(objective.reader)
            epoch, number, parts, places[reader] = next(rows[objective.reader])
            batches = [
                Batch(objective.make(part, epoch), part.numbers * len(names) + reader)
                for part in parts
            ]
            yield UpdateBatches(epoch, number, batches, Progress(step, mixture=tuple(places)))


class ObjectiveLosses:
    """The mean loss of each objective since the last look.

    Args:
        train: Knows which update has which.
    """

    def __init__(self, train: MixedBatches) -> None:
        self._train = train
        self._losses: dict[str, list[float]] = {}

    def add(self, event: Event) -> None:
        """Count an update."""
        if isinstance(event, StepDone):
            self._losses.setdefault(self._train.objective_of(event.step), []).append(event.loss)

    def take(self) -> str:
        """Write the means, in the order of the objectives, and begin again."""
        found, self._losses = self._losses, {}
        means = {name: fmean(found[name]) for name in self._train.objectives if name in found}
        return ", ".join(f"{name}: {mean:f}" for name, mean in means.items())


class _Sources(Sequence[str]):
    """The sources of several readers by turns, as the rows of batches are numbered."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return max(len(part) for part in self._parts) * len(self._parts)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        return self._parts[row % len(self._parts)][row // len(self._parts)]
