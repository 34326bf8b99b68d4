"""Kill tiny runs with SIGKILL at random moments and resume them; print how they ended.

A program of its own, because it forks: Paddle is imported once, here, and every run is a child that
has computed nothing before.

    python -m tests.training.kill_run PROCESSES KILLS FOLDER
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import StepDone
from tests.training.tiny_run import parse, train

Body = Callable[[int, Path], dict[str, Any]]
RUN = ["--steps", "30", "--dropout", "0.2", "--evaluate_every", "7", "--save_every", "2"]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(body: Body, processes: int, folder: Path, name: str) -> list[int]:
    """Fork the processes of a run; what they print goes to a file beside its output folder."""
    ports = free_ports(processes)
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            os.environ.update(
                PADDLE_TRAINER_ID=str(rank),
                PADDLE_TRAINERS_NUM=str(processes),
                PADDLE_TRAINER_ENDPOINTS=",".join(f"127.0.0.1:{port}" for port in ports),
                PADDLE_CURRENT_ENDPOINT=f"127.0.0.1:{ports[rank]}",
                PADDLE_DISTRI_BACKEND="gloo",
                PADDLE_MASTER=f"127.0.0.1:{ports[0]}",
            )
            log = os.open(
                folder / f"{name}-{rank}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600
            )
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                result = body(processes, folder / name)
                (folder / f"{name}-{rank}.json").write_text(json.dumps(result))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        children.append(child)
    return children


def tiny(processes: int, output_dir: Path) -> dict[str, Any]:
    """Train, or continue."""

    def note(event: object, model: object) -> None:
        if isinstance(event, StepDone):
            os.write(1, f"STEP {event.step} {event.loss!r}\n".encode())

    distributed.start("cpu")
    args = [*RUN, "--batch", str(8 // processes), "--output_dir", str(output_dir)]
    return train(parse([*args, "--resume", "latest"]), note)


def wait(children: list[int]) -> list[int]:
    """Wait for all; when one is lost, kill the others, as a launcher does."""
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        child, status = os.waitpid(-1, 0)
        codes[child] = os.waitstatus_to_exitcode(status)
        if codes[child]:
            for other in set(children) - codes.keys():
                os.kill(other, signal.SIGKILL)
    return [codes[child] for child in children]


def kill(body: Body, processes: int, kills: int, folder: Path, *, runs: int = 0) -> dict[str, Any]:
    """Kill runs until there were enough kills and runs; each is resumed until it has ended.

    Args:
        body: Trains, or continues, in an output folder; prints a line `STEP number loss` of each
            step, and returns what holds a digest of the result as "digest".
        processes: Of each run.
        kills: How many, at least.
        folder: For the output folders and what the processes print and return.
        runs: How many runs must have been killed and have ended, at least.

    Returns:
        Among others `killed_runs`, the runs that were killed once or more and ended, and
        `identical`, those of them whose result is that of the run that was left alone.
    """
    began = time.monotonic()
    assert set(wait(start(body, processes, folder, "whole"))) == {0}
    duration = time.monotonic() - began
    moment = random.Random(processes)
    done = finished = 0
    killed: set[int] = set()  # numbers of runs
    while done < kills or len(killed & {*range(finished)}) < runs:
        children = start(body, processes, folder, f"killed{finished}")
        time.sleep(moment.uniform(0.02, 1.2) * duration)  # some must end
        with suppress(ProcessLookupError):  # it ended first
            os.kill(moment.choice(children), signal.SIGKILL)
        codes = wait(children)
        assert not any(codes) or -signal.SIGKILL in codes, codes
        done += any(codes)
        killed |= {finished} if any(codes) else set()
        finished += not any(codes)
    if any(codes):
        assert set(wait(start(body, processes, folder, f"killed{finished}"))) == {0}
        finished += 1
    losses: dict[str, set[str]] = {}
    for path in folder.glob("*-0.log"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("STEP "):
                _, step, loss = line.split()
                losses.setdefault(step, set()).add(loss)
    digests = {
        path.stem: json.loads(path.read_text())["digest"]
        for path in sorted(folder.glob("*-*.json"))
    }
    same = [digests[f"killed{run}-0"] == digests["whole-0"] for run in sorted(killed)]
    return {
        "kills": done,
        "finished": finished,
        "killed_runs": len(same),
        "identical": sum(same),
        "digests": sorted({*digests.values()}),
        "losses": sorted({len(values) for values in losses.values()}),
        "steps": len(losses),
        "seconds": duration,
    }


if __name__ == "__main__":
    print(json.dumps(kill(tiny, int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
