"""Real processes: what two of them do is what one does, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.process.signals import ENDING
from paddlenlp_ext.training import distributed
from tests.training.tiny_run import parse, train

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "tests" / "training" / "tiny_run.py")
LAUNCH = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2"]


def start(*args: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def results(text: str) -> list[dict[str, Any]]:
    lines = [line.split("RESULT ")[1] for line in text.splitlines() if "RESULT " in line]
    return [json.loads(line) for line in lines]


def is_running(process: str) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie waits for its parent only


def children_of(process: subprocess.Popen[str]) -> list[str]:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def test_two_processes_are_one(tmp_path):
    # Of 33 rows the second update of an epoch has one, so that a process's part is empty.
    rows = ["--rows", "33", "--dev", "23", "--steps", "5", "--evaluate_every", "2"]
    launched = start(*LAUNCH, SCRIPT, *rows, "--batch", "16", cwd=tmp_path)
    one = train(parse([*rows, "--batch", "32"]))
    accumulated = train(parse([*rows, "--batch", "16", "--accumulate", "2"]))
    _, errors = launched.communicate(timeout=100)
    assert launched.returncode == 0, errors
    logs = "".join((tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1))
    two = results(logs)
    assert sorted(result["rank"] for result in two) == [0, 1]
    assert two[0]["digest"] == two[1]["digest"]
    assert one["examples"] == [32, 1, 32, 1, 32]
    for other in (*two, accumulated):
        assert other["losses"] == pytest.approx(one["losses"], abs=1e-5)
        assert other["examples"] == one["examples"]
        for (loss, metrics, count), (loss_of_one, *rest) in zip(
            other["evaluations"], one["evaluations"], strict=True
        ):
            assert loss == pytest.approx(loss_of_one, abs=1e-5)
            assert [metrics, count] == rest


def test_a_loss_that_is_not_finite_stops_all_processes_before_the_update(tmp_path):
    run = ["--steps", "5", "--batch", "4", "--dev", "3"]
    spawned = start(SCRIPT, *run, "--processes", "2", "--poison", "2", cwd=tmp_path)
    _, errors = spawned.communicate(timeout=100)
    assert spawned.returncode == 2
    # Both say the same, if the second is not ended before it comes to that.
    (message,) = {line for line in errors.splitlines() if line.startswith("error: ")}
    assert "step 3: the loss is not finite (rank 1: row " in message


def test_ctrl_c_saves_and_ends_all_processes(tmp_path):
    endless = ["--steps", "100000", "--batch", "4", "--save_every", "100000"]
    run = [*endless, "--evaluate_every", "0", "--output_dir", str(tmp_path / "out")]
    spawned = start(SCRIPT, *run, "--processes", "2", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / ".lock-owner").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    children = children_of(spawned)
    os.killpg(spawned.pid, signal.SIGINT)  # a terminal signals every process of a program
    _, errors = spawned.communicate(timeout=30)
    assert spawned.returncode == 128 + signal.SIGINT, errors
    (saved,) = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    step = json.loads((saved / "manifest.json").read_text())["step"]
    assert saved.name == f"model_{step}"
    assert len(children) >= 2
    deadline = time.monotonic() + 5
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, children))


def test_sigterm_while_processes_are_started_ends_all(tmp_path):
    run = ["--steps", "100000", "--batch", "4", "--evaluate_every", "0"]
    spawned = start(SCRIPT, *run, "--processes", "2", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(children_of(spawned)) < 2 and time.monotonic() < deadline:  # one keeps watch
        time.sleep(0.001)
    children = children_of(spawned)
    spawned.terminate()
    try:
        _, errors = spawned.communicate(timeout=30)
    finally:
        spawned.kill()
        for child in filter(is_running, children):
            os.kill(int(child), signal.SIGKILL)
    assert spawned.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("processes", "kills"), [(1, 4), (2, 3)])
def test_killed_runs_continue_bit_for_bit(tmp_path, processes, kills):
    killer = start(
        "-m", "tests.training.kill_run", str(processes), str(kills), str(tmp_path), cwd=ROOT
    )
    output, errors = killer.communicate(timeout=200)
    assert killer.returncode == 0, errors
    report = json.loads(output.splitlines()[-1])
    assert report["kills"] == kills
    assert len(report["digests"]) == 1
    assert report["losses"] == [1]  # no step had two different ones
    assert report["steps"] == 30


def test_no_signal_comes_between_a_question_to_the_store_and_its_answer(monkeypatch):
    """Paddle's store takes one for the end of the connection."""
    asked: list[int] = []

    class Store:
        def add(self, place: str, number: int) -> int:
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= {*ENDING}
            asked.append(number)
            return len(asked)

    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    monkeypatch.setattr(distributed.core, "create_or_get_global_tcp_store", Store)
    distributed.barrier()
    assert asked == [1, 0, 0]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {*ENDING}
