"""Work done by several processes comes in order, and no process outlives it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.pretraining.workers import in_order


def square(number: int) -> tuple[int, int]:
    """Take longer for small numbers, so that later ones are ready first."""
    time.sleep(0.02 * (7 - number))
    return number * number, os.getpid()


def interrupted(number: int) -> int:
    """Bear what a terminal sends to every process when Ctrl-C is pressed."""
    os.kill(os.getpid(), signal.SIGINT)
    return number


def refuse(number: int) -> int:
    if number == 3:
        raise LookupError(f"no {number}")
    return number


def end(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_the_order_of_the_items():
    done = list(in_order(square, iter(range(7)), 3))
    assert [(item, result) for item, (result, _) in done] == [(n, n * n) for n in range(7)]
    assert len({process for _, (_, process) in done} - {os.getpid()}) == 3
    assert not multiprocessing.active_children()


def test_fewer_items_than_processes():
    assert list(in_order(abs, [-2], 3)) == [(-2, 2)]
    assert list(in_order(abs, [], 2)) == []


def test_ctrl_c_is_left_to_the_first_process():
    assert list(in_order(interrupted, [1, 2], 2)) == [(1, 1), (2, 2)]


def test_an_error_comes_with_its_place():
    with pytest.raises(LookupError, match="no 3") as caught:
        list(in_order(refuse, range(7), 2))
    assert "in refuse" in str(caught.value.__cause__)
    assert not multiprocessing.active_children()


def test_a_lost_process_is_told():
    with pytest.raises(UserError, match=r"a process that made examples was ended.*`processes`"):
        list(in_order(end, range(7), 2))
    assert not multiprocessing.active_children()


def test_closing_ends_the_processes():
    done = in_order(square, range(7), 2)
    next(done)
    assert len(multiprocessing.active_children()) == 2
    done.close()
    assert not multiprocessing.active_children()
