"""What is to be known of Paddle's launcher by the processes that it starts.

`python -m paddle.distributed.launch` writes the whole environment, tokens included, into its log
folder, readable by everyone; and when a process is lost it says so in as many files as there are
processes. `begin` makes the secrets illegible, `report_failure` writes one file, `FAILED.json`,
about what happened first. Without the launcher both do nothing. Paddle is not imported here.
"""

import json
import os
import re
import socket
import sys
import traceback
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

FAILED = "FAILED.json"
DUMPS = ("backup_env.*.json", "envlog.*", "default.*.log")  # what holds the environment
# Parts of the names of variables whose values nobody else may know.
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|_KEY$|^KEY$|_PAT$|AUTH|PROXY", re.IGNORECASE)
SHORTEST = 6  # letters; a shorter value is no secret, and would be found everywhere


def begin() -> None:
    """Make secrets in the launcher's files illegible; remove the report of an earlier launch."""
    if (folder := _log_folder()) is None:
        return
    _redact(folder)
    with suppress(OSError, ValueError, KeyError):  # mostly because there is no report
        report = json.loads((folder / FAILED).read_text(encoding="utf-8"))
        if report["launch"] != os.getppid():
            (folder / FAILED).unlink()


def report_failure(error: BaseException) -> None:
    """Write `FAILED.json`, unless another process was first: it knows the cause better.

    When another process is gone, this one has failed because of it, and the report says so.

    Args:
        error: What ends this process.
    """
    if (folder := _log_folder()) is None:
        return
    rank, reason = int(os.environ["PADDLE_TRAINER_ID"]), f"{type(error).__name__}: {error}"
    lost = _lost_rank()
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


def _lost_rank() -> int | None:
    """The first process of this launch and machine that is gone, by its rank; None if none is.

    Told by /proc: the launcher's children, of which those that ended have no environment any more.
    """
    try:
        local, count = (int(os.environ[f"PADDLE_LOCAL_{name}"]) for name in ("RANK", "SIZE"))
        launcher = os.getppid()
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        living = {_rank_of(child) for child in children}
    except (OSError, KeyError, ValueError):
        return None
    first = int(os.environ["PADDLE_TRAINER_ID"]) - local
    return next((rank for rank in range(first, first + count) if rank not in living), None)


def _rank_of(process: str) -> int | None:
    with suppress(OSError):
        for variable in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            if variable.startswith(b"PADDLE_TRAINER_ID="):
                return int(variable.partition(b"=")[2])
    return None
