"""Runs of BERT's GLUE script with a tiny model, as processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.injected import SCRIPT
from tests.scripts.test_bert_run_glue import ROOT, arguments, losses, tiny_bert

INJECTED = Path(__file__).with_name("injected.py")
STEPS = 10  # two epochs
LAUNCHER = ("-m", "paddle.distributed.launch", "--nproc_per_node")
COMPARED = ("model_state.pdparams", "optimizer.safetensors")
MARK = "FAULTS_RUN"  # a variable by which the processes of a run are found


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: Of the first process.
        seconds: From the fault, or else from the start, to the end.
        orphans: Processes of the run that were left.
        output: Of the first process, both streams.
    """

    code: int
    seconds: float
    orphans: int
    output: str

    @property
    def error(self) -> str:
        """The line for the user."""
        lines = [line for line in self.output.splitlines() if line.startswith("error: ")]
        return lines[0] if lines else ""


@cache
def encoder(folder: Path) -> Path:
    """The model that all runs begin with; it has dropout, so that random numbers count."""
    made = folder / "encoder"
    made.mkdir()
    return tiny_bert(made, dropout=0.1)


def flags(folder: Path, output: Path, processes: int = 1, **changes: Any) -> list[str]:
    """A run's flags; the same batch is divided among the processes."""
    settings = {"max_steps": STEPS, "num_train_epochs": 2, "save_steps": 3, "device": "cpu"}
    settings |= {"batch_size": 8 // processes, "n_gpu": 1, "warmup_proportion": 0.2}
    return arguments(encoder(folder), output, **(settings | changes))


def run(
    given: Sequence[str],
    folder: Path,
    *,
    processes: int = 1,
    prefix: Sequence[str] = (),
    fault: Mapping[str, Any] | None = None,
    script: Path = SCRIPT,
    meanwhile: Callable[[list[int]], None] | None = None,
    limit: float = 120,
    patience: float = 2,
    **variables: str,
) -> Ended:
    """Run the script, or the one with a fault, to its end.

    Args:
        given: Its flags.
        folder: For the launcher's logs, and where the run is started.
        processes: That the launcher starts; 1 takes no launcher.
        prefix: What stands before the interpreter.
        fault: What `injected` reads: phase, rank, calls, action.
        script: If it is another one.
        meanwhile: Called every now and then with the processes of the run, the first one first.
        limit: Seconds after which it is killed.
        patience: Seconds that its processes may stay when the first one has ended.
        variables: Of the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: name}
    mark = folder / f"fault-{name}"
    if fault is not None:
        environment["FAULT"] = json.dumps({"calls": 1, "rank": 0, **fault, "mark": str(mark)})
    launcher = [*LAUNCHER, str(processes), "--log_dir", str(folder / "log")]
    program = str(script if fault is None else INJECTED)
    command = [*prefix, sys.executable, *(launcher if processes > 1 else []), program, *given]
    began = time.time()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        watched = threading.Thread(target=_watch, args=(process, name, meanwhile), daemon=True)
        watched.start()
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as late:
            process.kill()
            output = (late.output or b"").decode(errors="replace")
        ended = time.time()
        watched.join()
    since = float(mark.read_text()) if mark.exists() else began
    left = [pid for pid in _processes_of(name) if _soon_running(pid, patience)]
    for pid in left:
        os.kill(pid, 9)
    return Ended(process.returncode, ended - since, len(left), output)


def _watch(
    process: subprocess.Popen[str], name: str, meanwhile: Callable[[list[int]], None] | None
) -> None:
    while meanwhile is not None and process.poll() is None:
        others = set(_processes_of(name)) - {process.pid}
        with suppress(OSError):  # it has just ended
            meanwhile([process.pid, *sorted(others)])
        time.sleep(0.2)


def result(output: Path) -> tuple[str, list[float]]:
    """What a run came to: a digest of its last weights and optimizer, and all losses."""
    last = output / f"model_{STEPS}"
    digest = hashlib.sha256(b"".join((last / name).read_bytes() for name in COMPARED))
    return digest.hexdigest(), losses(output)


@cache
def unbroken(folder: Path, processes: int) -> tuple[str, list[float]]:
    """What a run comes to that nothing happens to."""
    place = folder / f"unbroken-{processes}"
    ended = run(flags(folder, place / "out", processes), place, processes=processes)
    assert ended.code == 0, ended.output
    return result(place / "out")


def continued(folder: Path, place: Path, processes: int) -> bool:
    """Whether a run that is continued comes to what the unbroken one does."""
    given = flags(folder, place / "out", processes, resume_from_checkpoint="latest")
    ended = run(given, place, processes=processes)
    return ended.code == 0 and result(place / "out") == unbroken(folder, processes)


def _processes_of(name: str) -> list[int]:
    wanted = f"{MARK}={name}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is another user's
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _soon_running(pid: int, patience: float) -> bool:
    """Whether a process is there still after a moment in which it may end."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return False
        time.sleep(0.05)
    return True
