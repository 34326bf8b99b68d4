"""Several of Paddle's launchers on this machine, each of which stands for a machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.scripts.test_bert_run_glue import ROOT, SCRIPT


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


def start(
    given: Sequence[str],
    folder: Path,
    *,
    apart: bool = False,
    machines: int = 2,
    processes: int = 1,
    script: Path = SCRIPT,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> list[subprocess.Popen[str]]:
    """Start the launchers; each writes what it says to `said-<number>` of the folder.

    Args:
        given: The script's flags.
        folder: Theirs, with their logs: `log-<number>`.
        apart: Whether each is started in a folder of its own, where relative paths lead.
        machines: How many.
        processes: Of each.
        script: What they start.
        options: Of the launchers, in place of an address on this machine where they meet.
        environment: Theirs, besides this process's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = options or ("--master", f"127.0.0.1:{free_port()}")
    started = []
    for number in range(machines):
        launcher = [
            *(sys.executable, "-m", "paddle.distributed.launch", *options),
            *("--nnodes", str(machines), "--rank", str(number)),
            *("--nproc_per_node", str(processes), "--log_dir", str(folder / f"log-{number}")),
        ]
        place = folder / f"machine-{number}" if apart else folder
        place.mkdir(exist_ok=True)
        with (folder / f"said-{number}").open("a") as said:
            started.append(
                subprocess.Popen(
                    [*launcher, str(script), *given],
                    cwd=place,
                    env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
                    | dict(environment or {}),
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
    return started


def said(folder: Path) -> str:
    """What all launchers have said."""
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("said-*")))
