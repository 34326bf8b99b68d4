"""What is to be known of Paddle's launcher by the processes that it starts.

`python -m paddle.distributed.launch` writes the whole environment, tokens included, into its log
folder, readable by everyone; and when a process is lost it says so in as many files as there are
processes. `begin` makes the secrets illegible, `report_failure` writes one file, `FAILED.json`,
about what happened first, and `joining` notices who is lost while the processes look for each
other. Without the launcher all three do nothing. Of other machines `machines` tells the first
process of this one, which passes it on. Paddle is not imported here.

Several launches may have one log folder, whether they know it or not. Each has a file in it, into
which its processes write how they are, and that they keep locked as long as they live.
"""

import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import machines
from paddlenlp_ext.process.redaction import hide, hide_in_files
from paddlenlp_ext.process.signals import TERMINATING, catch, end_with_parent

FAILED = "FAILED.json"
STATES = ".launch-{launch}"  # a line for what a process says of itself: its rank and one of these
HERE, JOINED, ENDED = "here", "joined", "ended"
ELSEWHERE = -1  # in place of a rank: what another machine has said of one of its own, as JSON
LOOKS = 0.05  # seconds between two looks for the others
SURE = 1.0  # seconds that one must be gone: the launcher may have yet to start it
NOTICE = 10  # seconds after which a process says for whom it waits
LAUNCHER = os.getppid()  # if there is one; when it is gone, its processes get another parent
PATIENCE = 900  # seconds to wait for them: as long as Paddle's own search goes on
SETTLED = 2.0  # seconds in which who misses a process of another machine hears that it is lost

_locked: dict[Path, int] = {}  # this process's hold on its launch's file, as an open file
_watch: machines.Watch | None = None  # of the other machines, in the first process of this one


class LostProcessError(UserError):
    """Another process of this launch has ended before all had found each other."""


def begin() -> None:
    """Make secrets in the launcher's files illegible; remove what launches before have left."""
    if (folder := _log_folder()) is None:
        return
    hide_in_files(folder)
    with suppress(OSError):  # a folder that cannot be written to: go on without
        _hold(folder)
        _remove_what_is_over(folder)
    ranks = _local_ranks()
    if machines.count(os.environ) > 1 and ranks and int(os.environ["PADDLE_LOCAL_RANK"]) == 0:
        _watch_machines(folder, ranks)


def end_with_launcher() -> None:
    """Get SIGTERM, as the launcher would send it, when that is gone."""
    if _log_folder() is not None:
        end_with_parent()


def end() -> None:
    """Say that this process ends by itself, for others that miss it."""
    global _watch
    if (folder := _log_folder()) is not None:
        if _watch is not None:
            _watch.end(_own_report(folder))
            _watch = None
        with suppress(OSError):
            _say(folder, ENDED)
        if (held := _locked.pop(_states_file(folder), None)) is not None:
            os.close(held)


def report_loss(error: BaseException) -> None:
    """Write `FAILED.json` if another process is lost, and this one had to end for that.

    Args:
        error: What ends this process.
    """
    folder = _log_folder()
    if folder is not None and (_lost_rank(folder) is not None or _lost_elsewhere(folder)):
        report_failure(error)


def report_failure(error: BaseException) -> None:
    """Write `FAILED.json`, unless another process was first: it knows the cause better.

    When another process is gone, this one has failed because of it, and the report says so.

    Args:
        error: What ends this process.
    """
    if (folder := _log_folder()) is None:
        return
    rank, reason = int(os.environ["PADDLE_TRAINER_ID"]), f"{type(error).__name__}: {error}"
    lines = "".join(traceback.format_exception(error)).splitlines(keepends=True)
    elsewhere: dict[str, Any] = {}
    lost = _lost_rank(folder)
    if lost is not None:
        rank = lost
        reason = (
            "ended without a word, as by SIGKILL, SIGSEGV or os._exit; the traceback is that of "
            f"the process that missed it. Look at workerlog.{lost}, and whether memory ran out"
        )
    elif found := _lost_elsewhere(folder, 0 if isinstance(error, UserError) else SETTLED):
        rank, reason = found["rank"], found["reason"]
        lines = found.get("traceback", lines)
        elsewhere = {"lost": {"host": found["host"], "ranks": found["ranks"]}}
    report = {
        "rank": rank,
        "reason": hide(reason),
        **elsewhere,
        "traceback": hide("".join(lines)).splitlines(keepends=True),
        "reported_by": {"rank": int(os.environ["PADDLE_TRAINER_ID"]), "process": os.getpid()},
        "host": socket.gethostname(),
        "launch": _launch(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{FAILED}-") as temporary:
            temporary.write(json.dumps(report, indent=1).encode() + b"\n")
            temporary.flush()
            place = folder / FAILED
            own = place.with_suffix(f".{_launch()}.json")
            # One report a launch, beside that of another launch which is not over.
            if own.exists() or (place.exists() and _launch_of(place) != _launch()):
                place = own
            os.link(temporary.name, place)  # refuses to replace the first report
    except FileExistsError:
        pass
    except OSError as problem:  # what ends the process is the matter, not this
        print(f"{folder / FAILED}: cannot be written: {problem.strerror}", file=sys.stderr)


@contextmanager
def joining() -> Iterator[None]:
    """Bring the processes together; inside, Paddle connects them.

    Paddle's search for the others is one long call that heeds nothing, and that the launcher ends
    without a word when one of them is lost. So all wait here first, until each is ready.

    Raises:
        LostProcessError: One of them has ended meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminated: list[int] = []
    folder = _log_folder()
    # SIGTERM is held back, for the launcher sends it as soon as it knows of the loss, too.
    with catch(lambda number, frame: terminated.append(number), TERMINATING):
        if folder is not None:
            with suppress(OSError):  # a folder that cannot be written to: go on without
                _wait_for_others(folder, terminated)
            if _watch is not None and not terminated:
                _wait_for_machines(_watch, terminated)
    if terminated:
        sys.exit(128 + terminated[0])
    with catch(signal.SIG_DFL, TERMINATING):  # nothing else ends Paddle's call
        yield
    if folder is not None:
        with suppress(OSError):
            _say(folder, JOINED)


def _wait_for_others(folder: Path, terminated: list[int]) -> None:
    """Say that this process is here, and wait until the others are, or this one is to end."""
    _say(folder, HERE)
    began = seen = time.monotonic()
    said = False
    while True:
        lost, missing = _lost_rank(folder), _missing(folder)
        if lost is None and not missing:
            return
        now = time.monotonic()
        seen = seen if lost is not None else now
        if lost is not None and (terminated or now > seen + SURE):
            raise LostProcessError(
                f"process {lost} has ended before all processes had found each other; look at "
                f"{folder / f'workerlog.{lost}'}"
            )
        if terminated or now > began + PATIENCE:
            return
        if now > began + NOTICE and not said:
            said = True
            who = ", ".join(map(str, missing))
            logs = ", ".join(str(folder / f"workerlog.{rank}") for rank in missing)
            print(
                f"process {os.environ['PADDLE_TRAINER_ID']} waits for process {who} of this "
                f"launch, which is not ready yet; look at {logs}",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(LOOKS)


def _watch_machines(folder: Path, ranks: range) -> None:
    """Begin to hear of the other machines, and pass on to this one's processes what there is."""
    global _watch

    def pass_on(report: machines.Report | None) -> None:
        with suppress(OSError):
            os.write(_hold(folder), f"{ELSEWHERE} {json.dumps(report)}\n".encode())

    def end(report: machines.Report) -> None:
        error = LostProcessError(f"{_named(report)} {report['reason']}")
        report_failure(error)
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # the main thread waits for who is lost, and heeds nothing

    pass_on(None)  # what the launcher has started before, and starts again, may have lost one
    try:
        _watch = machines.Watch(ranks, pass_on, end)
    except OSError as error:
        address = os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")[0]
        raise UserError(f"{address}: {error.strerror}; start all launchers again") from None


def _named(report: machines.Report) -> str:
    return f"process {report['rank']} on {report['host']}"


def require_machines() -> None:
    """Refuse to go on where a machine is lost for good.

    Raises:
        LostProcessError: With its name.
    """
    if _watch is not None and (gone := _watch.gone):
        raise LostProcessError(f"{_named(gone)} {gone['reason']}")


def _wait_for_machines(watch: machines.Watch, terminated: list[int]) -> None:
    """Say that the processes of this machine are here, and wait until all others are."""
    began = time.monotonic()
    said = False
    watch.ready()
    while not (watch.all_ready.wait(LOOKS) or terminated or time.monotonic() > began + PATIENCE):
        if gone := watch.gone:
            raise LostProcessError(
                f"{_named(gone)} has ended before all machines had met: {gone['reason']}"
            )
        if time.monotonic() > began + NOTICE and not said:
            said = True
            print(
                f"process {os.environ['PADDLE_TRAINER_ID']} waits for {watch.waits_for}; look at "
                "their logs",
                file=sys.stderr,
                flush=True,
            )


def _lost_elsewhere(folder: Path, seconds: float = 0) -> machines.Report | None:
    """What is known of a machine that is lost, or becomes known in a moment."""
    if machines.count(os.environ) < 2:
        return None
    until = time.monotonic() + seconds
    while True:
        with suppress(ValueError, TypeError):
            if found := json.loads(_states(folder).get(ELSEWHERE, "null")):
                return dict(found)
        if time.monotonic() >= until:
            return None
        time.sleep(LOOKS)


def _own_report(folder: Path) -> machines.Report | None:
    """What the report of this launch says, for other machines."""
    for path in (folder / FAILED, (folder / FAILED).with_suffix(f".{_launch()}.json")):
        if _launch_of(path) == _launch():
            report = json.loads(path.read_text(encoding="utf-8"))
            return {name: report[name] for name in ("rank", "reason", "traceback")}
    return None


def _missing(folder: Path) -> list[int]:
    """The processes of this launch and machine that are not here."""
    states = _states(folder)
    return [rank for rank in _local_ranks() if states.get(rank) != HERE]


@cache
def _launch() -> str:
    """What no other launch is called, not one of another container with the same numbers either.

    The launcher's name for it, its process, and when that began.
    """
    began = ""
    with suppress(OSError):
        began = Path(f"/proc/{LAUNCHER}/stat").read_text().rpartition(")")[2].split()[19]
    name = "".join(filter(str.isalnum, os.environ.get("POD_NAME", "")))
    return f"{name}-{LAUNCHER}-{began}"


def _states_file(folder: Path) -> Path:
    return folder / STATES.format(launch=_launch())


def _hold(folder: Path) -> int:
    """Open the launch's file, and keep it locked together with the other processes."""
    path = _states_file(folder)
    while path not in _locked:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(file), path.stat()):  # not removed before it was locked
                _locked[path] = file
                break
        except FileNotFoundError:
            pass
        except OSError:  # a file system without locks
            _locked[path] = file
            break
        os.close(file)
    return _locked[path]


def _say(folder: Path, state: str) -> None:
    os.write(_hold(folder), f"{os.environ['PADDLE_TRAINER_ID']} {state}\n".encode())


def _states(folder: Path) -> dict[int, str]:
    """What each process of this launch has said last."""
    states = {}
    with suppress(OSError, ValueError):
        for line in _states_file(folder).read_text().splitlines():
            rank, _, state = line.partition(" ")
            states[int(rank)] = state
    return states


def _remove_what_is_over(folder: Path) -> None:
    """Remove what launches have left of which no process lives."""
    for path in folder.glob(STATES.format(launch="*")):
        if path == _states_file(folder):
            continue
        with suppress(OSError):  # it lives, or is not ours
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(file)
    living = {path.name for path in folder.glob(STATES.format(launch="*"))}
    for path in (folder / FAILED, *folder.glob(f"{Path(FAILED).stem}.*.json")):
        launch = _launch_of(path)
        if launch is not None and STATES.format(launch=launch) not in living:
            path.unlink(missing_ok=True)


def _launch_of(report: Path) -> str | None:
    """The launch that a report is of; None where there is no report."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        return str(json.loads(report.read_text(encoding="utf-8"))["launch"])
    return None


def _log_folder() -> Path | None:
    """The launcher's log folder; None where this process was not started by it."""
    folder = os.environ.get("PADDLE_LOG_DIR")
    started = "PADDLE_TRAINER_ID" in os.environ
    if not folder or not started or sys.platform == "win32":
        return None
    return Path(folder) if Path(folder).is_dir() else None


def _lost_rank(folder: Path) -> int | None:
    """The first process of this launch and machine that is lost, by its rank; None if none is.

    Told by /proc: the launcher's children, of which those that ended have no environment any more.
    """
    if os.getppid() != LAUNCHER:
        return None
    try:
        children = Path(f"/proc/{LAUNCHER}/task/{LAUNCHER}/children").read_text().split()
    except OSError:
        return None
    living = {_rank_of(child) for child in children}
    gone = (rank for rank in _local_ranks() if rank not in living)
    if (first := next(gone, None)) is None:
        return None
    states = _states(folder)
    return next((rank for rank in (first, *gone) if states.get(rank) != ENDED), None)


def _local_ranks() -> range:
    """The processes of this launch and machine; none if that is not known."""
    try:
        local, count = (int(os.environ[f"PADDLE_LOCAL_{name}"]) for name in ("RANK", "SIZE"))
        first = int(os.environ["PADDLE_TRAINER_ID"]) - local
    except (KeyError, ValueError):
        return range(0)
    return range(first, first + count)


def _rank_of(process: str) -> int | None:
    with suppress(OSError):
        for variable in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            if variable.startswith(b"PADDLE_TRAINER_ID="):
                return int(variable.partition(b"=")[2])
    return None
