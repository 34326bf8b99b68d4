"""Shards: HDF5 files whose rows are training examples; read by slices, never as a whole.

A layout says which columns a kind of shard has; `bert_shards.py` has those of BERT's, and
another kind of pretraining brings its own. `shard_set.py` makes one list of rows of many shards.
The files are opened in a process apart, which runs `hdf5.py`.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining import hdf5
from paddlenlp_ext.pretraining.hdf5 import Columns, Layout
from paddlenlp_ext.process.apart import LostError, call_apart

R = TypeVar("R")

SUFFIXES = (".hdf5", ".h5")
TRAINING = "train"  # in the names of files that are trained on
DIGESTED = 1 << 28  # bytes of all files together that a digest reads, and at least four blocks each
BLOCK = 1 << 16  # bytes that it reads in one piece
# What a file says of itself, and its types; other programs do not look at them.
HAS_PAIRS = "next_sentence_prediction"  # False: single texts, whose labels all are 0
VOCABULARY = "vocabulary_sha256"
ATTRIBUTES: Mapping[str, type] = {HAS_PAIRS: bool, VOCABULARY: str}


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


def open_shard(path: Path, layout: Layout, known: Mapping[str, type] = ATTRIBUTES) -> Shard:
    """Look whether a file has the columns of a layout; no row is read.

    Args:
        path: The file.
        layout: Its columns.
        known: The attributes that are read, if they are there, and their types.

    Raises:
        DataError: It is no HDF5 file, is cut off, or has other columns.
    """
    return Shard(path, *_apart(path, hdf5.describe, layout, known))


def read_slice(shard: Shard, layout: Layout, start: int, stop: int) -> Columns:
    """Read the rows `start` to `stop` of a shard, as the types of the layout.

    Raises:
        DataError: The file is damaged, or is another one than it was.
    """
    columns = _apart(shard.path, hdf5.read, layout, start, stop)
    for name, (_, axis) in layout.items():
        shape = (stop - start,) if axis is None else (stop - start, shard.widths[axis])
        if columns[name].shape != shape:
            raise DataError(f"{shard.path}: was changed during the run; make the file again")
    return columns


def _apart(path: Path, function: Callable[..., R], *args: object) -> R:
    """Call a function on a file where a damaged one can do no harm."""
    try:
        return call_apart(function, str(path.absolute()), *args)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except LostError as error:
        raise DataError(
            f"{path}: cannot be read ({error}); the file is damaged, so copy it again or make it "
            "again"
        ) from error


def common_widths(shards: Sequence[Shard]) -> dict[str, int]:
    """Find the greatest width of each axis."""
    return {axis: max(shard.widths[axis] for shard in shards) for axis in shards[0].widths}
