"""Download a file: one process at a time, resumed when cut, checked before it gets its name.

Weights from Paddle's hosting (`files.sources`) and the archives of data sets (`tasks.download`)
come through here; what lies on the Hugging Face Hub comes through `huggingface_hub`.
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
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from urllib.request import Request

from filelock import FileLock
from tqdm import tqdm

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import sha256_of

TIMEOUT = 30.0  # seconds without a byte until a connection counts as stalled
ATTEMPTS = 5  # without a byte of progress in between
PAUSE = 1.0  # seconds before the second attempt; doubled for each further one
PIECE = 1 << 20  # bytes

_LOCAL = ("127.0.0.1", "localhost", "::1")
_PASSING = (408, 425, 429)  # answers that ask to try again, besides all from 500 on


class DownloadError(UserError):
    """A file cannot be had; the message does not name its address, which the caller knows."""


class NotThereError(DownloadError):
    """The server answered that it does not have the file."""


def cache_folder() -> Path:
    """Return where downloads are kept: $PADDLENLP_EXT_HOME, or ~/.cache/paddlenlp_ext.

    Raises:
        DownloadError: It would be in the home folder, and there is none.
    """
    given = os.environ.get("PADDLENLP_EXT_HOME")
    try:
        return Path(given or "~/.cache/paddlenlp_ext").expanduser()
    except RuntimeError:
        raise DownloadError(
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
    with suppress(DownloadError):
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


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
) -> None:
    """Make sure that the file behind `url` stands at `path`.

    A file that is there already, also one that was put there by hand, is checked and not fetched
    again. While a file is fetched it is called `path` + ".part"; it gets its name once all of its
    bytes are on the disk and have the right digest. Other processes that want the same file wait;
    the lock of one that was killed is freed by the system.

    Args:
        url: An https address (http for this machine only). Proxies come from the environment.
        path: Where the file goes; missing folders are made.
        sha256: Digest that the file must have. With it, a later process goes on with the part that
            an earlier one has left.
        size: Bytes that the file must have.

    Raises:
        DownloadError: The file cannot be had or written, or is not the expected one.
    """
    _check_address(url)
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
                _complete(url, part, sha256, size)
                os.replace(part, path)
            finally:
                if part.exists() and (sha256 is None or part.stat().st_size == 0):
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
    with FileLock(path):
        yield


def is_offline() -> bool:
    """Return whether connections are forbidden, by the variables that the hub's library reads."""
    switches = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(switch.upper() in ("1", "ON", "YES", "TRUE") for switch in switches)


@contextmanager
def launcher_proxies() -> Iterator[None]:
    """Give back the proxies that `paddle.distributed.launch` hides from its workers.

    It renames `http_proxy` and `https_proxy` for the sake of the collectives, and downloads in a
    worker would fail.
    """
    hidden = {}
    for name in ("http_proxy", "https_proxy"):
        original = os.environ.get(f"{name}_original")
        if original and not os.environ.get(name):
            hidden[name] = os.environ[name] = original
    try:
        yield
    finally:
        for name in hidden:
            os.environ.pop(name, None)


def _complete(url: str, part: Path, sha256: str | None, size: int | None) -> None:
    """Make the part the expected file, on top of what an earlier process has left of it."""
    if sha256 is None:  # then nothing would show that the part belongs to another version
        part.unlink(missing_ok=True)
    while True:
        resumed = part.exists()
        _fetch(url, part, sha256 is not None, size)
        try:
            return _check(part, sha256, size)
        except DownloadError:
            part.unlink()
            if not resumed:  # else the old part may be what was wrong
                raise


def _fetch(url: str, part: Path, is_checked: bool, size: int | None) -> None:
    """Fill the part, going on after failures that may pass."""
    if not sys.stderr.isatty():
        print(f"downloading {_plain(url)}", file=sys.stderr, flush=True)
    failures = 0
    with (
        open(part, "ab", opener=_open_part) as file,
        tqdm(total=size, desc=part.stem, unit="B", unit_scale=True, disable=None) as bar,
    ):
        transfer = _Transfer(url, file, size, bar, is_checked)
        while size is None or file.tell() < size:
            before = file.tell()
            try:
                transfer.attempt()
                break
            except _CutError as error:
                failures = 1 if file.tell() > before else failures + 1
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

    url: str
    file: BinaryIO  # what is appended to
    size: int | None  # of the whole file, if it is known beforehand
    bar: tqdm[None]
    is_checked: bool  # whether a digest will show a wrong continuation of an older part
    version: str | None = None  # what the server calls the present contents

    def attempt(self) -> None:
        """Ask for what is missing and append it.

        Raises:
            DownloadError: It cannot be had.
            _CutError: It came in part or not at all, which may be better next time.
            OSError: The file cannot be written.
        """
        if not (self.is_checked or self.version):
            self._restart()
        with self._answer() as response:
            total = self._total(response)
            self.version = _version(response)
            self.bar.reset(total)
            self.bar.update(self.file.tell())
            while piece := _read(response):
                self.file.write(piece)
                self.bar.update(len(piece))
                if self.size is not None and self.file.tell() > self.size:
                    raise DownloadError(f"expected {self.size:,} bytes, the server sends more")
        if total is not None and self.file.tell() < total:
            raise _CutError(f"the transfer ended after {self.file.tell():,} of {total:,} bytes")

    def _answer(self) -> http.client.HTTPResponse:
        headers = {"User-Agent": "paddlenlp-ext", "Accept-Encoding": "identity"}
        if start := self.file.tell():
            headers["Range"] = f"bytes={start}-"
            if self.version:
                headers["If-Range"] = self.version
        request = Request(self.url, headers=headers)
        try:
            with launcher_proxies():
                opener = urllib.request.build_opener(_Redirect)  # reads the proxies
            response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT)
            return response
        except urllib.error.HTTPError as error:
            answer = f"the server answered {error.code} {error.reason}"
            if error.code in (404, 410):
                raise NotThereError(answer) from error
            if error.code == 416:  # the part is longer than the file
                self._restart()
            elif error.code not in _PASSING and error.code < 500:
                raise DownloadError(answer) from error
            raise _CutError(answer) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            answer = f"no connection ({reason or type(error).__name__})"
            if isinstance(reason, (socket.gaierror, ssl.SSLCertVerificationError)):
                raise DownloadError(answer) from error
            raise _CutError(answer) from error

    def _total(self, response: http.client.HTTPResponse) -> int | None:
        """Return the length of the whole file; begin again if that is what was sent."""
        start = self.file.tell()
        where = response.headers.get("Content-Range", "")
        if response.status == 206 and where.startswith(f"bytes {start}-"):
            length = where.rpartition("/")[2]
        else:
            self._restart()
            length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if total is not None and self.size not in (None, total):
            raise DownloadError(f"expected {self.size:,} bytes, the server has {total:,}")
        return total

    def _restart(self) -> None:
        if self.file.tell():
            self.file.seek(0)
            self.file.truncate()


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only where a download may come from."""

    def redirect_request(self, req: Request, *others: Any) -> Request | None:
        *_, address = others
        _check_address(address)
        return super().redirect_request(req, *others)


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(PIECE)  # what has come, before a stall can swallow it
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"the transfer broke off ({error or type(error).__name__})") from error


def _version(response: http.client.HTTPResponse) -> str | None:
    """Return what If-Range may name: a strong entity tag, or else the date of the last change."""
    tag: str | None = response.headers.get("ETag")
    if tag is None or tag.startswith("W/"):
        tag = response.headers.get("Last-Modified")
    return tag


def _check(path: Path, sha256: str | None, size: int | None) -> None:
    """Raise DownloadError unless the file is the expected one."""
    with path.open("rb") as file:
        held = os.fstat(file.fileno()).st_size
        if size is not None and held != size:
            raise DownloadError(f"{path}: expected {size:,} bytes, got {held:,}")
        if sha256 is not None and (found := sha256_of(file)) != sha256:
            raise DownloadError(f"{path}: expected SHA-256 {sha256}, got {found}")


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise DownloadError(f"only https addresses are downloaded from, not {_plain(url)}")


def _plain(url: str) -> str:
    """Return an address without its query, which may hold a key."""
    return url.partition("?")[0]
