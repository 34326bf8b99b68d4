"""Tensors of every type and awkward shape that a weight file may hold."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]

TYPES = ("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u1", "?")
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
RESERVED = ("__metadata__", "StructuredToParameterName@@")  # by safetensors and by Paddle
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
    lambda name: name not in RESERVED
)
STATES = st.dictionaries(
    NAMES,
    st.sampled_from(TYPES).flatmap(
        lambda kind: hnp.arrays(
            kind, SHAPES, elements={"allow_nan": False} if "f" in kind else None
        )
    ),
    max_size=4,
)


def assert_equal(found: Arrays, expected: Arrays) -> None:
    """Compare names, types, shapes and every element."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Cut float32 down to its upper half."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)
