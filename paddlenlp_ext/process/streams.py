"""Standard streams that are closed, or whose readers go away, and what is shown on them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Let nothing that is shown end what is done, in the block.

    What cannot be encoded is shown as an escape. What cannot be written, because the reader, the
    terminal or the room on a disk is gone, is lost, as is all that comes after it on this stream.
    """
    open_missing_streams()
    before = sys.stdout, sys.stderr
    lasting = _Lasting(sys.stdout, "stdout"), _Lasting(sys.stderr, "stderr")
    sys.stdout, sys.stderr = lasting  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in lasting:
            stream.flush()
        sys.stdout, sys.stderr = before


class _Lasting:
    """A stream that can be written to until the end; all else is the stream's own."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or lose it."""
        try:
            self._stream.write(text)
        except (OSError, ValueError) as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Write what is not yet written, or lose it."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        """Let the stream lead to nowhere, for libraries in C and child processes, too."""
        if isinstance(error, (BlockingIOError, ValueError)):  # it is slow, or was closed here
            return
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if self._name == "stdout":
            print(f"stdout: {error.strerror}; the run goes on without", file=sys.stderr, flush=True)


def open_missing_streams() -> None:
    """Let standard streams that are closed lead to nowhere.

    Python has None in their place, which a progress bar cannot write to; and files that are opened
    would take their numbers, so that what C libraries say would be written into these.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115  # it takes the number that is free
            os.set_inheritable(stream.fileno(), True)  # for child processes
            setattr(sys, name, stream)


def progress_bar(total: int | None, *, hidden: bool = False, **options: Any) -> "tqdm[None]":
    """Make a progress bar on stderr; it shows nothing where that is no terminal, or closed."""
    from tqdm import tqdm  # only now: `--help` is there at once

    return tqdm(total=total, disable=True if hidden or sys.stderr is None else None, **options)
