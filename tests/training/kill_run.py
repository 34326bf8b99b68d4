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
from contextlib import suppress
from pathlib import Path

from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import StepDone
from tests.training.tiny_run import parse, train

RUN = ["--steps", "30", "--dropout", "0.2", "--evaluate_every", "7", "--save_every", "2"]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(processes: int, folder: Path, name: str) -> list[int]:
    """Fork the processes of a run."""
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
            try:
                run(processes, folder / name, folder / f"{name}-{rank}")
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    return children


def run(processes: int, output_dir: Path, notes: Path) -> None:
    """Train, or continue, writing each step's loss and the result beside the output folder."""
    log = os.open(notes.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def note(event: object, model: object) -> None:
        if isinstance(event, StepDone):
            os.write(log, f"STEP {event.step} {event.loss!r}\n".encode())

    distributed.start("cpu")
    args = [*RUN, "--batch", str(8 // processes), "--output_dir", str(output_dir)]
    result = train(parse([*args, "--resume", "latest"]), note)
    notes.with_suffix(".json").write_text(json.dumps(result))


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


def main() -> None:
    processes, kills, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    began = time.monotonic()
    assert set(wait(start(processes, folder, "whole"))) == {0}
    duration = time.monotonic() - began
    moment = random.Random(processes)
    done = finished = 0
    while done < kills:
        children = start(processes, folder, f"killed{finished}")
        time.sleep(moment.uniform(0.02, 0.6) * duration)
        with suppress(ProcessLookupError):  # it ended first
            os.kill(moment.choice(children), signal.SIGKILL)
        codes = wait(children)
        assert not any(codes) or -signal.SIGKILL in codes, codes
        done += any(codes)
        finished += not any(codes)
    if any(codes):
        assert set(wait(start(processes, folder, f"killed{finished}"))) == {0}
        finished += 1
    losses: dict[str, set[str]] = {}
    for path in folder.glob("*-0.log"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("STEP "):
                _, step, loss = line.split()
                losses.setdefault(step, set()).add(loss)
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    report = {
        "kills": done,
        "finished": finished,
        "digests": sorted({result["digest"] for result in results}),
        "losses": sorted({len(values) for values in losses.values()}),
        "steps": len(losses),
        "seconds": duration,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
