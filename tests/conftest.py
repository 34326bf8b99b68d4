"""What every test gets: fixed seeds, and no connection to another machine."""

from __future__ import annotations

import os
import random
import signal
import socket

import numpy as np
import pytest

from paddlenlp_ext.process import runtime

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
runtime.tune()  # as the scripts do: tests of models take less time, and compare what a user gets
# Who starts tests in the background may have had signals ignored; programs under test must not.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
LOCAL = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _same_every_time() -> None:
    random.seed(7)
    np.random.seed(7)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
