"""A model may be asked by several threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest

from paddlenlp_ext.nn.cpu import onednn

THREADS = 4


@pytest.mark.parametrize("kind", [onednn.Products, onednn.Bfloat16Products])
def test_products_of_several_threads(kind):
    try:
        products = kind(onednn.LIBRARY)
        if not products.is_right():
            pytest.skip("multiplies none here")
    except (OSError, AttributeError, RuntimeError):
        pytest.skip("is not there")
    numbers = np.random.default_rng(5)
    cases = []
    for rows, inner, columns in [(37, 129, 65), (512, 384, 96), (130, 384, 1536), (3, 5, 7)]:
        a, b = (
            paddle.to_tensor(numbers.integers(-3, 4, shape), "float32").astype(kind.checked)
            for shape in ((rows, inner), (inner, columns))
        )
        exact = a.astype("float64").numpy() @ b.astype("float64").numpy()
        cases.append((a, b, exact))

    def wrong(turn: int) -> int:
        a, b, exact = cases[turn % len(cases)]
        result = paddle.empty(exact.shape, "float32")
        products.multiply(a, b, result, False, False, False)
        return int((result.numpy() != exact).sum())

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(wrong, range(1_000))) == 0


def test_what_a_thread_has_no_other_gets():
    """As many as compute at once, and each serves the next one when it is idle."""
    kernel = onednn.gelu()
    if kernel is None:
        pytest.skip("is not there")
    with kernel._alone() as one:
        with kernel._alone() as other:
            assert one is not other
            states = paddle.rand([1_001]) * 6 - 3
            results = [paddle.empty_like(states) for _ in "ab"]
            for lent, result in zip((one, other), results, strict=True):
                lent.forward(states.size, states.data_ptr(), result.data_ptr())
        with kernel._alone() as again:
            assert again is other
    exact = paddle.nn.functional.gelu(states).numpy()
    for result in results:
        np.testing.assert_allclose(result.numpy(), exact, rtol=1e-5, atol=1e-5)
    assert len({id(lent) for lent in kernel._idle}) == len(kernel._idle) >= 2
