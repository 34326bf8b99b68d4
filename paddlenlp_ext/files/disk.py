"""Open files that others made, within limits; map files into memory; replace files as a whole."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import secrets
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from paddlenlp_ext.errors import WeightsError, shown

# Of a config, of settings, of an index of shards: 100,000 labels or tensors take some 8 MB.
MAX_JSON = 16 << 20  # bytes
MAX_VALUES = 250_000  # of JSON; a tensor of a safetensors header has some ten


def open_file(path: Path) -> BinaryIO:
    """Open a file that others made, for reading, if it is a regular one.

    A FIFO or a device would let its reader wait, or never end.

    Raises:
        WeightsError: It is not there, not to be read, or of another kind.
    """
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        said = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path}: cannot be read: {said}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise WeightsError(f"{path}: is a FIFO, a device or a socket; expected a regular file")
    return file


def read_file(path: Path, most: int) -> bytes:
    """Read a file that others made and that is small.

    Args:
        path: A regular file.
        most: Bytes that it may have.

    Raises:
        WeightsError: It cannot be opened (see `open_file`), or is larger.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            content = file.read(most + 1) if size <= most else b""
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    if size > most or len(content) > most:
        raise WeightsError(
            f"{path}: has {max(size, len(content)):,} bytes, expected at most {most:,}; is it the "
            "right file?"
        )
    return content


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that others made.

    Raises:
        WeightsError: The file cannot be read (see `read_file`), or is not one JSON object.
    """
    content = parse_json(read_file(path, MAX_JSON), path)
    if type(content) is not dict:
        raise WeightsError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def parse_json(raw: bytes, path: Path) -> Any:
    """Parse JSON that others made: as the standard has it, in UTF-8, and of so many values only.

    Python's own parser also takes NaN, and of a name that comes twice the last value.

    Args:
        raw: The text.
        path: Where it is from, for messages.

    Raises:
        WeightsError: It is no such JSON.
    """
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise WeightsError(f"{path}: has more than {MAX_VALUES:,} values; is it the right file?")
    try:
        return json.loads(
            str(raw, "utf-8"), object_pairs_hook=_object, parse_constant=refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: expected JSON in UTF-8 ({error}); correct the file, or get it again"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"it has {shown(twice)} twice")
    return found


def refuse_constant(text: str) -> NoReturn:
    """Refuse what Python's parser takes for a number, and JSON does not have: NaN, Infinity."""
    raise ValueError(f"{text} is no number of JSON")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has none, and no FIFOs


def map_file(path: Path) -> memoryview:
    """Return the bytes of a file without reading them; arrays on top of them cost no memory.

    Raises:
        WeightsError: The file is empty or cannot be opened.
    """
    try:
        with open_file(path) as file:
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


def origin_of(array: NDArray[Any] | memoryview) -> Any:
    """Return what holds the bytes that an array is a view of: a mapped file, or an array."""
    origin: Any = array
    while True:
        held = origin.base if isinstance(origin, np.ndarray) else getattr(origin, "obj", None)
        if held is None:
            return origin
        origin = held


def release_pages(array: NDArray[Any] | memoryview) -> None:
    """Free the memory of the file that an array is a view of; it is read again where needed.

    What was read of a mapped file counts as this process's memory until then. An array of another
    origin is left as it is.
    """
    origin = origin_of(array)
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
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise WeightsError(f"{unwritten(error, path)}; what was there before is whole") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Do as `replace_file`.

    Raises:
        OSError: The file cannot be written.
    """
    temporary = temporary_name(path)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` that nobody can guess, to put a link there."""
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(8)}")


def unwritten(error: OSError, path: Path) -> str:
    """Say why a file could not be written; of a full disk also what it has left."""
    said = f"{path}: cannot be written: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            folder = next(one for one in path.absolute().parents if one.is_dir())
            if error.errno == errno.ENOSPC and _is_out_of_inodes(folder):
                return f"{said} (no more files: all inodes of the disk are taken; delete files)"
            said += f" ({shutil.disk_usage(folder).free:,} bytes are free)"
    return said


def _is_out_of_inodes(folder: Path) -> bool:
    """Return whether the disk holds as many files as it can; some systems have no such number."""
    if not hasattr(os, "statvfs"):
        return False
    facts = os.statvfs(folder)
    return facts.f_files > 0 and facts.f_favail == 0


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power cut, where folders can be synced."""
    with suppress(OSError):  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
