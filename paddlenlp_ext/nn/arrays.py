"""Read tensors from NumPy, without copying what lies in memory already."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddle import Tensor

Array = NDArray[Any]


def as_array(tensor: Tensor) -> Array:
    """Return the numbers of a tensor: on a CPU a view of its memory, else a copy.

    `Tensor.numpy` always copies. Of a model with a word table of 250,000 rows, and of the state of
    its optimizer, the copies would be the largest thing in memory whenever the run is saved.

    Args:
        tensor: Of any type; one of bfloat16, which NumPy lacks, comes as uint16.

    Returns:
        A view changes with the tensor: use it up before the next update. Of a tensor's shape.
    """
    detached = tensor.detach()
    # PaddlePaddle 2 has no such method, and bfloat16 no such view.
    if tensor.place.is_cpu_place() and hasattr(detached, "__dlpack__"):
        try:
            return np.from_dlpack(detached)
        except (RuntimeError, BufferError, TypeError):
            pass
    return np.asarray(detached.numpy())
