"""Signals: what is ignored stays so, SIGHUP is as SIGTERM, and nobody is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# What a script's `main` does while it gets a signal.
MOMENTS = {
    "in main": "os.kill(os.getpid(), number)",
    "in a loop": "with signals.StopRequest() as stop:\n        os.kill(os.getpid(), number)\n"
    "        if any(stop.flags): raise signals.error_of(stop.signal_of(stop.flags))",
    "in a library": "with signals.defer_signals():\n"
    "        signal.signal(number, lambda *_: os._exit(99))\n"  # as C code puts one in place
    "    os.kill(os.getpid(), number)",
    "while processes join": "with launcher.joining():\n        os.kill(os.getpid(), number)",
    "as a parent": """
    class Child:
        exitcode, left = None, 3
        def is_alive(self):
            return self.left > 0
        def join(self, seconds):
            self.left -= 1
            if self.left == 1: os.kill(os.getpid(), number)
    spawn._send = lambda children, number: None
    children = type("Context", (), {"processes": [Child()]})
    if code := spawn._run(lambda: children): sys.exit(code)""",
}
PROGRAM = """
import os, signal, sys
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import launcher, signals, spawn
number = int(sys.argv[1])
def main():
    MOMENT
    print("went on")
program.run(main)
"""


def started(program: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ignoring(*numbers: int) -> Callable[[], None]:
    return lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers] and None


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", NUMBERS)
def test_what_the_parent_ignored_stays_ignored(number, moment):
    program = PROGRAM.replace("MOMENT", MOMENTS[moment])
    process = started(program, int(number), preexec_fn=ignoring(number))
    assert process.communicate(timeout=60) == ("went on\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("moment", [name for name in MOMENTS if name != "in a library"])
def test_a_hangup_ends_a_program_in_order(moment):
    process = started(PROGRAM.replace("MOMENT", MOMENTS[moment]), int(signal.SIGHUP))
    output, errors = process.communicate(timeout=60)
    if moment == "while processes join":  # nothing that Python does would end Paddle's call
        assert process.returncode == -signal.SIGHUP
    else:
        assert process.returncode == 128 + signal.SIGHUP
    assert (output, errors) == ("", "")


def test_a_hangup_saves_as_sigterm_does(tmp_path):
    from paddlenlp_ext.process.signals import Terminated
    from paddlenlp_ext.training.events import StepDone
    from tests.training.tiny_run import parse, train

    def send(event: Any, model: Any) -> None:
        if event.step == 4 and isinstance(event, StepDone):
            os.kill(os.getpid(), signal.SIGHUP)

    args = ["--steps", "6", "--save_every", "100", "--output_dir", str(tmp_path)]
    with pytest.raises(Terminated) as ended:
        train(parse(args), send)
    assert ended.value.number == signal.SIGHUP
    assert [path.name for path in tmp_path.glob("model*")] == ["model_4"]


HANDLERS = """
import os, signal, sys
from contextlib import suppress
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import launcher, signals, spawn
mine = lambda number, frame: None
before = {15: mine, 1: signal.SIG_IGN, 2: signal.default_int_handler}
for number, handler in before.items():
    signal.signal(number, handler)
def fails():
    raise OSError("no room")
def joins():
    with launcher.joining():
        raise LookupError
def ends():
    os.kill(os.getpid(), 2)
for act in (lambda: program.run(lambda: None), lambda: program.run(ends),
            lambda: program.run(fails), lambda: spawn._run(fails), joins):
    try:
        act()
    except (Exception, SystemExit):
        pass
    after = {number: signal.getsignal(number) for number in before}
    assert after == before, (after, act)
"""


def test_handlers_are_given_back_as_they_were():
    process = started(HANDLERS)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


# As Paddle's launcher: it starts two processes, each in a session of its own, and waits.
LAUNCHER = """
import os, subprocess, sys
children = [
    subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True, env=os.environ | {
        "PADDLE_LOG_DIR": sys.argv[2], "PADDLE_TRAINER_ID": str(rank)})
    for rank in (0, 1)
]
for child in children:
    child.wait()
"""
WORKER = """
import os, time
from pathlib import Path
from paddlenlp_ext.cli import program
from paddlenlp_ext.process.signals import StopRequest
place = Path(os.environ["PADDLE_LOG_DIR"]) / os.environ["PADDLE_TRAINER_ID"]
def main():
    with StopRequest() as stop:
        place.write_text(str(os.getpid()))
        while not any(stop.flags):
            time.sleep(0.05)
        place.with_suffix(".saved").touch()
program.run(main)
"""


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells who has lost its parent")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_processes_save_and_end_when_their_launcher_is_gone(tmp_path, number):
    launcher, pids = started(LAUNCHER, WORKER, tmp_path), []
    places = [tmp_path / "0", tmp_path / "1"]
    try:
        assert until(lambda: all(place.exists() and place.read_text() for place in places))
        pids = [int(place.read_text()) for place in places]
        launcher.send_signal(number)
        assert until(lambda: not any(map(is_running, pids)))
        assert all(place.with_suffix(".saved").exists() for place in places)
        assert not (tmp_path / "FAILED.json").exists()  # nobody has failed
    finally:
        launcher.kill()
        launcher.communicate()
        for pid in filter(is_running, pids):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "to_all", "ignored"),
    [
        (signal.SIGHUP, False, ()),
        (signal.SIGHUP, True, ()),  # as of a terminal that is closed
        (signal.SIGHUP, False, (signal.SIGINT,)),
        (signal.SIGINT, False, (signal.SIGTERM,)),
    ],
)
def test_processes_of_one_run_save_and_end_with_it(tmp_path, number, to_all, ignored):
    program = """
import multiprocessing, os, sys, time
from pathlib import Path
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import spawn
from paddlenlp_ext.process.signals import StopRequest
def work(place):
    def main():
        with StopRequest() as stop:
            place.write_text(str(os.getpid()))
            while not any(stop.flags):
                time.sleep(0.05)
            place.with_suffix(".saved").touch()
    program.run(main)
def begin():
    fork, folder = multiprocessing.get_context("fork"), Path(sys.argv[1])
    processes = [fork.Process(target=work, args=(folder / str(rank),)) for rank in (0, 1)]
    for process in processes:
        process.start()
    return type("Context", (), {"processes": processes})
program.run(lambda: sys.exit(spawn._run(begin)))
"""
    run = started(program, tmp_path, start_new_session=True, preexec_fn=ignoring(*ignored))
    places = [tmp_path / "0", tmp_path / "1"]
    try:
        assert until(lambda: all(place.exists() and place.read_text() for place in places))
        (os.killpg if to_all else os.kill)(run.pid, number)
        _, errors = run.communicate(timeout=30)
        assert run.returncode == 128 + number, errors
        assert all(place.with_suffix(".saved").exists() for place in places)
        assert not any(is_running(int(place.read_text())) for place in places)
    finally:
        run.kill()
        run.communicate()
        for place in filter(Path.exists, places):
            if is_running(int(place.read_text())):
                os.kill(int(place.read_text()), signal.SIGKILL)
