"""Do runs, several at once, each in a process of its own; what is complete is not done again.

A run ends with this process, however that ends, and continues from its last checkpoint when it is
asked for again. Until an earlier process of a run is gone, no other one begins: it holds the lock
of the run's folder, which the system lets go with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import replace_file, unwritten
from paddlenlp_ext.process.signals import end_with_parent
from paddlenlp_ext.reproduce.runs import LOG, STATE, Run, as_flags

if sys.platform != "win32":
    import fcntl

HELD = ".running"  # the lock of a run's folder
POLL = 0.05  # seconds
PATIENCE = 60.0  # seconds that a process has to save, when all are to end


@dataclass(frozen=True)
class Failure:
    """A run that ended without its numbers.

    Attributes:
        run: Which.
        why: Its exit code, and the last line of its log.
    """

    run: Run
    why: str


@dataclass
class _Going:
    """A run that is being done."""

    run: Run
    process: subprocess.Popen[bytes]
    device: str | None
    began: float


def do(
    runs: Sequence[Run],
    places: Mapping[str, str],
    *,
    jobs: int,
    devices: Sequence[str],
    ended: Callable[[Run, Failure | None, float], object],
) -> list[Failure]:
    """Do the runs that are not complete.

    Args:
        runs: In the order in which they begin.
        places: What `{name}` in an argument stands for.
        jobs: How many at once.
        devices: GPUs, by their numbers, each for one run at a time or, with more jobs than
            devices, in turn; none leaves the choice to the scripts.
        ended: Told of each run that ends, with its seconds.

    Returns:
        Those that failed.

    Raises:
        UserError: A folder has another run, or cannot be written.
    """
    refuse_others(runs, places)
    waiting = deque(run for run in runs if run.measured() is None)
    flags = {run.folder: run.flags(places) for run in waiting}
    free = deque(devices[job % len(devices)] if devices else None for job in range(jobs))
    going: list[_Going] = []
    failures = []
    awaited: set[Path] = set()
    with _all_ended(going):
        while waiting or going:
            for run in [*waiting]:
                if not free:
                    break
                started = _start(run, flags[run.folder], free[0], jobs)
                if isinstance(started, _Going):
                    going.append(started)
                    free.popleft()
                if started is not None:
                    waiting.remove(run)
                elif run.folder not in awaited:
                    awaited.add(run.folder)
                    print(f"waiting for an earlier process of {run.name}", file=sys.stderr)
            for done in [one for one in going if one.process.poll() is not None]:
                going.remove(done)
                free.append(done.device)
                failure = _end(done)
                failures += [failure] if failure else []
                ended(done.run, failure, time.monotonic() - done.began)
            time.sleep(POLL)
    return failures


def refuse_others(runs: Sequence[Run], places: Mapping[str, str] | None) -> None:
    """Refuse folders with runs of other settings, which are neither counted nor continued.

    Args:
        runs: What is asked for.
        places: What `{name}` in an argument stands for, which is the same of a run that is
            continued; None where none will be.

    Raises:
        UserError: There is one, or a place is not given.
    """
    for run in runs:
        kind, wanted = "asked", run.asked
        if places is not None and run.measured() is None:
            kind, wanted = "flags", run.flags(places)
        known = run.state().get(kind, wanted)
        before, now = ({*f" {' '.join(words)}".split(" --")} for words in (known, wanted))
        if before != now:  # in whatever order
            changed = " ".join(f"--{flag}" for flag in sorted(before ^ now))
            raise UserError(
                f"{run.folder}: there is a run of another command (other: {changed}); give another "
                "`output_dir`, or delete that folder"
            )


def _start(
    run: Run, flags: Sequence[str], device: str | None, jobs: int
) -> _Going | Literal["complete"] | None:
    """Begin or continue a run, unless it has become complete.

    None stands for an earlier process of the run that is still there.
    """
    output = as_flags({"output_dir": run.folder} if run.is_of_library else {})
    environment = {**os.environ} | ({} if device is None else {"CUDA_VISIBLE_DEVICES": device})
    if jobs > 1:  # else each would take all processors
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / HELD).open("ab") as lock, (run.folder / LOG).open("ab") as log:
            if not _take(lock.fileno()):
                return None
            if run.measured() is not None:  # which that process has done
                return "complete"
            _keep(run, {**run.state(), "asked": run.asked, "flags": [*flags]})
            process = _process(
                [*run.program, *flags, *output],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                **_bound_to(lock.fileno()),
            )
    except OSError as error:
        raise UserError(unwritten(error, run.folder)) from error
    return _Going(run, process, device, time.monotonic())


def _process(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, **options)
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"{command[0]}: cannot be started: {why}; mend 'command' of the table, or install it"
        ) from error


def _bound_to(lock: int) -> dict[str, Any]:
    """Let a process have a lock as long as it is there, and be no longer there than this one."""
    return {} if sys.platform == "win32" else {"pass_fds": [lock], "preexec_fn": end_with_parent}


def _end(done: _Going) -> Failure | None:
    """Look at what a run has left."""
    code = done.process.returncode
    spent = _spent(done)
    if done.run.measured() is None:
        _keep(done.run, {**done.run.state(), "spent": spent})
        what = f"exit code {code}" if code else f"it {done.run.lack()}"
        return Failure(done.run, f"{what}: {_last_line(done.run.folder / LOG)}")
    _keep(done.run, {**done.run.state(), "seconds": spent})
    return None


def _spent(one: _Going) -> float:
    """Return the seconds that a run has taken so far, in this process and in earlier ones."""
    before: float = one.run.state().get("spent", 0.0)
    return round(before + time.monotonic() - one.began, 1)


@contextmanager
def _all_ended(going: Sequence[_Going]) -> Iterator[None]:
    """End the processes when the block is left by an exception, and wait until they have saved."""
    try:
        yield
    except BaseException:
        for one in going:
            with suppress(OSError):
                one.process.terminate()
        until = time.monotonic() + PATIENCE
        while any(one.process.poll() is None for one in going) and time.monotonic() < until:
            time.sleep(POLL)
        for one in going:
            one.process.kill()  # does nothing to one that has ended
        for one in going:
            with suppress(OSError, UserError):
                _keep(one.run, {**one.run.state(), "spent": _spent(one)})
        raise


def _take(lock: int) -> bool:
    """Lock a file for this process and those that inherit it; False where another has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keep(run: Run, state: Mapping[str, object]) -> None:
    with replace_file(run.folder / STATE) as temporary:
        temporary.write_text(json.dumps(state, ensure_ascii=False) + "\n", encoding="utf-8")


def _last_line(log: Path) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "its log is empty"
    return "it has no log"
