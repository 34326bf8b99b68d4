"""Unpack chosen members of an archive, and nothing else, whatever the archive holds."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from paddlenlp_ext.errors import DataError

MAX_RATIO = 200  # unpacked bytes per packed byte; text unpacks to some four times its packed size

# What zipfile and tarfile raise on broken, cut or encrypted archives.
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError)


def extract(archive: Path, members: Mapping[str, Path]) -> None:
    """Unpack some members of a zip or tar archive, each to a place that the caller names.

    Nothing else is written, whatever the archive holds.

    Args:
        archive: The file.
        members: The wanted members, by the end of their paths ("QQP/train.tsv"), and where each
            one goes.

    Raises:
        DataError: The archive is broken; a member is not there, there twice, not a plain file, or
            unpacks to far more than its packed size.
    """
    try:
        with _listed(archive) as entries:
            for wanted, target in members.items():
                found = [one for one in entries if f"/{one.name}".endswith(f"/{wanted}")]
                if len(found) != 1:
                    raise DataError(f"{archive}: expected one {wanted} in it, got {len(found)}")
                _write(found[0], target, archive)
    except (*BROKEN, OSError) as error:
        raise DataError(f"{archive}: cannot be unpacked: {error}") from error


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    packed_size: int  # of the whole archive for a tar file, which packs all members as one
    is_plain: bool  # a file with contents of its own: no link, no device
    open: Callable[[], IO[bytes] | None]


@contextmanager
def _listed(archive: Path) -> Iterator[list[_Entry]]:
    """Open an archive and list its members but for folders."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield [
                _Entry(
                    info.filename,
                    info.file_size,
                    info.compress_size,
                    stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG),
                    partial(zipped.open, info),
                )
                for info in zipped.infolist()
                if not info.is_dir()
            ]
    else:
        packed_size = archive.stat().st_size
        with tarfile.open(archive) as tarred:
            yield [
                _Entry(
                    member.name,
                    member.size,
                    packed_size,
                    member.isreg() and not member.issparse(),
                    partial(tarred.extractfile, member),
                )
                for member in tarred
                if not member.isdir()
            ]


def _write(entry: _Entry, target: Path, archive: Path) -> None:
    if not entry.is_plain:
        raise DataError(f"{archive}: expected {entry.name} to be a file, got a link or a device")
    if entry.size > MAX_RATIO * entry.packed_size:
        raise DataError(
            f"{archive}: expected {entry.name} to unpack to at most {MAX_RATIO} times its packed "
            f"size, got {entry.size:,} bytes"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    source = entry.open()
    assert source is not None  # only links and devices have no contents
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
