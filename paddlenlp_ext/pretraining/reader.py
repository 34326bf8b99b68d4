"""Read shards in an order that the seed and the epoch decide, a window of rows at a time.

All shards are cut into slices, the slices are shuffled, and as many of them as fit into a window
are read and their rows shuffled together. The order is the same for every number of processes and
every batch size, so any process can continue at any row. Each process reads all windows and uses
its part of every batch: reading is cheap (150,000 rows of 128 tokens a second on one core) and goes
on in the background, and there is no sharing-out of files that could lose a row or repeat one.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from paddlenlp_ext.pretraining.shard_set import SLICE, Rows, ShardSet, Slice, join_rows

WINDOW_BYTES = 1 << 23  # rows that are shuffled together; two windows are in memory
SLICES = 8  # that a window is made of, if the shards are that large


class ShardReader:
    """The rows of all shards, epoch by epoch.

    Args:
        shards: What is read.
        seed: Of the order; at least 0.
        shuffle: Whether each epoch has its own order, or always that of the files.
        window_bytes: Size of a window in memory.
    """

    def __init__(
        self,
        shards: ShardSet,
        *,
        seed: int = 0,
        shuffle: bool = True,
        window_bytes: int = WINDOW_BYTES,
    ):
        self.shards = shards
        self.seed = seed
        self.shuffle = shuffle
        self.window_rows = max(1, window_bytes // shards.row_bytes)

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return self.shards.num_rows

    @property
    def sources(self) -> Sequence[str]:
        """Where each row stands, by its number."""
        return self.shards.sources

    def batches(self, size: int, epoch: int = 0, row: int = 0) -> Iterator[Rows]:
        """Yield the rows of an epoch in its order, `size` at a time; the last may be fewer.

        Args:
            size: Rows of a batch, of all processes together.
            epoch: From 0.
            row: Rows of this epoch to leave out, because they were used before.

        Raises:
            DataError: A shard is damaged, or one of its rows cannot be used.
        """
        rest: list[Rows] = []  # of the windows before, fewer rows than a batch
        held = 0
        for window in self._windows(epoch, row):
            at, count = 0, len(window.numbers)
            while held + count - at >= size:
                part = window.take(slice(at, at + size - held))
                yield join_rows([*rest, part])
                at += size - held
                rest, held = [], 0
            if at < count:
                # A copy: a view would keep the whole window in memory.
                rest.append(window.take(np.arange(at, count)))
                held += count - at
        if rest:
            yield join_rows(rest)

    def slices(self, epoch: int) -> Iterator[Slice]:
        """Yield what is read in an epoch, in any order."""
        return self.shards.slices(max(1, self.window_rows // SLICES))

    def _windows(self, epoch: int, row: int) -> Iterator[Rows]:
        """Read the windows from `row` on, each in the background while the one before is used."""
        plans = enumerate(self._plan(epoch))
        plan = next(plans, None)
        while plan and (rows := sum(piece.rows for piece in plan[1])) <= row:
            row -= rows
            plan = next(plans, None)
        with ThreadPoolExecutor(1, thread_name_prefix="shards") as reader:
            coming = plan and reader.submit(self._read, epoch, *plan)
            while coming:
                window = coming.result()
                plan = next(plans, None)
                coming = plan and reader.submit(self._read, epoch, *plan)
                yield window.take(slice(row, None)) if row else window
                row = 0

    def _plan(self, epoch: int) -> Iterator[list[Slice]]:
        """Say which slices make up each window."""
        slices = np.fromiter(self.slices(epoch), SLICE)
        if self.shuffle:
            slices = slices[self._random(epoch, 0).permutation(len(slices))]
        window: list[Slice] = []
        room = 0
        for values in slices:
            piece = Slice(*values.item())
            if piece.rows > room:
                if window:
                    yield window
                window, room = [], self.window_rows
            window.append(piece)
            room -= piece.rows
        if window:
            yield window

    def _read(self, epoch: int, number: int, slices: list[Slice]) -> Rows:
        """Read a window, each slice into the places that its rows have in the shuffled order."""
        count = sum(piece.rows for piece in slices)
        places = np.arange(count)
        if self.shuffle:
            places = self._random(epoch, number + 1).permutation(count)
        window = self.shards.empty(count)
        start = 0
        for piece in slices:
            window.put(places[start : start + piece.rows], self.shards.read(piece))
            start += piece.rows
        return window

    def _random(self, epoch: int, number: int) -> np.random.RandomState:
        # RandomState promises the same numbers in every release of NumPy.
        sequence = np.random.SeedSequence((self.seed, epoch, number))
        return np.random.RandomState(np.random.MT19937(sequence))
