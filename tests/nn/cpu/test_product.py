"""Attention's products of small matrices, by vectors of each size that this processor has."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.process import runtime

FOLDER = Path(__file__).parents[3] / "paddlenlp_ext/nn/cpu"
SOURCE = """
#include "numbers.h"
#define SIZE {size}
#define NAME(word) word##{size}
#define PROCESSORS {processors}
#include "product.h"
EXPORTED {processors} void multiply(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, float *c, int adds
) {{ product{size}(m, n, k, a, row, column, b, n, c, n, adds); }}
"""
NEEDS = {4: "", 8: "avx2,fma", 16: "avx512f"}


@pytest.mark.parametrize("size", NEEDS)
def test_products_are_those_of_numpy(size, tmp_path):
    """With and without what was there before, of matrices that lie as they are or turned."""
    needs = NEEDS[size]
    if shutil.which("cc") is None:
        pytest.skip("there is no compiler")
    if not {*needs.split(",")} - {""} <= {*runtime.processor().get("flags", "").split()}:
        pytest.skip(f"this processor has no {needs}")
    processors = f'__attribute__((target("{needs}")))' if needs else ""
    source, library = tmp_path / "multiply.c", tmp_path / "multiply.so"
    source.write_text(SOURCE.format(size=size, processors=processors), encoding="utf-8")
    command = ["cc", "-O3", "-shared", "-fPIC", f"-I{FOLDER}", str(source), "-o", str(library)]
    subprocess.run([*command, "-lm"], check=True)
    multiply = ctypes.CDLL(str(library)).multiply
    random = np.random.default_rng(size)
    for m, n, k in ((1, 16, 1), (7, 48, 5), (13, 32, 19), (4, 80, 3)):
        a, b, c = (random.normal(size=shape).astype("f4") for shape in ((m, k), (k, n), (m, n)))
        for turned in (False, True):
            lies = np.ascontiguousarray(a.T if turned else a)
            steps = (1, m) if turned else (k, 1)
            for adds in (False, True):
                found = c.copy()
                lengths = [ctypes.c_int64(one) for one in (m, n, k)]
                arrays = [ctypes.c_void_p(one.ctypes.data) for one in (lies, b, found)]
                strides = [ctypes.c_int64(one) for one in steps]
                multiply(*lengths, arrays[0], *strides, *arrays[1:], ctypes.c_int(adds))
                expected = a @ b + (c if adds else 0)
                np.testing.assert_allclose(found, expected, rtol=2e-6, atol=5e-6)
