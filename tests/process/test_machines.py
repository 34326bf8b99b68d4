"""Machines that are lost are named on the others; processes stand in for them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.process import launcher, machines
from tests.scripts.test_bert_run_glue import ROOT

# What a process of a machine does: it joins, and then waits as one does in a collective.
MEMBER = """
import sys, time
from paddlenlp_ext.cli import program
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import launcher, machines
machines.PATIENCE = 2.0
machines.SILENCE = 1.0
machines.BEAT = 0.2
def main():
    {before}
    with launcher.joining():
        print("met", flush=True)
    {after}
program.run(main)
"""
WAIT = "time.sleep(60)"
MISS = "sys.stdin.readline(); raise RuntimeError('connection reset')"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there is no launcher")
pytestmark = POSIX


class Machines:
    """Processes of a launch, each the only one of its machine."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        with socket.socket() as free:
            free.bind(("", 0))
            self.port = free.getsockname()[1]
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, rank: int, before: str = "pass", after: str = WAIT) -> subprocess.Popen[str]:
        logs = self.folder / f"log-{rank}"
        logs.mkdir()
        variables = {
            "LOG_DIR": logs, "TRAINER_ID": rank, "LOCAL_RANK": 0, "LOCAL_SIZE": 1,
            "NNODES": self.count, "TRAINER_ENDPOINTS": f"127.0.0.1:{self.port},127.0.0.1:1",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", MEMBER.format(before=before, after=after)],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                **{f"PADDLE_{name}": str(value) for name, value in variables.items()},
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def report(self, rank: int) -> dict[str, Any]:
        return json.loads((self.folder / f"log-{rank}" / launcher.FAILED).read_text())


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Any]:
    made: list[Machines] = []

    def make(count: int) -> Machines:
        made.append(Machines(tmp_path, count))
        return made[-1]

    yield make
    for process in made[0].processes:
        process.kill()
        process.communicate()


def met(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "met\n", process.communicate()


@pytest.mark.parametrize("lost", [0, 2])
def test_a_machine_that_is_killed_is_named_and_ends_who_waits_for_it(launch: Any, lost: int):
    launched = launch(3)
    members = [launched.start(rank) for rank in range(3)]
    met(*members)
    began = time.monotonic()
    members[lost].kill()
    for rank in {0, 1, 2} - {lost}:
        assert members[rank].wait(20) == 1
        found = launched.report(rank)
        assert (found["rank"], found["reported_by"]["rank"]) == (lost, rank)
        assert found["lost"] == {"host": socket.gethostname(), "ranks": [lost]}
        assert "ended without a word" in found["reason"]
        assert f"error: process {lost} on " in members[rank].communicate()[1]
    assert 1.5 < time.monotonic() - began < 15


def test_who_misses_a_machine_that_is_gone_names_it_at_once(launch: Any):
    launched = launch(2)
    members = [launched.start(0, after=MISS), launched.start(1)]
    met(*members)
    members[1].kill()
    members[0].communicate("\n")
    found = launched.report(0)
    assert (found["rank"], found["reported_by"]["rank"]) == (1, 0)
    assert "connection reset" in found["traceback"][-1]


def test_a_machine_that_is_stopped_is_named_but_ends_nobody_by_itself(launch: Any):
    launched = launch(3)
    members = [launched.start(0), launched.start(1, after=MISS), launched.start(2)]
    met(*members)
    members[2].send_signal(signal.SIGSTOP)
    time.sleep(1.5)  # longer than the silence
    assert members[1].communicate("\n", timeout=20)[0] == ""
    found = launched.report(1)
    assert (found["rank"], found["reported_by"]["rank"]) == (2, 1)
    assert "it hangs, or was stopped" in found["reason"]


@pytest.mark.parametrize("failing", [0, 1])
def test_what_ends_one_before_all_have_met_is_said_by_all(launch: Any, failing: int):
    launched = launch(2)
    good = launched.start(1 - failing)
    bad = launched.start(failing, before="raise UserError('b.csv: there is no such file')")
    assert bad.wait(20) == 2
    assert good.wait(20) == 2
    for rank in (0, 1):
        found = launched.report(rank)
        assert found["rank"] == failing
        assert found["reason"] == "UserError: b.csv: there is no such file"
    said = good.communicate()[1]
    assert f"error: process {failing} on " in said
    assert "has ended before all machines had met: UserError: b.csv" in said


def test_who_ends_in_order_is_not_missed(launch: Any):
    launched = launch(2)
    members = [launched.start(0, after="time.sleep(2.5)"), launched.start(1, after="pass")]
    assert [member.wait(20) for member in members] == [0, 0]
    assert not list(launched.folder.glob("*/FAILED.json"))


def test_nothing_is_believed_of_another_launch(launch: Any):
    launched = launch(2)
    members = [launched.start(0, after="time.sleep(2)")]
    words = {"launch": "0" * 64, "host": "x", "ranks": [1]}
    for line in (words, {"failed": {"reason": "never"}}, [1], "\xff", 7):
        with socket.socket() as link:
            while link.connect_ex(("127.0.0.1", launched.port)):
                time.sleep(0.05)
            link.sendall(json.dumps(line).encode() + b"\n" + b"\xff" * 99 + b"\n")
            link.settimeout(5)
            assert link.recv(1) == b""
    members.append(launched.start(1, after="time.sleep(2)"))
    met(*members)
    assert [member.wait(20) for member in members] == [0, 0]


def test_one_machine_needs_no_watch():
    assert machines.count({"PADDLE_NNODES": "1", "PADDLE_TRAINER_ENDPOINTS": "a:1"}) == 1
    assert machines.count({"PADDLE_NNODES": "2", "PADDLE_TRAINER_ENDPOINTS": "a:1,b:1"}) == 2
    assert machines.count({}) == 1
