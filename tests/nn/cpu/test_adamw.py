"""AdamW in one pass, and sums of squares, against numpy in float64."""

from __future__ import annotations

import ctypes

import numpy as np
import paddle
import pytest

from paddlenlp_ext.nn.cpu import compiled

SIZES = (1, 7, 40_003)  # of less than a vector, and of several blocks
RATES, DECAYS, FACTOR, EPSILON = (0.1, 0.02, 0.05), (0.0, 0.3, 0.1), 0.25, 1e-6


def update(kernels: compiled.Kernels, steps: int) -> list[tuple[np.ndarray, ...]]:
    """Weights, means and squares after some updates by the kernel."""
    random = np.random.default_rng(5)
    weights = [paddle.to_tensor(random.normal(size=n).astype("float32")) for n in SIZES]
    means, squares = ([paddle.zeros_like(one) for one in weights] for _ in range(2))
    powers = [[paddle.to_tensor([beta]) for _ in SIZES] for beta in (0.9, 0.99)]
    for _ in range(steps):
        gradients = [paddle.to_tensor(random.normal(size=n).astype("float32")) for n in SIZES]
        columns = (weights, gradients, means, squares, *powers, SIZES, RATES, DECAYS)
        rows = [*map(compiled.Updated, *columns)]
        kernels.update(rows, betas=(0.9, 0.99), epsilon=EPSILON, factor=FACTOR)
    for power, beta in zip(powers, (0.9, 0.99), strict=True):
        assert [one.item() for one in power] == pytest.approx([beta ** (steps + 1)] * len(SIZES))
    return [tuple(one.numpy() for one in row) for row in zip(weights, means, squares, strict=True)]


def test_updates_are_those_of_the_formula(kernels: compiled.Kernels) -> None:
    random = np.random.default_rng(5)
    expected = [[random.normal(size=n).astype("float32").astype("float64")] for n in SIZES]
    for row in expected:
        row += [np.zeros_like(row[0]), np.zeros_like(row[0])]
    for step in range(1, 4):
        for row, rate, decay in zip(expected, RATES, DECAYS, strict=True):
            gradient = FACTOR * random.normal(size=row[0].size).astype("float32").astype("float64")
            row[1] = 0.9 * row[1] + 0.1 * gradient
            row[2] = 0.99 * row[2] + 0.01 * gradient**2
            root = np.sqrt(row[2] / (1 - 0.99**step)) + EPSILON
            row[0] = row[0] - rate * decay * row[0] - rate * row[1] / (1 - 0.9**step) / root
    for found, wanted in zip(update(kernels, 3), expected, strict=True):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_threads_change_no_bit(kernels: compiled.Kernels) -> None:
    threads = ctypes.CDLL("libgomp.so.1")
    numbers = paddle.randn([1_000_003])
    before, found, sums = threads.omp_get_max_threads(), [], set()
    for number in (1, 2, 5):
        threads.omp_set_num_threads(number)
        found.append(update(kernels, 2))
        sums.add(kernels.sum_squares(numbers))
    threads.omp_set_num_threads(before)
    assert len(sums) == 1
    for one in found[1:]:
        for row, first in zip(one, found[0], strict=True):
            assert all(np.array_equal(*pair) for pair in zip(row, first, strict=True))


@pytest.mark.parametrize("size", [0, 1, 5, 16_384, 100_001])
def test_sums_of_squares(kernels: compiled.Kernels, size: int) -> None:
    values = np.random.default_rng(size).normal(size=size).astype("float32")
    expected = float((values.astype("float64") ** 2).sum())
    assert kernels.sum_squares(paddle.to_tensor(values)) == pytest.approx(expected, rel=1e-6)
    if size:
        values[-1] = np.nan
        assert np.isnan(kernels.sum_squares(paddle.to_tensor(values)))
