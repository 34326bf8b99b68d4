"""Start processes for one run, pass signals on to them, and end as they end.

Paddle is imported when a function is called, not with this module.
"""

import errno
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

from paddlenlp_ext.errors import DeviceError, UserError
from paddlenlp_ext.process import devices, runtime
from paddlenlp_ext.process.signals import ENDING, EXIT_CODES, catch, end_with_parent

ENDED = (0, *EXIT_CODES)  # exit codes of what ended on request
GRACE = 30  # seconds that processes have to end after another failed, as under Paddle's launcher


def spawn(main: Callable[..., object], processes: int, *args: object, device: str = "gpu") -> None:
    """Run a function in several processes, one a device, and end as they ended.

    A signal to this process goes on to all of them. When one fails, the others, which would wait
    for it, are terminated, and the run ends with its exit code.

    Args:
        main: A function at the top level of a module; it calls `training.distributed.start`.
        processes: How many.
        args: What `main` is called with.
        device: What each process will use; on a CPU they divide its cores.

    Raises:
        DeviceError: There are fewer devices.
        UserError: The system has no room for more processes, or not for what they share.
    """
    from paddle import distributed

    target = devices.named(device)
    kind = target.kind
    devices.check_device(kind)
    if not target.is_host and (found := devices.count(kind)) < processes:
        raise DeviceError(
            f"{processes} processes need {processes} {kind.upper()}s, and {found} are visible"
        )
    runtime.require_open_files(runtime.OPEN_FILES_OF_SEVERAL)
    runtime.share_threads(processes)
    begin = partial(
        distributed.spawn,
        *(_child, (main, args)),
        nprocs=processes,
        join=False,
        backend=target.backend,
    )
    if code := _run(begin):
        sys.exit(code)


def _child(main: Callable[..., object], args: tuple[object, ...]) -> None:
    end_with_parent()
    if (parent := multiprocessing.parent_process()) and parent.pid != os.getppid():
        sys.exit(128 + signal.SIGTERM)  # it was gone before that was asked for
    runtime.tune()  # what malloc keeps does not come with the environment
    try:
        main(*args)
    except Exception:  # Paddle would put it into a queue that nobody reads
        traceback.print_exc()
        sys.exit(1)


def _run(begin: Callable[[], Any]) -> int:
    """Start processes, wait for them and pass signals on; return the exit code of the run."""
    received = 0
    children: Sequence[Any] = ()

    def end(number: int, frame: FrameType | None = None) -> None:
        nonlocal received
        received = number
        _end(children)

    failed = 0
    with catch(end):
        try:
            context = begin()  # holds what the processes need
        except (OSError, ImportError) as error:
            for child in multiprocessing.active_children():  # those that have begun
                child.kill()
                child.join()
            raise UserError(_why_not(error)) from error
        children = context.processes
        if received:  # before there was anyone to pass it on to
            _end(children)
        deadline = float("inf")
        while any(child.is_alive() for child in children):
            for child in children:
                child.join(0.05)
                if child.exitcode and not failed:
                    failed = child.exitcode
                    if failed < 0 and not received:  # it could not say so itself
                        name = signal.Signals(-failed).name
                        print(f"error: a process of this run was ended by {name}", file=sys.stderr)
                    deadline = time.monotonic() + GRACE
                    _end(children)
            if time.monotonic() > deadline:
                _send(children, signal.SIGKILL)
    failed = failed or next((child.exitcode for child in children if child.exitcode), 0)
    code = failed if failed >= 0 else 128 - failed  # negative: ended by a signal
    return 128 + received if received and code in ENDED else code


def _why_not(error: OSError | ImportError) -> str:
    """Say why processes cannot be started, and what helps."""
    code = error.errno if isinstance(error, OSError) else None
    problem = f"the processes of this run cannot be started: {error}"
    if code in (errno.EMFILE, errno.ENFILE):
        return f"{problem}; allow more open files (ulimit -n)"
    if code in (errno.EAGAIN, errno.ENOMEM):
        return f"{problem}; allow more processes (ulimit -u) or memory, or start fewer"
    return (
        f"{problem}; make /dev/shm a folder that can be written to, or start them with Paddle's "
        "launcher (python -m paddle.distributed.launch)"
    )


def _end(children: Sequence[Any]) -> None:
    """Ask processes to end, by a signal that they do not ignore as this one does.

    Ctrl-C comes last: of a terminal's they got their own, and two end a process at once.
    """
    heeded = (number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN)
    _send(children, next(heeded, signal.SIGTERM))


def _send(children: Sequence[Any], number: int) -> None:
    for child in children:
        if child.is_alive():
            os.kill(child.pid, number)
