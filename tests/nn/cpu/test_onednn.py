"""oneDNN is used where it is there and computes what it should."""

from __future__ import annotations

import ctypes.util
import sys

import numpy as np
import paddle
import pytest

from paddlenlp_ext.nn.cpu import onednn
from paddlenlp_ext.process import runtime

LOADED = (onednn.gelu, onednn.products, onednn.bfloat16_products)
HAS_BFLOAT16 = "avx512bw" in runtime.processor().get("flags", "").split()


@pytest.fixture(autouse=True)
def load_anew(monkeypatch):
    monkeypatch.setattr(runtime, "processor", lambda: {"vendor_id": "AuthenticAMD"})
    for one in LOADED:
        one.cache_clear()
    yield
    for one in LOADED:
        one.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="other packages of Paddle bring none")
def test_it_is_found_beside_paddle():
    assert all(one().is_right() for one in (onednn.gelu, onednn.products))


@pytest.mark.skipif(sys.platform != "linux", reason="other packages of Paddle bring none")
def test_products_of_bfloat16_are_there_where_the_processor_has_them():
    assert (onednn.bfloat16_products() is not None) == HAS_BFLOAT16


def test_none_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(onednn, "LIBRARY", tmp_path / "libdnnl.so.3")
    assert [one() for one in LOADED] == [None] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="needs a library of the system")
def test_none_where_it_is_another_library(monkeypatch):
    monkeypatch.setattr(onednn, "LIBRARY", ctypes.util.find_library("m"))
    assert [one() for one in LOADED] == [None] * 3


@pytest.mark.parametrize(("name", "value"), [("MAJOR", 4), ("GELU_ERF", 0x20), ("GELU_ERF", 999)])
def test_none_where_its_numbers_mean_something_else(name, value, monkeypatch):
    monkeypatch.setattr(onednn, name, value)
    assert onednn.gelu() is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_are_numpys(turned, is_there, dtype, tmp_path, monkeypatch):
    if not is_there:
        monkeypatch.setattr(onednn, "LIBRARY", tmp_path / "libdnnl.so.3")
    random = np.random.default_rng(3)
    a, b = random.normal(size=(5, 7)), random.normal(size=(7, 3))
    given = [
        paddle.to_tensor(values.T.copy() if turn else values, dtype=dtype)
        for values, turn in zip((a, b), turned, strict=True)
    ]
    a, b = (
        part.astype("float32").numpy().T if turn else part.astype("float32").numpy()
        for part, turn in zip(given, turned, strict=True)
    )
    close = {"rtol": 1e-5, "atol": 1e-5}
    options = {"turn_a": turned[0], "turn_b": turned[1]}
    found = onednn.product(*given, **options)
    np.testing.assert_allclose(found.numpy(), a @ b, **close)
    total = onednn.product(*given, **options, add_to=found)
    assert total is found
    np.testing.assert_allclose(total.numpy(), 2 * (a @ b), **close)


def test_products_of_nothing():
    none, some = paddle.zeros([0, 3]), paddle.ones([3, 2])
    assert onednn.product(none, some).shape == [0, 2]
    assert (onednn.product(none, paddle.ones([0, 2]), turn_a=True).numpy() == 0).all()


def test_intels_own_library_multiplies_on_intels_processors(monkeypatch):
    monkeypatch.setattr(runtime, "processor", lambda: {"vendor_id": "GenuineIntel"})
    assert onednn.products() is None
    found = onednn.product(paddle.ones([2, 3]), paddle.ones([3, 2]))
    assert (found.numpy() == 3).all()


@pytest.mark.skipif(sys.platform != "linux", reason="other packages of Paddle bring none")
def test_products_of_many_sizes_do_not_stay(monkeypatch):
    monkeypatch.setattr(onednn, "MOST", 3)
    weight = paddle.arange(6, dtype="float32").reshape([3, 2])
    for rows in (4, 1, 7, 4, 9, 4, 1):
        some = paddle.arange(rows * 3, dtype="float32").reshape([rows, 3])
        found = onednn.product(some, weight).numpy()
        np.testing.assert_array_equal(found, some.numpy() @ weight.numpy())
    kept = onednn.products()._made  # type: ignore[union-attr]  # it is there
    assert [kind.a[0] for kind in kept] == [9, 4, 1]
