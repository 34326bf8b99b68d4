"""Call functions on files of others in a process of its own, which can be ended.

A library in C that reads a damaged file may loop for ever or crash, and no signal is obeyed in the
meantime. In a process of its own it costs one error, and whoever waits for it can be interrupted.
"""

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from paddlenlp_ext.process.signals import block_signals

R = TypeVar("R")

SECONDS = 2.0  # of a processor, that a call may take; waiting for a slow disk is not counted
MEMORY = 4 << 30  # bytes that the process may map
PROGRAM = "import sys; sys.path[:] = {}; from paddlenlp_ext.process.apart import serve; serve()"
# Nothing that a file names is loaded as a plug-in, and no threads are started.
ENVIRONMENT = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}


class LostError(Exception):
    """The process ended in the middle of a call."""


class _Caller:
    """The process that works for this one, begun when it is first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self._end)

    def call(self, function: Callable[..., R], args: tuple[object, ...]) -> R:
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((function, args), process.stdin)
            process.stdin.flush()
            result, error = pickle.load(process.stdout)  # of our own process
        except (EOFError, OSError, pickle.UnpicklingError):
            raise LostError(self._end(wait=5)) from None
        except BaseException:  # a signal: what would come now answers nobody
            self._end()
            raise
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _end(self, wait: float = 0) -> int:
        """End the process, which may be ending by itself; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        return process.wait()


_callers: dict[int, _Caller] = {}  # by the process: one that was forked has its own


def call_apart(function: Callable[..., R], *args: object) -> R:
    """Call a function of the top level of a module in a process of its own.

    The process is kept for further calls; calls of several threads wait for one another.

    Returns:
        What the function returns. What it raises is raised here.

    Raises:
        LostError: The process ended: the call took more than `SECONDS`, or a library crashed.
    """
    caller = _callers.get(os.getpid()) or _callers.setdefault(os.getpid(), _Caller())
    with caller.lock:
        try:
            return caller.call(function, args)
        except LostError as error:
            if error.args[0] != -signal.SIGPROF:  # it may have been killed from outside
                with suppress(LostError):
                    return caller.call(function, args)
            raise LostError(_reason(error.args[0])) from None


def _reason(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"the library does not come to an end within {SECONDS:.0f} s"
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"the library ended with {name}"


def _start() -> subprocess.Popen[bytes]:
    program = PROGRAM.format([str(Path(place).absolute()) for place in sys.path])
    # The process ends with this one, so it has no need of what is sent to all of a group.
    with block_signals():
        return subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | ENVIRONMENT,
        )


def serve() -> None:
    """Be the process: call what comes, until the pipe ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    _limit_memory()
    with suppress(EOFError, BrokenPipeError):
        while True:
            function, args = pickle.load(sys.stdin.buffer)  # of our own process
            _limit_time(SECONDS)
            answer: tuple[Any, Exception | None]
            try:
                answer = (function(*args), None)
            except Exception as error:
                answer = (None, error)
            _limit_time(0)
            pickle.dump(answer, answers, protocol=5)
            answers.flush()


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # not everywhere
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: float) -> None:
    """Let the system end this process after so much work, wherever it is; 0: no longer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
