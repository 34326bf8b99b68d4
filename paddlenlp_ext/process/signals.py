"""SIGTERM, SIGHUP and Ctrl-C: as exceptions, as a request that a loop grants, or later.

A program that ends as its `main` does runs in `raise_on_signals`. Code that cannot bear an
exception at any moment runs in `defer_signals`; a loop that has its own moments for an end makes a
`StopRequest`.
"""

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import NoReturn

# Windows has no SIGHUP, which a program gets when its terminal or connection is gone.
TERMINATING = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n))
ENDING = (*TERMINATING, signal.SIGINT)
EXIT_CODES = tuple(128 + number for number in ENDING)  # as a shell shows them
PR_SET_PDEATHSIG = 1  # from prctl.h of Linux

_raised: set[int] = set()  # signals that became an exception here
_requested: set[int] = set()  # and that a `StopRequest` caught


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came.

    Not `SystemExit`, with which code in C that cannot pass an exception on ends the process on the
    spot: nothing is closed, and Python waits forever for child processes that wait for it.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number


def error_of(number: int) -> KeyboardInterrupt:
    """Return what a signal raises."""
    return Terminated(number) if number in TERMINATING else KeyboardInterrupt()


def exit_code(error: KeyboardInterrupt) -> int:
    """Return what a shell shows for a program that ended for it."""
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)


@contextmanager
def catch(
    handler: Callable[[int, FrameType | None], object] | signal.Handlers,
    numbers: Sequence[int] = ENDING,
) -> Iterator[None]:
    """Let a handler have the signals until the block is left, then who had them before.

    What is ignored stays ignored: a shell starts what runs in its background without Ctrl-C, and
    `nohup` a program without SIGHUP. Only a main thread gets signals; elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, previous in before.items():
            if previous is not None:  # else it is not Python's
                # What is ignored is set, too: a C library may have a handler there by now.
                ignored = previous == signal.SIG_IGN
                signal.signal(number, signal.SIG_IGN if ignored else handler)
        yield
    finally:
        for number, previous in before.items():
            if previous is not None:
                signal.signal(number, previous)


def raise_on_signals() -> AbstractContextManager[None]:
    """Let SIGTERM and SIGHUP raise `Terminated`, and SIGINT `KeyboardInterrupt`, in the block."""
    return catch(_raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    _raised.add(number)
    raise error_of(number)


def end_with_parent() -> None:
    """Get SIGTERM when the process that started this one is gone, however that ended. Linux only.

    Paddle's launcher does not heed SIGHUP, and nobody heeds SIGKILL: its processes would work on.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


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
        self._caught = ExitStack()

    def __enter__(self) -> "StopRequest":
        """Begin to catch signals; only a main thread may."""
        self._caught.enter_context(catch(self._catch))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back to whoever had them."""
        self._caught.close()

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
    came: list[int] = []
    try:
        with catch(lambda number, frame: came.append(number)):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


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
