"""The kernels' products, by vectors of each size that this processor has."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.process import runtime

FOLDER = Path(__file__).parents[3] / "paddlenlp_ext/nn/cpu"
SOURCE = """
#include "product.c"
EXPORTED void product_here(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds
) {{ product{size}(m, n, k, a, row, column, b, b_row, c, c_row, adds); }}
EXPORTED void multiply_here(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds
) {{ multiply{size}(m, n, k, a, row, b, b_row, c, c_row, adds); }}
"""
NEEDS = {4: set[str](), 8: {"avx2", "fma"}, 16: {"avx512f"}}
GAP = 16  # numbers between the rows of a matrix


@pytest.fixture(params=NEEDS)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> ctypes.CDLL:
    """Those of one size."""
    needs = NEEDS[request.param]
    if shutil.which("cc") is None:
        pytest.skip("there is no compiler")
    if not needs <= {*runtime.processor().get("flags", "").split()}:
        pytest.skip(f"this processor has no {' and '.join(sorted(needs))}")
    source, made = tmp_path / "here.c", tmp_path / "here.so"
    source.write_text(SOURCE.format(size=request.param), encoding="utf-8")
    command = ["cc", "-O3", "-shared", "-fPIC", "-fopenmp", f"-I{FOLDER}", str(source)]
    subprocess.run([*command, "-o", str(made), "-lm"], check=True)
    return ctypes.CDLL(str(made))


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_small_products_are_those_of_numpy(library: ctypes.CDLL, turned: bool, adds: bool) -> None:
    """With and without what was there before, of matrices that lie as they are or turned."""
    for m, n, k in ((1, 16, 1), (7, 48, 5), (13, 32, 19), (4, 80, 3)):
        check(library.product_here, m, n, k, turned, adds, steps=(1, m) if turned else (k, 1))


@pytest.mark.parametrize("adds", [False, True])
def test_products_with_weights_are_those_of_numpy(library: ctypes.CDLL, adds: bool) -> None:
    """Of any number of rows, in tiles and copied; of any number of columns, in blocks or not."""
    for m in (*range(1, 14), 25, 49, 61):
        for n, k in ((16, 1), (48, 65), (80, 130)):
            check(library.multiply_here, m, n, k, False, adds, steps=(k,))


def check(
    function: Callable[..., object],
    m: int,
    n: int,
    k: int,
    turned: bool,
    adds: bool,
    steps: tuple[int, ...],
) -> None:
    """Compare a product whose matrices have gaps between their rows, which stay as they are."""
    random = np.random.default_rng(m + n + k)
    shapes = ((m, k), (k, n + GAP), (m, n + GAP))
    a, b, c = (random.normal(size=shape).astype("f4") for shape in shapes)
    lies = np.ascontiguousarray(a.T if turned else a)
    found = c.copy()
    places = [ctypes.c_void_p(one.ctypes.data) for one in (lies, b, found)]
    row = ctypes.c_int64(n + GAP)
    function(
        *map(ctypes.c_int64, (m, n, k)),
        places[0],
        *map(ctypes.c_int64, steps),
        *(places[1], row, places[2], row, ctypes.c_int(adds)),
    )
    expected = a.astype("f8") @ b[:, :n] + (c[:, :n] if adds else 0)
    rounding = 5e-6 * max(1, k / 64)  # of more terms
    np.testing.assert_allclose(found[:, :n], expected, rtol=2e-6, atol=rounding)
    np.testing.assert_array_equal(found[:, n:], c[:, n:])
