"""Signals wait while they are held, and then do what they would have done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from paddlenlp_ext.process.signals import ENDING, defer_signals


class EndedError(Exception):
    """What a handler raises."""


@pytest.fixture
def raised() -> Iterator[list[int]]:
    """Let each signal raise, and list those that did."""
    numbers: list[int] = []

    def end(number, frame) -> None:
        numbers.append(number)
        raise EndedError

    before = {number: signal.signal(number, end) for number in ENDING}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@defer_signals()
def disturbed(number: int, done: list[str], error: Exception | None = None) -> None:
    """Receive a signal, and go on."""
    os.kill(os.getpid(), number)
    done.append("the rest")
    if error:
        raise error


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_waits_for_the_end_of_the_block(number, raised):
    done = []
    with pytest.raises(EndedError):
        disturbed(number, done)
    assert (done, raised) == (["the rest"], [number])
    with pytest.raises(EndedError):  # the handlers are back
        os.kill(os.getpid(), number)


def test_blocks_inside_one_another_wait_for_the_outermost(raised):
    done = []

    @defer_signals()
    def twice() -> None:
        disturbed(signal.SIGTERM, done)
        disturbed(signal.SIGTERM, done)

    with pytest.raises(EndedError):
        twice()
    assert done == ["the rest"] * 2
    assert raised[0] == signal.SIGTERM


def test_an_error_of_the_block_is_the_context_of_what_a_signal_raises(raised):
    with pytest.raises(EndedError) as caught:
        disturbed(signal.SIGINT, [], LookupError("of the block"))
    assert isinstance(caught.value.__context__, LookupError)


def test_an_error_without_a_signal_passes(raised):
    with pytest.raises(LookupError), defer_signals():
        raise LookupError
    assert not raised


def test_a_handler_that_only_takes_note_is_called_once():
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with defer_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not came
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_may_use_it():
    done = []

    def work() -> None:
        with defer_signals():
            done.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [before]
