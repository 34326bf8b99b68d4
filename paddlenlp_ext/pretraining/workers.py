"""Do the same to each item of a stream with several processes; the results come in order.

Each process has a pipe of its own and no lock in common with others, so the end of any of them,
whatever brought it about, is seen at once.
"""

import multiprocessing
import os
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process.signals import block_signals, defer_signals

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    function: Callable[[T], R], items: Iterable[T], processes: int
) -> Generator[tuple[T, R], None, None]:
    """Yield each item with what the function makes of it.

    Args:
        function: Can be sent to a process, as items and results can.
        items: Are read as they are needed: one for each process is held.
        processes: That work besides this one; they are gone when the iterator ends or is closed.

    Raises:
        UserError: A process was ended from outside.
    """
    # A spawned process is the same on every system, and inherits no locks.
    context = multiprocessing.get_context("spawn")
    workers = []
    pipes = []
    waiting: deque[tuple[T, Connection]] = deque()
    try:
        if os.name == "posix":
            resource_tracker.ensure_running()  # which lets signals through, so not while blocked
        # The processes end with this one, so they have no need of what a terminal sends to all.
        with defer_signals(), block_signals():
            for _ in range(processes):
                ours, theirs = context.Pipe()
                pipes.append(ours)
                worker = context.Process(target=_work, args=(function, theirs), daemon=True)
                worker.start()
                workers.append(worker)
                theirs.close()  # so that the pipe ends with the process
        for number, item in enumerate(items):
            pipe = pipes[number % processes]
            full = len(waiting) == processes
            done = [_finished(*waiting.popleft(), workers)] if full else []
            pipe.send(item)  # before what is done is used, so that the process never waits
            waiting.append((item, pipe))
            yield from done
        for item, pipe in waiting:
            yield _finished(item, pipe, workers)
    except (EOFError, ConnectionError):
        raise UserError(
            "a process that made examples was ended, probably for lack of memory; give fewer "
            "`processes`, or a smaller `block_bytes`"
        ) from None
    finally:
        for worker in workers:  # nothing that they still do is wanted
            worker.kill()
            worker.join()
        for pipe in pipes:
            pipe.close()


def _finished(item: T, pipe: Connection, workers: Sequence[BaseProcess]) -> tuple[T, Any]:
    if pipe not in wait([pipe, *(worker.sentinel for worker in workers)]):
        raise EOFError("a process has ended")
    result = pipe.recv()
    if isinstance(result, _Failure):
        raise result.error from RuntimeError(f"in a process that makes examples:\n{result.where}")
    return item, result


class _Failure(NamedTuple):
    error: Exception
    where: str  # the traceback


def _work(function: Callable[[T], R], pipe: Connection) -> None:
    """Be a process: apply the function to what comes, until the pipe ends."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes use all cores already
    with suppress(EOFError, ConnectionError):
        while True:
            item = pipe.recv()
            result: R | _Failure
            try:
                result = function(item)
            except Exception as error:
                result = _Failure(error, traceback.format_exc())
            pipe.send(result)
