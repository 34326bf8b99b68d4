"""Map files into memory, and replace files as a whole."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from paddlenlp_ext.errors import WeightsError


def map_file(path: Path) -> memoryview:
    """Return the bytes of a file without reading them; arrays on top of them cost no memory.

    Raises:
        WeightsError: The file is empty or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # mmap refuses it with words of its own
                raise WeightsError(f"{path}: is empty; copy or download the file again")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error


def spill_to_disk(array: NDArray[Any], folder: Path) -> NDArray[Any]:
    """Copy numbers into a file without a name, and return what maps it; it goes with that array.

    Args:
        array: Of any layout; not empty.
        folder: On a disk with as much room.

    Raises:
        WeightsError: The file cannot be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Not `tofile`, which does not say that a disk is full.
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0)
    except OSError as error:
        raise WeightsError(unwritten(error, folder / "a temporary file")) from error
    return np.frombuffer(mapped, array.dtype).reshape(array.shape)


def release_pages(array: NDArray[Any]) -> None:
    """Free the memory of the file that an array is a view of; it is read again where needed.

    What was read of a mapped file counts as this process's memory until then. An array of another
    origin is left as it is.
    """
    origin: Any = array
    while isinstance(origin, np.ndarray | memoryview):
        origin = origin.base if isinstance(origin, np.ndarray) else origin.obj
    if isinstance(origin, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows has none
        origin.madvise(mmap.MADV_DONTNEED)


def sha256_of(file: BinaryIO) -> str:
    """Return the digest of what is left to read of an open file, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and put it there once it is wholly on the disk.

    A reader sees the old file or the new one, never a part, whenever the writer is killed. Files
    that were mapped before stay as they were.

    Raises:
        WeightsError: The file cannot be written (no space, no permission).
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise WeightsError(f"{unwritten(error, path)}; what was there before is whole") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def unwritten(error: OSError, path: Path) -> str:
    """Say why a file could not be written; of a full disk also how much it has left."""
    said = f"{path}: cannot be written: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            folder = next(one for one in path.absolute().parents if one.is_dir())
            said += f" ({shutil.disk_usage(folder).free:,} bytes are free)"
    return said


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power cut, where folders can be synced."""
    with suppress(OSError):  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
