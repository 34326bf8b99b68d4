"""Many shards as one list of rows."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.hdf5 import Column, Columns, Layout
from paddlenlp_ext.pretraining.shards import Shard, common_widths, open_shard, read_slice

# Finds the first row that cannot be used, and says why; None if all can.
Check = Callable[[Columns], tuple[int, str] | None]


class Slice(NamedTuple):
    """Rows `start` to `stop` of the shard with a number; `turn`, from 0, tells repetitions apart.

    Repeated rows have other numbers, so that what follows from these (masks) is other, too.
    """

    shard: int
    start: int
    stop: int
    turn: int = 0

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.stop - self.start


# Many slices as an array: objects would take more memory than the rows that are read at a time.
SLICE = np.dtype([("shard", "i4"), ("start", "i8"), ("stop", "i8"), ("turn", "i4")])


class Rows(NamedTuple):
    """Some examples.

    Attributes:
        numbers: Their places in the whole list, plus its length for each repetition; int64 [N].
        columns: By name; [N] or [N, width] each.
    """

    numbers: npt.NDArray[np.int64]
    columns: Columns

    def take(self, which: slice | npt.NDArray[np.int64]) -> "Rows":
        """Choose some of them."""
        return Rows(self.numbers[which], {name: c[which] for name, c in self.columns.items()})

    def put(self, places: npt.NDArray[np.int64], rows: "Rows") -> None:
        """Overwrite the rows in some places."""
        self.numbers[places] = rows.numbers
        for name, values in rows.columns.items():
            self.columns[name][places] = values


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Put rows behind one another."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].columns
    return Rows(
        np.concatenate([part.numbers for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in names},
    )


class ShardSet:
    """The rows of several shards, in the order of the files.

    Shards of several widths may be mixed: narrower rows are filled up with zeros.

    Args:
        paths: The files; or what is known of them, with only some of their rows.
        layout: Their columns.
        check: Looks at all rows that are read.
        limit: Use the first rows only.

    Attributes:
        shards: What is known of each file.
        widths: The greatest of each axis.
        num_rows: How many rows there are.

    Raises:
        DataError: One of the files cannot be used, or they hold no row.
    """

    def __init__(
        self,
        paths: Sequence[Path | Shard],
        layout: Layout,
        check: Check,
        *,
        limit: int | None = None,
    ):
        self.layout = layout
        self.check = check
        self.shards: list[Shard] = [
            one if isinstance(one, Shard) else open_shard(one, layout) for one in paths
        ]
        self.widths = common_widths(self.shards)
        self._ends = list(accumulate(shard.rows for shard in self.shards))
        self.num_rows = self._ends[-1] if limit is None else min(limit, self._ends[-1])
        if self.num_rows == 0:
            first = self.shards[0].path
            raise DataError(f"{first}: holds no row; make it again from a corpus with some text")

    @property
    def row_bytes(self) -> int:
        """Memory of a row."""
        return sum(
            np.dtype(column.dtype).itemsize * math.prod(self._tail(column))
            for column in self.layout.values()
        )

    @property
    def sources(self) -> Sequence[str]:
        """Where each row stands: file and number in it."""
        return _Sources(self.shards, self._ends, self.num_rows)

    def slices(self, length: int) -> Iterator[Slice]:
        """Cut all shards into slices of at most `length` rows."""
        left = self.num_rows
        for number, shard in enumerate(self.shards):
            rows = min(shard.rows, left)
            left -= rows
            for start in range(0, rows, length):
                yield Slice(number, start, min(rows, start + length))

    def empty(self, count: int) -> Rows:
        """Make room for rows of any of the shards."""
        columns = {
            name: np.zeros((count, *self._tail(column)), column.dtype)
            for name, column in self.layout.items()
        }
        return Rows(np.zeros(count, np.int64), columns)

    def _tail(self, column: Column) -> tuple[int, ...]:
        return () if column.axis is None else (self.widths[column.axis],)

    def read(self, piece: Slice) -> Rows:
        """Read the rows of a slice; the file is open no longer than that.

        Raises:
            DataError: The file is damaged, or a row cannot be used.
        """
        shard = self.shards[piece.shard]
        columns = dict(read_slice(shard, self.layout, piece.start, piece.stop))
        if found := self.check(columns):
            row, problem = found
            raise DataError(
                f"{shard.path}: row {piece.start + row}: {problem}; make the file again"
            )
        for name, column in self.layout.items():
            missing = self.widths[column.axis] - columns[name].shape[1] if column.axis else 0
            if missing:
                columns[name] = np.pad(columns[name], ((0, 0), (0, missing)))
        first = self._ends[piece.shard] - shard.rows + piece.turn * self.num_rows
        return Rows(np.arange(first + piece.start, first + piece.stop), columns)


class _Sources(Sequence[str]):
    """Where rows stand, found when asked: a list of it would grow with the data."""

    def __init__(self, shards: Sequence[Shard], ends: Sequence[int], num_rows: int):
        self.shards, self.ends, self.num_rows = shards, ends, num_rows

    def __len__(self) -> int:
        return self.ends[-1]

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        row %= self.num_rows  # of a repeated row, too
        number = bisect_right(self.ends, row)
        shard = self.shards[number]
        return f"{shard.path}: row {row - self.ends[number] + shard.rows}"
