"""Shards: HDF5 files whose rows are training examples; read by slices, never as a whole.

A layout says which columns a kind of shard has; `bert_shards.py` has those of BERT's, and
another kind of pretraining brings its own. `shard_set.py` makes one list of rows of many shards.
"""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.process.signals import defer_signals

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]

SUFFIXES = (".hdf5", ".h5")
TRAINING = "train"  # in the names of files that are trained on
DIGESTED = 1 << 28  # bytes of all files together that a digest reads, and at least four blocks each
BLOCK = 1 << 16  # bytes that it reads in one piece
MAX_RATIO = 2000  # numbers' bytes per byte that holds them; gzip packs zeros a thousandfold


class Column(NamedTuple):
    """A data set of a shard, with one entry a row.

    Attributes:
        dtype: As it is written; any integer type is read.
        axis: Name of its second axis; columns with the same one are equally wide in a file. None:
            a number a row.
    """

    dtype: str
    axis: str | None = None


Layout = Mapping[str, Column]


@dataclass(frozen=True)
class Shard:
    """A file that has the columns of a layout.

    Attributes:
        path: The file.
        rows: How many examples it has.
        widths: Of each named axis.
        attributes: What else the file says of itself.
    """

    path: Path
    rows: int
    widths: Mapping[str, int]
    attributes: Mapping[str, Any]


def find_shards(path: str | Path, *, held_out: bool = False) -> list[Path]:
    """List the shards of a folder, by name; those to train on have "train" in their names.

    Args:
        path: The folder, or one shard of any name. Folders in it are not searched.
        held_out: List those without "train" in their names.

    Raises:
        DataError: There are none.
    """
    setting = "eval_dir" if held_out else "input_dir"
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"`{setting}` {path}: there is no such folder")
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    found = [file for file in files if (TRAINING in file.name) != held_out]
    if not found:
        names = ", ".join(file.name for file in files[:3]) or "none at all"
        raise DataError(
            f"`{setting}` {path}: expected .hdf5 files {'without' if held_out else 'with'} "
            f"'{TRAINING}' in their names, and found {names}; create_pretraining_data.py makes them"
        )
    return found


def digest(paths: Sequence[Path]) -> str:
    """Digest the names, sizes and bytes of files: shows whether a run has the data that it had.

    Every byte is read of files that have 256 MiB together, each an equal part. Of a longer file,
    blocks of 64 KiB are read: its first, its last, and others evenly between them, as many as fill
    its part. A change within what lies between them is not noticed unless it changes a size.

    Raises:
        DataError: A file cannot be read.
    """
    found = hashlib.sha256()
    blocks = max(DIGESTED // BLOCK // max(len(paths), 1), 4)
    try:
        for path in paths:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                found.update(repr((path.name, size)).encode())
                last = max(size - BLOCK, 0)
                all_of_it = range(0, size, BLOCK)
                some = [last * number // (blocks - 1) for number in range(blocks)]
                for start in all_of_it if len(all_of_it) <= blocks else some:
                    file.seek(start)
                    found.update(file.read(BLOCK))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return found.hexdigest()[:16]


@defer_signals()
def open_shard(path: Path, layout: Layout) -> Shard:
    """Look whether a file has the columns of a layout; no row is read.

    Raises:
        DataError: It is no HDF5 file, is cut off, or has other columns.
    """
    with _opened(path) as file:
        missing = [name for name in layout if not isinstance(file.get(name), h5py.Dataset)]
        if missing:
            raise _unfit(
                path, f"lacks {', '.join(missing)} (it has {', '.join(file) or 'nothing'})"
            )
        _require_numbers(path, [file[name] for name in layout])
        rows = file[next(iter(layout))].shape[:1]
        widths: dict[str, int] = {}
        for name, (dtype, axis) in layout.items():
            data = file[name]
            if not np.issubdtype(data.dtype, np.integer):
                raise _unfit(path, f"{name} is {data.dtype}, not {dtype}")
            if axis is not None and data.ndim == 2:
                widths.setdefault(axis, data.shape[1])
            expected = rows if axis is None else (*rows, widths.get(axis, axis))
            if data.shape != expected:
                raise _unfit(path, f"{name} has the shape {data.shape}, not {expected}")
        return Shard(path, int(rows[0]), widths, dict(file.attrs))


@defer_signals()
def read_slice(shard: Shard, layout: Layout, start: int, stop: int) -> Columns:
    """Read the rows `start` to `stop` of a shard, as the types of the layout.

    Raises:
        DataError: The file is damaged, or is another one than it was.
    """
    columns = {}
    with _opened(shard.path) as file:
        for name, column in layout.items():
            data = file.get(name)
            values = np.zeros(0) if data is None else data[start:stop]
            if len(values) != stop - start:
                raise _unfit(shard.path, "was changed during the run")
            bounds = np.iinfo(column.dtype)
            if values.size and not bounds.min <= values.min() <= values.max() <= bounds.max:
                raise _unfit(shard.path, f"{name} has numbers beyond {column.dtype}")
            columns[name] = values.astype(column.dtype, copy=False)
    return columns


def _require_numbers(path: Path, columns: Sequence[h5py.Dataset]) -> None:
    """Refuse a file that says it has far more numbers than it holds: room is made for each row."""
    if not all(data.shape for data in columns):
        raise _unfit(path, "has a column without rows")
    said = sum(math.prod(data.shape) * data.dtype.itemsize for data in columns)
    stored = sum(data.id.get_storage_size() for data in columns)
    if said > MAX_RATIO * stored:
        rows = columns[0].shape[0]
        raise _unfit(path, f"says that it has {rows:,} rows, and holds {stored:,} bytes of them")


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a shard; what the library says of a broken one becomes an error with its name."""
    try:
        # Without a lock: nothing is written, and some network file systems have none.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("(")[2].rstrip(")") or str(error)
        raise DataError(
            f"{path}: cannot be read ({reason}); the file is damaged or no HDF5, so copy it again "
            "or make it again"
        ) from error


def _unfit(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: {problem}; make the file again")


def common_widths(shards: Sequence[Shard]) -> dict[str, int]:
    """Find the greatest width of each axis."""
    return {axis: max(shard.widths[axis] for shard in shards) for axis in shards[0].widths}
