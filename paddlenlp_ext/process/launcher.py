"""What is to be known of Paddle's launcher by the processes that it starts.

`python -m paddle.distributed.launch` writes the whole environment, tokens included, into its log
folder, readable by everyone; and when a process is lost it says so in as many files as there are
processes. `begin` makes the secrets illegible, `report_failure` writes one file, `FAILED.json`,
about what happened first, and `joining` notices who is lost while the processes look for each
other. Without the launcher all three do nothing. Paddle is not imported here.
"""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from paddlenlp_ext.errors import UserError

FAILED = "FAILED.json"
DUMPS = ("backup_env.*.json", "envlog.*", "default.*.log")  # what holds the environment
# Parts of the names of variables whose values nobody else may know.
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|_KEY$|^KEY$|_PAT$|AUTH|PROXY", re.IGNORECASE)
SHORTEST = 6  # letters; a shorter value is no secret, and would be found everywhere
# Empty files by which a process says that it is ready to join the others, that it ends by itself.
HERE, ENDED = ".here-{launch}-{rank}", ".ended-{launch}-{rank}"
LOOKS = 0.05  # seconds between two looks for the others
SURE = 1.0  # seconds that one must be gone: the launcher may have yet to start it
PATIENCE = 900  # seconds to wait for them: as long as Paddle's own search goes on


class LostProcessError(UserError):
    """Another process of this launch has ended before all had found each other."""


def begin() -> None:
    """Make secrets in the launcher's files illegible; remove the report of an earlier launch."""
    if (folder := _log_folder()) is None:
        return
    _redact(folder)
    with suppress(OSError, ValueError, KeyError):  # mostly because there is no report
        report = json.loads((folder / FAILED).read_text(encoding="utf-8"))
        if report["launch"] != os.getppid():
            (folder / FAILED).unlink()
    for kind in (HERE, ENDED):
        marks = set(folder.glob(kind.format(launch="*", rank="*")))
        for left in marks - set(folder.glob(kind.format(launch=os.getppid(), rank="*"))):
            left.unlink(missing_ok=True)


def end() -> None:
    """Say that this process ends by itself, for others that miss it."""
    if (folder := _log_folder()) is not None:
        with suppress(OSError):
            _mark(folder, ENDED).touch()


def report_loss(error: BaseException) -> None:
    """Write `FAILED.json` if another process is lost, and this one had to end for that.

    Args:
        error: What ends this process.
    """
    if (folder := _log_folder()) is not None and _lost_rank(folder) is not None:
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
    lost = _lost_rank(folder)
    if lost is not None:
        rank = lost
        reason = (
            "ended without a word, as by SIGKILL, SIGSEGV or os._exit; the traceback is that of "
            f"the process that missed it. Look at workerlog.{lost}, and whether memory ran out"
        )
    report = {
        "rank": rank,
        "reason": reason,
        "traceback": traceback.format_exception(error),
        "reported_by": {"rank": int(os.environ["PADDLE_TRAINER_ID"]), "process": os.getpid()},
        "host": socket.gethostname(),
        "launch": os.getppid(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    temporary = folder / f".{FAILED}-{os.getpid()}"
    try:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        os.link(temporary, folder / FAILED)  # refuses to replace the first report
    except FileExistsError:
        pass
    except OSError as problem:  # what ends the process is the matter, not this
        print(f"{folder / FAILED}: cannot be written: {problem.strerror}", file=sys.stderr)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def joining() -> Iterator[None]:
    """Bring the processes of this machine together; inside, Paddle connects them.

    Paddle's search for the others is one long call that heeds nothing, and that the launcher ends
    without a word when one of them is lost. So all wait here first, until each is ready.

    Raises:
        LostProcessError: One of them has ended meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminated: list[int] = []
    # SIGTERM is held back, for the launcher sends it as soon as it knows of the loss, too.
    previous = signal.signal(signal.SIGTERM, lambda number, frame: terminated.append(number))
    if (folder := _log_folder()) is not None:
        with suppress(OSError):  # a folder that cannot be written to: go on without
            _wait_for_others(folder, terminated)
    if terminated:
        sys.exit(128 + signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing else ends Paddle's call
    yield
    signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
    if folder is not None:
        with suppress(OSError):
            _mark(folder, HERE).unlink()


def _wait_for_others(folder: Path, terminated: list[int]) -> None:
    """Say that this process is here, and wait until the others are, or this one is to end."""
    _mark(folder, HERE).touch()
    others = [_mark(folder, HERE, rank) for rank in _local_ranks()]
    began = seen = time.monotonic()
    while (lost := _lost_rank(folder)) is not None or not all(one.exists() for one in others):
        now = time.monotonic()
        seen = seen if lost is not None else now
        if lost is not None and (terminated or now > seen + SURE):
            raise LostProcessError(
                f"process {lost} has ended before all processes had found each other; look at "
                f"{folder / f'workerlog.{lost}'}"
            )
        if terminated or now > began + PATIENCE:
            return
        time.sleep(LOOKS)


def _mark(folder: Path, kind: str, rank: int | None = None) -> Path:
    """The file of a process; this one's without a rank."""
    own = os.environ["PADDLE_TRAINER_ID"]
    return folder / kind.format(launch=os.getppid(), rank=own if rank is None else rank)


def _log_folder() -> Path | None:
    """The launcher's log folder; None where this process was not started by it."""
    folder = os.environ.get("PADDLE_LOG_DIR")
    started = "PADDLE_TRAINER_ID" in os.environ
    return Path(folder) if folder and started and Path(folder).is_dir() else None


def _redact(folder: Path) -> None:
    """Overwrite secrets in place: the launcher has some of the files open."""
    values = {v for name, v in os.environ.items() if SECRET.search(name) and len(v) >= SHORTEST}
    forms = {form.encode() for v in values for form in (v, json.dumps(v)[1:-1], repr(v)[1:-1])}
    # The longest first: a value may be part of another.
    by_length = sorted(forms, key=len, reverse=True)
    for path in (path for pattern in DUMPS for path in folder.glob(pattern)):
        with suppress(OSError), path.open("rb+") as file:
            os.chmod(file.fileno(), 0o600)
            text = file.read()
            for form in by_length:
                text = text.replace(form, b"*" * len(form))
            file.seek(0)
            file.write(text)


def _lost_rank(folder: Path) -> int | None:
    """The first process of this launch and machine that is lost, by its rank; None if none is.

    Told by /proc: the launcher's children, of which those that ended have no environment any more.
    """
    try:
        launcher = os.getppid()
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    except OSError:
        return None
    living = {_rank_of(child) for child in children}
    gone = (rank for rank in _local_ranks() if rank not in living)
    return next((rank for rank in gone if not _mark(folder, ENDED, rank).exists()), None)


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
