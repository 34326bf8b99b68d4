"""Unpack chosen members of an archive, and nothing else, whatever the archive holds."""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.files.disk import sha256_of

MAX_RATIO = 200  # unpacked bytes per packed byte; text unpacks to some four times its packed size


def extract(archive: Path, members: Mapping[str, Path], sha256: str | None = None) -> None:
    """Unpack some members of a zip or tar archive, each to a place that the caller names.

    Args:
        archive: The file.
        members: The wanted members, by the end of their paths ("QQP/train.tsv"), and where each
            one goes.
        sha256: Digest that the archive must have: of the very bytes that are unpacked.

    Raises:
        DataError: The archive is broken or another one; a member is not there, there twice, empty,
            not a plain file, or unpacks to far more than its packed size.
    """
    try:
        with opened(archive, sha256) as file, _listed(file) as entries:
            for wanted, target in members.items():
                found = [one for one in entries if f"/{one.name}".endswith(f"/{wanted}")]
                if len(found) != 1:
                    raise DataError(f"{archive}: expected one {wanted} in it, got {len(found)}")
                _write(found[0], target)
    except DataError:
        raise
    except Exception as error:  # zipfile and tarfile raise a dozen types on what is broken
        reason = " ".join(str(error).split())[:300] or type(error).__name__  # tarfile's has lines
        raise DataError(f"{archive}: cannot be unpacked: {reason}") from error


@contextmanager
def opened(path: Path, sha256: str | None) -> Iterator[BinaryIO]:
    """Open a file for reading, once its bytes are found to be the expected ones.

    A file that is put in its place meanwhile is not read.

    Raises:
        DataError: It has another digest.
    """
    with path.open("rb") as file:
        if sha256 is not None and (found := sha256_of(file)) != sha256:
            raise DataError(f"{path}: expected SHA-256 {sha256}, got {found}")
        file.seek(0)
        yield file


class _Entry(NamedTuple):
    name: str
    size: int
    packed_size: int  # of the whole archive for a tar file, which packs all members as one
    is_plain: bool  # a file with contents of its own: no link, no device
    open: Callable[[], IO[bytes] | None]


@contextmanager
def _listed(file: BinaryIO) -> Iterator[list[_Entry]]:
    """List the members of an archive but for folders."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as zipped:
            kinds = (0, stat.S_IFREG)
            yield [
                _Entry(
                    info.filename,
                    info.file_size,
                    info.compress_size,
                    stat.S_IFMT(info.external_attr >> 16) in kinds,
                    partial(zipped.open, info),
                )
                for info in zipped.infolist()
                if not info.is_dir()
            ]
    else:
        packed_size = file.seek(0, os.SEEK_END)
        file.seek(0)
        with tarfile.open(fileobj=file) as tarred:
            entries = []
            for member in tarred:
                if member.size < 0:  # the next member would be this one again, for ever
                    raise tarfile.ReadError(f"{member.name} has the size {member.size}")
                if not member.isdir():
                    is_plain = member.isreg() and not member.issparse()
                    read = partial(tarred.extractfile, member)
                    entries.append(_Entry(member.name, member.size, packed_size, is_plain, read))
            yield entries


def _write(entry: _Entry, target: Path) -> None:
    if not entry.is_plain:
        raise ValueError(f"expected {entry.name} to be a file, got a link or a device")
    if entry.size > MAX_RATIO * entry.packed_size:
        raise ValueError(
            f"expected {entry.name} to unpack to at most {MAX_RATIO} times its packed size, "
            f"got {entry.size:,} bytes"
        )
    if entry.size == 0:  # also what tarfile makes of a size that is no number
        raise ValueError(f"expected {entry.name} to have contents, got none")
    target.parent.mkdir(parents=True, exist_ok=True)
    source = entry.open()
    assert source is not None  # only links and devices have no contents
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
        if file.tell() != entry.size:
            raise EOFError(f"{entry.name} has {file.tell():,} of {entry.size:,} bytes")
