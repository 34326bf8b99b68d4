"""oneDNN is used where it is there and computes what it should."""

from __future__ import annotations

import ctypes.util
import sys

import pytest

from paddlenlp_ext.nn.cpu import onednn


@pytest.fixture(autouse=True)
def load_anew():
    onednn.gelu.cache_clear()
    yield
    onednn.gelu.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="other packages of Paddle bring none")
def test_it_is_found_beside_paddle():
    assert onednn.gelu().is_right()


def test_none_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(onednn, "LIBRARY", tmp_path / "libdnnl.so.3")
    assert onednn.gelu() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a library of the system")
def test_none_where_it_is_another_library(monkeypatch):
    monkeypatch.setattr(onednn, "LIBRARY", ctypes.util.find_library("m"))
    assert onednn.gelu() is None


@pytest.mark.parametrize(("name", "value"), [("MAJOR", 4), ("GELU_ERF", 0x20), ("GELU_ERF", 999)])
def test_none_where_its_numbers_mean_something_else(name, value, monkeypatch):
    monkeypatch.setattr(onednn, name, value)
    assert onednn.gelu() is None
