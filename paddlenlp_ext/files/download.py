"""Download a file: one process at a time, resumed when cut, checked before it gets its name.

Files of the Hugging Face Hub (`files.hub`), of Paddle's hosting (`files.sources`) and the archives
of data sets (`tasks.download`) come through here.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
import stat
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from paddlenlp_ext.files.disk import sha256_of
from paddlenlp_ext.files.web import (
    TIMEOUT,
    DownloadError,
    NotThereError,
    Response,
    SlowError,
    ask,
    check_address,
    length,
    printable,
    without_query,
)
from paddlenlp_ext.process.locks import hold
from paddlenlp_ext.process.streams import progress_bar

ATTEMPTS = 5  # without a byte of progress in between
PAUSE = 1.0  # seconds before the second attempt; doubled for each further one
PIECE = 1 << 20  # bytes
SMALL = 64 << 20  # bytes: of a config, a vocabulary, an index, and where nobody says how many
SMALL_TIME = 300.0  # seconds that such a file may take
LARGE = 64 << 30  # bytes: of weights

PASSING = (408, 425, 429)  # answers that ask to try again, besides all from 500 on
HEADERS = {"User-Agent": "paddlenlp-ext", "Accept-Encoding": "identity"}


class NoHomeError(DownloadError):
    """There is no place for a cache."""


def cache_folder() -> Path:
    """Return where downloads are kept: $PADDLENLP_EXT_HOME, or ~/.cache/paddlenlp_ext.

    Raises:
        NoHomeError: It would be in the home folder, and there is none.
    """
    given = os.environ.get("PADDLENLP_EXT_HOME")
    try:
        return Path(given or "~/.cache/paddlenlp_ext").expanduser()
    except RuntimeError:
        raise NoHomeError(
            f"{given or 'the cache'}: this user has no home folder; set PADDLENLP_EXT_HOME to a "
            "folder that can be written to"
        ) from None


def private_folder(folder: Path) -> Path:
    """Make a folder of the cache if it is not there; nobody else may write to it.

    What lies in the cache is believed: whoever can write there decides what is trained on.

    Args:
        folder: In the cache folder, whose own folders are looked at, too; or anywhere.

    Raises:
        DownloadError: Others can write to it, or it is another user's.
        OSError: It cannot be made.
    """
    root = folder
    with suppress(NoHomeError):
        root = cache_folder()
    above = [folder, *folder.parents]
    chain = above[: above.index(root) + 1] if root in above else [folder]
    chain[-1].parent.mkdir(parents=True, exist_ok=True)
    for path in reversed(chain):
        path.mkdir(mode=0o700, exist_ok=True)
        if problem := _openness(path.stat()):
            raise DownloadError(
                f"{path}: {problem}, so what lies there is not used; if all in it is yours, give "
                "it the mode 700, else set PADDLENLP_EXT_HOME to another folder"
            )
    return folder


def is_own_file(path: Path) -> bool:
    """Return whether a path is a file of this user (or of root), and no link to one."""
    facts = path.lstat()
    return stat.S_ISREG(facts.st_mode) and _is_trusted(facts)


def _is_trusted(facts: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or facts.st_uid in (os.geteuid(), 0)


def _openness(facts: os.stat_result) -> str:
    """Say why what lies in a folder may be another user's; empty if it may not."""
    if not _is_trusted(facts):
        return "belongs to another user"
    if hasattr(os, "geteuid") and facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "other users can write to it"
    return ""


@dataclass(frozen=True)
class Wanted:
    """A file that is downloaded.

    Attributes:
        url: Its address, which `web.check_address` allows. Proxies come from the environment.
        sha256: Digest that it must have. With it, a later process goes on with the part that an
            earlier one has left.
        size: Bytes that it must have, if they are known beforehand.
        is_small: Whether it has to come within `SMALL_TIME` and to have at most `SMALL` bytes.
        is_versioned: Whether its place is named by its contents, so that a later process can go on.
        token: For its server alone.
        label: What a bar calls it.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    is_small: bool = False
    is_versioned: bool = False
    token: str | None = None
    label: str = ""

    @property
    def keeps_part(self) -> bool:
        """Whether a part that an earlier process has left is of this file."""
        return self.sha256 is not None or self.is_versioned

    @property
    def most(self) -> int:
        """Most bytes that it may have."""
        return SMALL if self.is_small else LARGE


def download(
    url: str, path: Path, *, sha256: str | None = None, size: int | None = None, **others: Any
) -> None:
    """Make sure that the file behind `url` stands at `path`.

    A file that is there already, also one that was put there by hand, is checked and not fetched
    again. While a file is fetched it is called `path` + ".part"; it gets its name once all of its
    bytes are on the disk and have the right digest. Other processes that want the same file wait;
    the lock of one that was killed is freed by the system.

    Args:
        url: See `Wanted`.
        path: Where the file goes; missing folders are made.
        sha256: See `Wanted`.
        size: See `Wanted`.
        **others: Attributes of `Wanted`.

    Raises:
        DownloadError: The file cannot be had or written, or is not the expected one.
    """
    wanted = Wanted(url, sha256, size, **others)
    check_address(url)
    if size is not None and size > wanted.most:
        raise DownloadError(f"expected at most {wanted.most:,} bytes, the server has {size:,}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{path}.lock")):
            if path.exists():
                _check(path, sha256, size)
                return
            if is_offline():
                raise DownloadError("offline mode is on (HF_HUB_OFFLINE)")
            part = path.with_name(path.name + ".part")
            _clear_foreign(part)
            try:
                _complete(wanted, part)
                os.replace(part, path)
            finally:
                if part.exists() and (not wanted.keeps_part or part.stat().st_size == 0):
                    part.unlink()
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock; a link in its place, behind which a file would be emptied, is not followed.

    Raises:
        OSError: There is a link, or the file cannot be made.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link", str(path))
    with hold(path):
        yield


def is_offline() -> bool:
    """Return whether connections are forbidden, by the variables that the hub's library reads."""
    switches = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(switch.upper() in ("1", "ON", "YES", "TRUE") for switch in switches)


def _complete(wanted: Wanted, part: Path) -> None:
    """Make the part the expected file, on top of what an earlier process has left of it."""
    if not wanted.keeps_part:  # then nothing would show that the part belongs to another version
        part.unlink(missing_ok=True)
    while True:
        resumed = part.exists()
        _fetch(wanted, part)
        try:
            return _check(part, wanted.sha256, wanted.size)
        except DownloadError:
            part.unlink()
            if not resumed:  # else the old part may be what was wrong
                raise


def _fetch(wanted: Wanted, part: Path) -> None:
    """Fill the part, going on after failures that may pass."""
    if sys.stderr is not None and not sys.stderr.isatty():
        print(f"downloading {without_query(wanted.url)}", file=sys.stderr, flush=True)
    failures, size = 0, wanted.size
    name = wanted.label or part.stem
    with (
        open(part, "ab", opener=_open_part) as file,
        progress_bar(size, desc=name, unit="B", unit_scale=True) as bar,
    ):
        transfer = _Transfer(wanted, file, bar)
        while size is None or file.tell() < size:
            before = file.tell()
            try:
                transfer.attempt()
                break
            except _CutError as error:
                is_slow = isinstance(error.__cause__, SlowError)
                if is_slow and wanted.is_small:
                    raise DownloadError(str(error)) from error
                failures = 1 if file.tell() > before and not is_slow else failures + 1
                if failures == ATTEMPTS:
                    raise DownloadError(f"{error}, {ATTEMPTS} times without progress") from error
            time.sleep(PAUSE * 2 ** (failures - 1))
        file.flush()
        os.fsync(file.fileno())


def _clear_foreign(part: Path) -> None:
    """Remove what is no part that a download of this user has left, such as a link."""
    with suppress(FileNotFoundError):
        if not is_own_file(part) or part.lstat().st_nlink != 1:
            part.unlink()


def _open_part(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


class _CutError(Exception):
    """A transfer failed in a way that may pass."""


@dataclass
class _Transfer:
    """The requests for one file, each of which goes on where the one before was cut."""

    wanted: Wanted
    file: BinaryIO  # what is appended to
    bar: tqdm[None]
    version: str | None = None  # what the server calls the present contents
    began: float = field(default_factory=time.monotonic)

    def attempt(self) -> None:
        """Ask for what is missing and append it.

        Raises:
            DownloadError: It cannot be had.
            _CutError: It came in part or not at all, which may be better next time.
            OSError: The file cannot be written.
        """
        if not (self.wanted.keeps_part or self.version):
            self._restart()
        with self._answer() as response:
            total = self._total(response)
            self.version = _version(response)
            self.bar.reset(total)
            self.bar.update(self.file.tell())
            size = total if self.wanted.size is None else self.wanted.size
            most = SMALL if size is None else size
            response.allow(most)
            while piece := _read(response):
                self.file.write(piece)
                self.bar.update(len(piece))
                if self.file.tell() > most:
                    self._restart()  # so that nothing is left of it
                    least = "at most " if size is None else ""
                    raise DownloadError(f"expected {least}{most:,} bytes, the server sends more")
                self._check_time()
        if total is not None and self.file.tell() < total:
            raise _CutError(f"the transfer ended after {self.file.tell():,} of {total:,} bytes")

    def _check_time(self) -> None:
        if self.wanted.is_small and time.monotonic() - self.began > SMALL_TIME:
            raise DownloadError(f"it did not come within {SMALL_TIME:.0f} seconds")

    def _answer(self) -> Response:
        self._check_time()
        headers = dict(HEADERS)
        if start := self.file.tell():
            headers["Range"] = f"bytes={start}-"
            if self.version:
                headers["If-Range"] = self.version
        try:
            return ask(self.wanted.url, headers, token=self.wanted.token, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            answer = f"the server answered {error.code} {printable(error.reason)}"
            if error.code in (404, 410):
                raise NotThereError(answer) from error
            if error.code == 416:  # the part is longer than the file
                self._restart()
            elif error.code not in PASSING and error.code < 500:
                raise DownloadError(answer) from error
            raise _CutError(answer) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            answer = no_connection(error)
            if isinstance(reason, (socket.gaierror, ssl.SSLCertVerificationError)):
                raise DownloadError(answer) from error
            raise _CutError(answer) from error

    def _total(self, response: http.client.HTTPResponse) -> int | None:
        """Return the length of the whole file; begin again if that is what was sent."""
        start = self.file.tell()
        where = response.headers.get("Content-Range", "")
        if response.status == 206 and where.startswith(f"bytes {start}-"):
            said = where.rpartition("/")[2]
        else:
            self._restart()
            said = response.headers.get("Content-Length", "")
        total, size = length(said), self.wanted.size
        if total is not None and size not in (None, total):
            raise DownloadError(f"expected {size:,} bytes, the server has {total:,}")
        if total is not None and total > self.wanted.most:
            most = self.wanted.most
            raise DownloadError(f"expected at most {most:,} bytes, the server has {total:,}")
        return total

    def _restart(self) -> None:
        if self.file.tell():
            self.file.seek(0)
            self.file.truncate()


def no_connection(error: Exception) -> str:
    """Say that, and why, a server gave no answer."""
    reason = getattr(error, "reason", error)
    return f"no connection ({printable(reason) or type(error).__name__})"


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(PIECE)  # what has come, before a stall can swallow it
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = printable(error) or type(error).__name__
        raise _CutError(f"the transfer broke off ({why})") from error


def _version(response: http.client.HTTPResponse) -> str | None:
    """Return what If-Range may name: a strong entity tag, or else the date of the last change."""
    tag: str | None = response.headers.get("ETag")
    if tag is None or tag.startswith("W/"):
        tag = response.headers.get("Last-Modified")
    return tag if tag and len(tag) < 200 and tag.isascii() and tag.isprintable() else None


def _check(path: Path, sha256: str | None, size: int | None) -> None:
    """Raise DownloadError unless the file is the expected one."""
    with path.open("rb") as file:
        held = os.fstat(file.fileno()).st_size
        if size is not None and held != size:
            raise DownloadError(f"{path.name}: expected {size:,} bytes, got {held:,}")
        if sha256 is not None and (found := sha256_of(file)) != sha256:
            raise DownloadError(f"{path.name}: expected SHA-256 {sha256}, got {found}")
