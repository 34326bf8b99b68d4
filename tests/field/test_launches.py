"""Several launches in one log folder: nobody waits for another's, or removes what is another's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.process import launcher

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="processes are found by Linux's /proc"
)

# As Paddle's launcher: the first process at once, the second when a file is there.
PARENT = """
import os, subprocess, sys, time
def start(rank):
    variables = {"PADDLE_TRAINER_ID": rank, "PADDLE_LOCAL_RANK": rank, "PADDLE_LOCAL_SIZE": "2"}
    return subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]],
        env=os.environ | variables)
first = start("0")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
sys.exit(any([start("1").wait(), first.wait()]))
"""
JOIN = """
import os, time
from pathlib import Path
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import launcher
launcher.NOTICE = 0.3
launcher.SURE = 20  # the second is only late
def main():
    with launcher.joining():  # inside, Paddle waits for the other
        place = Path(os.environ["PADDLE_LOG_DIR"]) / f"in{launcher._launch()}"
        place.mkdir(exist_ok=True)
        (place / os.environ["PADDLE_TRAINER_ID"]).touch()
        while len(list(place.iterdir())) < 2:
            time.sleep(0.02)
        os.write(1, b"joined\\n")  # at once, or lines of two processes mix
program.run(main)
"""
FAIL = """
import sys, time
from pathlib import Path
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import launcher
def main():
    launcher.report_failure(RuntimeError("of " + sys.argv[2]))
    while not Path(sys.argv[3]).exists():
        time.sleep(0.02)
program.run(main)
"""


@contextmanager
def launch(
    folder: Path, program: str, *args: object, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PADDLE_LOG_DIR": str(folder)}
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", PARENT, program, *map(str, args)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate()


def until(what: Any) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def marks(folder: Path) -> set[Path]:
    return {path for path in folder.iterdir() if path.name.startswith(".")}


# In containers the first processes have equal numbers, whatever the launch.
CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")


@pytest.mark.parametrize("prefix", [(), CONTAINER], ids=["one machine", "containers"])
def test_a_launch_that_comes_meanwhile_does_not_make_the_first_wait(tmp_path, prefix):
    if prefix and subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("this machine makes no containers")
    late, there = tmp_path / "late", tmp_path / "there"
    there.touch()
    log = tmp_path / "log"
    log.mkdir()
    with launch(log, JOIN, late, prefix=prefix) as first:
        until(lambda: marks(log))
        time.sleep(0.5)  # it waits by now
        before = marks(log)
        for _ in range(2):
            with launch(log, JOIN, there, prefix=prefix) as second:
                assert second.communicate(timeout=30)[0] == "joined\n" * 2
        assert before <= marks(log)
        late.touch()
        output, errors = first.communicate(timeout=30)
    assert (output, first.returncode) == ("joined\n" * 2, 0)
    assert "process 0 waits for process 1 of this launch" in errors  # it was late
    assert errors.count("\n") == 1


def test_reports_of_living_launches_stay_and_those_of_others_go(tmp_path):
    log, ends = tmp_path / "log", [tmp_path / "end 1", tmp_path / "end 2"]
    log.mkdir()
    report = log / launcher.FAILED
    with launch(log, FAIL, log, "first", ends[0]) as first:
        until(report.exists)
        assert "of first" in json.loads(report.read_text())["reason"]
        with launch(log, FAIL, log, "second", ends[1]) as second:
            until(lambda: len(list(log.glob("FAILED*.json"))) == 2)
            (other,) = set(log.glob("FAILED*.json")) - {report}
            assert "of second" in json.loads(other.read_text())["reason"]
            assert "of first" in json.loads(report.read_text())["reason"]
            ends[0].touch()
            first.communicate(timeout=30)
            with launch(log, JOIN, log) as third:
                third.communicate(timeout=30)
            assert not report.exists()
            assert other.exists()
            ends[1].touch()
            second.communicate(timeout=30)
    with launch(log, JOIN, log) as last:
        last.communicate(timeout=30)
    assert not list(log.glob("FAILED*"))
    assert len(marks(log)) == 1


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("LOG_DIR", str(tmp_path)), ("TRAINER_ID", "0")):
        monkeypatch.setenv(f"PADDLE_{name}", value)
    return tmp_path


def test_what_the_log_folder_holds_besides_stays_as_it_is(launched):
    names = [f".here-{os.getpid()}-1", f".ended-{os.getpid()}-0", ".launch", "FAILED", "log.json"]
    for name in names:
        (launched / name).write_text("mine")
    (launched / "kept").write_text("mine")
    (launched / ".launch-other").symlink_to("kept")
    launcher.begin()
    assert all((launched / name).read_text() == "mine" for name in [*names, "kept"])
    assert (launched / ".launch-other").is_symlink()


@pytest.mark.parametrize(
    "content", ["", "[]", "null", '{"launch": ', "[" * 5000, "\xff", '{"a": 1}']
)
def test_a_report_that_is_none_is_left_alone_and_hides_none(launched, content):
    (launched / launcher.FAILED).write_text(content, encoding="latin-1")
    launcher.begin()
    launcher.report_failure(ValueError("one"))
    assert (launched / launcher.FAILED).read_text(encoding="latin-1") == content
    (other,) = launched.glob("FAILED.*.json")
    assert json.loads(other.read_text())["reason"] == "ValueError: one"


def test_a_launch_whose_file_holds_anything_else_goes_on(launched, monkeypatch):
    monkeypatch.setenv("PADDLE_LOCAL_RANK", "0")
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "1")
    launcher.begin()
    (own,) = launched.glob(".launch-*")
    own.write_text("0 here\nno line of ours\n")
    launcher.report_loss(ValueError())
    launcher.end()
    shutil.rmtree(launched)
