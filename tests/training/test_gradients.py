"""A gradient does not depend on how rows with unequal numbers of labels are divided."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests.training.gradient_run import MASKS, Gradients, batch, gradient
from tests.training.test_processes import LAUNCH, ROOT, start

ROWS = len(MASKS)
CLOSE = 1e-6  # of the norm: float32 adds up in another order


# A row of them has no masked token, and PaddlePaddle 2 cannot choose no rows of a tensor.
SIZES = [4, 2] if paddle.__version__.startswith("2.") else [4, 2, 1]


def difference(one: Gradients, other: Gradients) -> float:
    """The norm of the difference, in parts of that of the first."""
    assert one.keys() == other.keys()
    apart = sum(float(np.square(one[n] - other[n], dtype=np.float64).sum()) for n in one)
    return (apart / sum(float(np.square(g, dtype=np.float64).sum()) for g in one.values())) ** 0.5


def batches(size: int, count: int) -> Gradients:
    return gradient([batch(k * size, size) for k in range(count)])


@pytest.fixture(scope="module")
def whole() -> Gradients:
    found = batches(ROWS, 1)
    assert len(found) > 40
    return found


@pytest.mark.parametrize("size", SIZES)
def test_accumulated_batches_are_one(whole, size):
    assert difference(whole, batches(size, ROWS // size)) <= CLOSE


@pytest.mark.parametrize("size", SIZES)
def test_a_mean_of_means_is_another_gradient(whole, size):
    """What divides each batch by its own labels is found out by the same comparison."""
    parts = [gradient([batch(first, size)]) for first in range(0, ROWS, size)]
    naive = {name: np.mean([part[name] for part in parts], axis=0) for name in whole}
    assert difference(whole, naive) > 1000 * CLOSE


@pytest.mark.parametrize(("size", "accumulate"), [(4, 1), (1, 4)])
def test_two_processes_are_one(whole, tmp_path, size, accumulate):
    script, file = str(ROOT / "tests/training/gradient_run.py"), tmp_path / "gradient.npz"
    launched = start(*LAUNCH, script, str(size), str(accumulate), str(file), cwd=tmp_path)
    _, errors = launched.communicate(timeout=100)
    assert launched.returncode == 0, errors
    with np.load(file) as found:
        assert difference(whole, dict(found)) <= CLOSE
