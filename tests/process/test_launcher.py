"""The launcher's files hold no secrets once a process has started; one file says what failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paddlenlp_ext.process import launcher

TOKEN = 'hf_MARKER"é\\'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    variables = {"LOG_DIR": str(tmp_path), "TRAINER_ID": "5", "LOCAL_RANK": "1", "LOCAL_SIZE": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(f"PADDLE_{name}", value)
    return tmp_path


def report(folder: Path) -> dict[str, object]:
    return json.loads((folder / launcher.FAILED).read_text())


def test_secrets_are_overwritten_in_place_wherever_they_stand(folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TOKEN[:9])  # a part of the other
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    environment = {"HF_TOKEN": TOKEN, "HOME": "/root", "OMP_NUM_THREADS": "false"}
    texts = {
        "backup_env.0.json": json.dumps(environment),
        "envlog.1": str(environment),
        "default.abc.log": f"HF_TOKEN {TOKEN}",
        "workerlog.0": TOKEN,  # a script's own output is its own affair
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    with (folder / "default.abc.log").open("a") as still_open:
        launcher.begin()
        still_open.write(" and more")
    for name in ("backup_env.0.json", "envlog.1", "default.abc.log"):
        path = folder / name
        assert "MARKER" not in path.read_text(encoding="utf-8")
        assert path.stat().st_mode & 0o777 == 0o600
    found = json.loads((folder / "backup_env.0.json").read_text())
    assert (found["HOME"], found["OMP_NUM_THREADS"]) == ("/root", "false")
    assert (folder / "default.abc.log").read_text().endswith("* and more")
    assert (folder / "workerlog.0").read_text(encoding="utf-8") == TOKEN


def test_the_first_report_stays_and_that_of_an_earlier_launch_goes(folder):
    launcher.report_failure(ValueError("first"))
    launcher.report_failure(ValueError("second"))
    found = report(folder)
    assert found["reported_by"] == {"rank": 5, "process": os.getpid()}
    assert "ValueError: first" in found["traceback"][-1]
    launcher.begin()
    assert report(folder) == found
    (folder / launcher.FAILED).write_text(json.dumps(found | {"launch": os.getppid() + 1}))
    launcher.begin()
    assert not (folder / launcher.FAILED).exists()


def test_without_the_launcher_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PADDLE_LOG_DIR", str(tmp_path))
    launcher.begin()
    launcher.report_failure(ValueError())
    assert os.listdir(tmp_path) == []


PARENT = """
import os, subprocess, sys
ranks = [dict(os.environ, PADDLE_TRAINER_ID=str(4 + n), PADDLE_LOCAL_RANK=str(n)) for n in (0, 1)]
waiting = "import sys; sys.stdin.read()" + sys.argv[2]
second = subprocess.Popen([sys.executable, "-c", waiting], env=ranks[1], stdin=subprocess.PIPE)
subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=ranks[0]).wait()
second.communicate()
sys.exit(second.returncode)
"""
FAIL = """
from paddlenlp_ext.process import launcher
launcher.report_failure(RuntimeError("reset by peer"))
"""
JOIN = """
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import launcher
def main():
    with launcher.joining():
        raise AssertionError("both were there")
program.run(main)
"""
TOLD = """
import os
from paddlenlp_ext.cli import program
program.run(lambda: os.kill(os.getpid(), 15))
"""
MISS = """
import os
from paddlenlp_ext.cli import program
from paddlenlp_ext.process.signals import StopRequest
def main():
    {}
    raise RuntimeError("reset by peer")
program.run(main)
"""
linux_only = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")


def launch(first: str, second: str) -> int:
    """Start two processes, as a launcher does; the second acts when the first has ended."""
    return subprocess.run([sys.executable, "-c", PARENT, first, second], check=False).returncode


@linux_only
def test_a_process_that_is_gone_is_named_by_one_that_misses_it(folder):
    assert launch("import os; os._exit(9)", FAIL) == 0
    found = report(folder)
    assert (found["rank"], found["reported_by"]["rank"]) == (4, 5)
    assert "workerlog.4" in found["reason"]
    assert "reset by peer" in found["traceback"][-1]


@linux_only
def test_a_process_that_is_gone_before_all_have_met_is_named(folder):
    assert launch("import os; os.kill(os.getpid(), 9)", JOIN) == 2
    found = report(folder)
    assert (found["rank"], found["reported_by"]["rank"]) == (4, 5)
    assert "process 4 has ended before all processes" in found["traceback"][-1]


@linux_only
def test_who_is_told_to_end_because_another_is_gone_says_so(folder):
    assert launch("import os; os._exit(7)", TOLD) == 143
    assert report(folder)["rank"] == 4


@linux_only
def test_who_is_told_to_end_is_not_missed(folder):
    assert launch(TOLD, TOLD) == 143
    assert not (folder / launcher.FAILED).exists()
    (left,) = folder.glob(".launch-*")
    launcher.begin()  # of another launch
    assert not left.exists()


@linux_only
def test_who_fails_after_it_was_told_to_end_has_not_failed(folder):
    assert launch(TOLD, MISS.format("with StopRequest(): os.kill(os.getpid(), 15)")) == 1
    assert not (folder / launcher.FAILED).exists()
    assert launch(TOLD, MISS.format("pass")) == 1
    assert report(folder)["rank"] == 5
