"""Ask a server, whose answers may be anything: of any length, at any speed, with any header."""

from __future__ import annotations

import functools
import http.client
import io
import os
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import Request

from paddlenlp_ext.errors import UserError

TIMEOUT = 30.0  # seconds without a byte until a connection counts as stalled
MAX_HEAD = 1 << 20  # bytes of headers, of bodies that nobody reads, of several answers in a row
MIN_RATE = 4096  # bytes a second, over that time; a slower connection counts as stalled, too

_LOCAL = ("127.0.0.1", "localhost", "::1")


class DownloadError(UserError):
    """A file cannot be had; the message does not name its address, which the caller knows."""


class NotThereError(DownloadError):
    """The server answered that it does not have the file."""


class SlowError(OSError):
    """Bytes came, but fewer than `MIN_RATE`."""


def ask(
    url: str,
    headers: dict[str, str],
    *,
    token: str | None = None,
    method: str = "GET",
    timeout: float | None = None,
) -> Response:
    """Send a request and return the answer, whose body is still to be read.

    Args:
        url: An https address, or one that `check_address` allows.
        headers: Of the request.
        token: For this server alone; it is not sent on to another one.
        method: "GET", or "HEAD", which follows a redirection only within a server.
        timeout: Seconds without a byte, `TIMEOUT` by default.

    Raises:
        DownloadError: It is redirected to where no download may come from.
        urllib.error.HTTPError: The server answered something else than 2xx.
        OSError, http.client.HTTPException, ValueError: It gave no answer that is one.
    """
    check_address(url)
    request = Request(url, headers=headers, method=method)
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    with launcher_proxies():  # which the opener reads
        opener = urllib.request.build_opener(_Http, _Https, _Redirect)
    response: Response = opener.open(request, timeout=timeout or TIMEOUT)
    return response


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


def check_address(url: str) -> None:
    """Check that a download may come from an address: https, this machine, or the user's mirror.

    Raises:
        DownloadError: It may not.
    """
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme == "http" and (
            parts.hostname in _LOCAL or _origin(url) == _origin(os.environ.get("HF_ENDPOINT", ""))
        )
        if parts.scheme == "https" or is_plain:
            return
    except ValueError:  # "http://[", for one
        pass
    raise DownloadError(f"only https addresses are downloaded from, not {without_query(url)}")


def without_query(url: str) -> str:
    """Return an address without its query, which may hold a key."""
    return printable(url.partition("?")[0], 300)


def printable(text: object, most: int = 120) -> str:
    """Return what a server has said as part of a line: no control characters, not too long."""
    words = " ".join(str(text).split())
    return "".join(one if one.isprintable() else "?" for one in words[:most])


def length(text: str | None) -> int | None:
    """Return a number of bytes that a header gives, if it is one."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 16 else None


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only where a download may come from, and keeps the token at home."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        check_address(newurl)
        if urlsplit(newurl).hostname in _LOCAL and urlsplit(req.full_url).hostname not in _LOCAL:
            raise DownloadError(f"redirected to this machine, to {without_query(newurl)}")
        if req.get_method() == "HEAD" and urlsplit(headers.get("Location", "")).netloc:
            return None  # the answer is about the file, wherever it is
        code = 307 if code == 308 else code  # which Python 3.10 does not know
        new = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if new is not None:
            new.method = req.get_method()
            if _origin(newurl) == _origin(req.full_url) and req.has_header("Authorization"):
                new.add_unredirected_header("Authorization", req.get_header("Authorization") or "")
        return new

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


class _Watched(io.RawIOBase):
    """What comes from a server, header and body, while it comes fast enough and is not too long."""

    def __init__(self, source: io.RawIOBase, seconds: float):
        self.left = MAX_HEAD
        self._source, self._seconds = source, seconds
        self._began, self._count = 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count: int = self._source.readinto(buffer) or 0  # type: ignore[attr-defined]
        now = time.monotonic()
        self._began = self._began or now
        self._count += count
        self.left -= count
        if self.left < 0:
            raise http.client.HTTPException("the answer does not end where it should")
        if now - self._began >= self._seconds:
            if count and self._count < MIN_RATE * self._seconds:
                raise SlowError(
                    f"fewer than {MIN_RATE:,} bytes a second for {self._seconds:.0f} seconds"
                )
            self._began, self._count = now, 0
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class Response(http.client.HTTPResponse):
    """An answer with at most `MAX_HEAD` bytes before its body."""

    def __init__(self, sock: Any, *args: Any, **options: Any):
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()  # type: ignore[attr-defined]
        self._watched = _Watched(raw, sock.gettimeout() or TIMEOUT)
        self.fp = io.BufferedReader(self._watched)

    def allow(self, count: int) -> None:
        """Let the body have so many bytes; in pieces, each may have a head of its own."""
        self._watched.left = 8 * count + MAX_HEAD


class _Connection(http.client.HTTPConnection):
    response_class = Response


class _SafeConnection(http.client.HTTPSConnection):
    response_class = Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_SafeConnection, req, context=_trust())  # type: ignore[arg-type]


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return the authorities of the system, of certifi, and of the variables of `requests`."""
    context = ssl.create_default_context()
    with suppress(ImportError):
        import certifi

        context.load_verify_locations(certifi.where())
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if place := os.environ.get(name):
            is_folder = os.path.isdir(place)
            context.load_verify_locations(**{"capath" if is_folder else "cafile": place})
    return context
