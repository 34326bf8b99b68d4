"""SIGTERM and Ctrl-C: as exceptions, as a request that a loop grants, or later.

A program that ends as its `main` does calls `raise_on_signals` first. Code that cannot bear an
exception at any moment runs in `defer_signals`; a loop that has its own moments for an end makes a
`StopRequest`.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import NoReturn

ENDING = (signal.SIGTERM, signal.SIGINT)

_raised: set[int] = set()  # signals that became an exception here
_requested: set[int] = set()  # and that a `StopRequest` caught


class Terminated(KeyboardInterrupt):
    """SIGTERM came.

    Not `SystemExit`, with which code in C that cannot pass an exception on ends the process on the
    spot: nothing is closed, and Python waits forever for child processes that wait for it.
    """


def raise_on_signals() -> None:
    """Let SIGTERM raise `Terminated`, and SIGINT `KeyboardInterrupt`, from now on."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    _raised.add(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def raise_pending() -> None:
    """Raise once more what a signal has raised; long work calls it now and then.

    Python drops an exception that is raised in a callback from C code, such as a destructor's.
    """
    for number in _raised:
        _raise(number, None)


def any_received() -> bool:
    """Whether a signal to end came to this process."""
    return bool(_raised or _requested)


def forget_received() -> None:
    """Begin as a process to which no signal came."""
    _raised.clear()
    _requested.clear()


class StopRequest:
    """Catches the signals while its `with` block runs, for a loop that ends at its own moment.

    All processes must stop after the same update, so the loop sums `flags` over them. A second
    Ctrl-C ends the process at once.
    """

    def __init__(self) -> None:
        self._received: set[int] = set()
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        """Begin to catch signals; only a main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._catch) for number in ENDING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._previous.items():
            signal.signal(number, handler or signal.SIG_DFL)  # type: ignore[arg-type]

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in self._received:
            raise KeyboardInterrupt
        self._received.add(number)
        _requested.add(number)

    @property
    def flags(self) -> list[float]:
        """Whether each of the signals came, as numbers that processes can sum."""
        return [float(number in self._received) for number in ENDING]

    @staticmethod
    def signal_of(flags: Sequence[float]) -> int:
        """Return the signal that summed flags stand for; 0 for none."""
        return next((int(n) for n, flag in zip(ENDING, flags, strict=True) if flag), 0)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let the signals that end a process wait until the block is left, whatever their handlers do.

    A handler runs between two lines of Python, also between those of a function that a C library
    has called, and what it raises there goes astray: HDF5 loses track of its file and crashes, or
    Python ends the process on the spot with nothing closed. In a thread this does nothing, for no
    signal interrupts one.
    """
    with ExitStack() as afterwards:
        if threading.current_thread() is threading.main_thread():
            came: list[int] = []

            def keep(number: int, frame: FrameType | None) -> None:
                came.append(number)

            def release() -> None:
                for number in came:
                    signal.raise_signal(number)

            afterwards.callback(release)
            for number in ENDING:
                if (handler := signal.getsignal(number)) is not None:  # else it is not Python's
                    afterwards.callback(signal.signal, number, handler)
                    signal.signal(number, keep)
        yield


@contextmanager
def block_signals() -> Iterator[None]:
    """Keep the signals from this thread, and for good from threads and processes that it starts.

    That is below Python: a handler that a C library puts in place waits, too.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
