"""Keep SIGTERM and Ctrl-C out of code that cannot bear an exception at any moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def held() -> Iterator[None]:
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
def blocked() -> Iterator[None]:
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
