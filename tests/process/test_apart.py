"""A call in a process apart ends, whatever it does, and costs one error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.process import apart
from paddlenlp_ext.process.apart import LostError, call_apart


def double(values: np.ndarray) -> tuple[np.ndarray, int]:
    print("what a library prints is no answer")
    return values * 2, os.getpid()


def refuse(name: str) -> NoReturn:
    raise DataError(f"{name}: is not for me")


def crash(number: int) -> None:
    os.kill(os.getpid(), number)


def loop() -> NoReturn:
    while True:
        pass


def pid() -> int:
    return os.getpid()


def take(size: int) -> int:
    return len(bytearray(size))


def test_results_and_errors_come_back():
    values = np.arange(500_000)
    for _ in range(3):
        doubled, process = call_apart(double, values)
        np.testing.assert_array_equal(doubled, values * 2)
        assert process not in (os.getpid(), None)
        assert call_apart(pid) == process
        with pytest.raises(DataError, match="this: is not for me"):
            call_apart(refuse, "this")


def test_what_does_not_end_is_ended():
    with pytest.raises(LostError, match="does not come to an end within 2 s"):
        call_apart(loop)
    assert call_apart(pid) > 0


def test_too_much_memory_is_an_error():
    with pytest.raises(MemoryError):
        call_apart(take, apart.MEMORY)


def test_a_crash_is_named():
    with pytest.raises(LostError, match="ended with SIGSEGV"):
        call_apart(crash, signal.SIGSEGV)
    assert call_apart(pid) > 0


def test_a_process_that_was_killed_from_outside_is_replaced():
    before = call_apart(pid)
    os.kill(before, signal.SIGKILL)
    assert call_apart(pid) != before


def test_signals_to_all_of_a_group_do_not_end_it():
    before = call_apart(pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(before, number)
    assert call_apart(pid) == before


def test_whoever_waits_is_interrupted():
    class Interrupted(BaseException):
        pass

    def interrupt(number: int, frame: object) -> NoReturn:
        raise Interrupted

    before = call_apart(pid)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        began = time.process_time()
        with pytest.raises(Interrupted):
            call_apart(loop)
        assert time.process_time() - began < 1
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert call_apart(pid) != before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork, where there are threads
def test_a_forked_process_has_its_own():
    ours = call_apart(pid)
    if not (child := os.fork()):
        os._exit(call_apart(pid) == ours)
    assert os.waitpid(child, 0)[1] == 0
    assert call_apart(pid) == ours


PROGRAM = """
import os, signal
from paddlenlp_ext.process.apart import call_apart
from tests.process.test_apart import pid
print(call_apart(pid), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_began_it(number):
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as begun:
        assert begun.stdout is not None
        process = int(begun.stdout.readline())
        begun.send_signal(number)
        begun.wait()
    for _ in range(200):
        if not Path(f"/proc/{process}").exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail("it is still there")
