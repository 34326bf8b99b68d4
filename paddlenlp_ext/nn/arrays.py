"""Numbers of tensors as NumPy arrays, without copies of what lies in memory already."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from paddlenlp_ext.files.disk import release_pages
from paddlenlp_ext.process import devices

Array = NDArray[Any]

BLOCK_BYTES = 1 << 26  # of an array that are copied at once
VIEWED = (paddle.float32, paddle.float64, paddle.float16, paddle.int64, paddle.int32)


def as_array(tensor: Tensor) -> Array:
    """Return the numbers of a tensor: on a CPU a view of its memory, else a copy.

    `Tensor.numpy` always copies. Of a model with 250,000 words, and of the state of its optimizer,
    the copies would be the largest thing in memory whenever the run is saved.

    Args:
        tensor: Of any type; one of bfloat16, which NumPy lacks, comes as uint16.

    Returns:
        Of the tensor's shape. A view changes with the tensor: use it up before the next update.
    """
    detached = tensor.detach()
    return np.from_dlpack(detached) if _can_be_viewed(detached) else np.asarray(detached.numpy())


def fill(parameter: Tensor, array: Array) -> None:
    """Copy numbers into a parameter; of a mapped file, only a part is in memory at a time.

    Args:
        parameter: Of any floating-point type.
        array: Of the same shape; any layout.
    """
    if not _can_be_viewed(parameter.detach()):
        values = np.ascontiguousarray(array, dtype=np.float32)
        parameter.set_value(paddle.to_tensor(values, dtype=parameter.dtype))
        release_pages(array)
        return
    target = as_array(parameter)
    rows = max(1, BLOCK_BYTES * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        target[start : start + rows] = array[start : start + rows]
        release_pages(array)


def _can_be_viewed(tensor: Tensor) -> bool:
    # PaddlePaddle 2 has no such method, and NumPy no bfloat16.
    is_known = hasattr(tensor, "__dlpack__") and tensor.dtype in VIEWED
    return is_known and devices.of(tensor).is_host
