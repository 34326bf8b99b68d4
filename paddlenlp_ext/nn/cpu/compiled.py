"""The kernels in C, where the installation could compile them.

`setup.py` makes a library of the C files here. Structures and functions here
are those of the C files, which say what is computed. Tensors and arrays are given by their
addresses, and must not be freed before a call has returned: a `Description` keeps them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
)
from ctypes import c_void_p as address
from functools import cache
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor

LIBRARY = Path(__file__).with_name("_kernels.c.so")
ACTIVATIONS = ("gelu", "tanh_gelu", "relu")  # in the order of their numbers in C
RANDOM_NUMBERS = 1 << 32  # that decide what is dropped
BY_REFERENCE = (Structure, c_double)


class Dropout(Structure):
    """What is dropped: a function of the seed and of a number's row and column."""

    _fields_ = (("seed", c_uint64), ("below", c_uint32), ("scale", c_float))

    @classmethod
    def of(cls, seed: int, probability: float) -> Dropout:
        """Drop numbers with a probability below 1."""
        below = round(probability * RANDOM_NUMBERS)
        return cls(seed, below, RANDOM_NUMBERS / (RANDOM_NUMBERS - below))


class Description(Structure):
    """What a function computes: numbers, and places of tensors and arrays, which it keeps.

    Args:
        parts: Of the structure, in its order; None is C's null.
    """

    def __init__(self, *parts: object) -> None:
        super().__init__(*map(_place, parts))
        self._kept = parts


class Activation(Description):
    """Bias, activation and dropout; see tokens.c."""

    _fields_ = (
        *((name, address) for name in ("x", "bias", "slopes")),
        *((name, c_int64) for name in ("tokens", "width")),
        ("kind", c_int32),
        ("dropout", Dropout),
    )


class Norm(Description):
    """Bias, dropout, residual and LayerNorm; see tokens.c."""

    _fields_ = (
        *(
            (name, address)
            for name in ("x", "bias", "residual", "weight", "shift", "result", "scales")
        ),
        *((name, c_int64) for name in ("tokens", "width")),
        ("epsilon", c_float),
        ("dropout", Dropout),
    )


class NormBackward(Description):
    """The gradients of `Norm`; see tokens.c."""

    _fields_ = (
        *((name, address) for name in ("gradient", "normal", "scales", "weight")),
        *((name, address) for name in ("of_residual", "of_x", "of_weight", "of_shift", "of_bias")),
        *((name, c_int64) for name in ("tokens", "width")),
        ("dropout", Dropout),
    )


class Attention(Description):
    """Attention of texts of any length, and its gradients; see attention.c."""

    _fields_ = (
        *((name, address) for name in ("query", "key", "value")),
        *((name, address) for name in ("query_bias", "key_bias", "value_bias")),
        *((name, address) for name in ("means", "peaks", "query_starts", "key_starts", "keys")),
        *((name, c_int64) for name in ("texts", "tokens", "heads", "width", "most_keys")),
        ("dropout", Dropout),
        *((name, address) for name in ("gradient", "of_query", "of_key", "of_value")),
    )


class Joint(Description):
    """Products of what has a bias, and their gradients; see tokens.c."""

    _fields_ = (
        *((name, address) for name in ("x", "other", "x_bias", "other_bias", "result")),
        *((name, c_int64) for name in ("tokens", "width")),
        *((name, address) for name in ("of_x", "of_other", "of_bias")),
    )


class Window(Description):
    """Which tokens a convolution sees; see convolution.c."""

    _fields_ = (
        *((name, address) for name in ("places", "real")),
        *((name, c_int64) for name in ("texts", "length", "queries", "taps")),
    )


class Depthwise(Description):
    """A convolution of each unit alone, and its gradients; see convolution.c."""

    _fields_ = (
        *((name, address) for name in ("x", "taps", "result")),
        ("width", c_int64),
        ("window", Window),
        *((name, address) for name in ("gradient", "of_x", "of_taps")),
    )


class Convolution(Description):
    """A convolution with taps of each query's own, and its gradients; see convolution.c."""

    _fields_ = (
        *((name, address) for name in ("scores", "scores_bias", "values", "values_bias", "result")),
        *((name, c_int64) for name in ("heads", "width")),
        ("window", Window),
        *((name, address) for name in ("gradient", "of_scores", "of_values")),
    )


class Layer(Description):
    """The parameters of a layer; see few.c."""

    _fields_ = tuple(
        (name, address)
        for part in ("query", "key", "value", "out", "norm1", "linear1", "linear2", "norm2")
        for name in (part, f"{part}_bias")
    )


class Few(Description):
    """All layers of an encoder, for a few tokens; see few.c."""

    _fields_ = (
        *((name, address) for name in ("layers", "states", "result", "keys", "starts")),
        *((name, address) for name in ("read", "read_starts")),
        *((name, c_int64) for name in ("count", "texts", "tokens", "reads")),
        *((name, c_int64) for name in ("heads", "width", "inner", "most_keys")),
        ("kind", c_int32),
        ("epsilon", c_float),
    )


class Updated(Description):
    """A parameter, its gradient and AdamW's state of it; see adamw.c."""

    _fields_ = (
        *((name, address) for name in ("weight", "gradient", "mean", "square")),
        *((name, address) for name in ("power1", "power2")),
        ("count", c_int64),
        *((name, c_float) for name in ("rate", "decay")),
    )


class Update(Description):
    """An update of AdamW; see adamw.c."""

    _fields_ = (
        ("parameters", address),
        ("count", c_int64),
        *((name, c_float) for name in ("beta1", "beta2", "epsilon", "factor")),
    )


class Kernels:
    """The library.

    Args:
        path: Where it is.

    Raises:
        OSError: It cannot be loaded.
        AttributeError: It is another one.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._functions: dict[str, Callable[..., int]] = {}
        for name, arguments in {
            "activate": [POINTER(Activation)],
            "activate_backward": [address, address, c_int64, c_int64, address],
            "norm": [POINTER(Norm)],
            "norm_backward": [POINTER(NormBackward)],
            "attend": [POINTER(Attention)],
            "attend_backward": [POINTER(Attention)],
            "sum_tokens": [address, c_int64, c_int64, address],
            "scatter": [address, address, c_int64, c_int64, address, c_int64],
            "cast": [address, c_int64, address],
            "join": [POINTER(Joint)],
            "join_backward": [POINTER(Joint)],
            "depthwise": [POINTER(Depthwise)],
            "depthwise_backward": [POINTER(Depthwise)],
            "convolve": [POINTER(Convolution)],
            "convolve_backward": [POINTER(Convolution)],
            "encode": [POINTER(Few)],
            "update": [POINTER(Update)],
            "sum_squares": [address, c_int64, POINTER(c_double)],
        }.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the library.

        Args:
            name: Its name.
            arguments: Its description, or tensors, numbers and places for them.

        Raises:
            MemoryError: There was not enough.
        """
        given = [byref(one) if isinstance(one, BY_REFERENCE) else _place(one) for one in arguments]
        if not self._functions[name](*given):
            raise MemoryError(f"not enough memory to {name.replace('_', ' ')}")

    def sum_tokens(self, rows: Tensor) -> Tensor:
        """Add up rows: float32 [T, H] -> [H]."""
        sums = paddle.empty([rows.shape[1]], rows.dtype)
        self.call("sum_tokens", rows, *rows.shape, sums)
        return sums

    def update(
        self,
        rows: Sequence[Updated],
        *,
        betas: tuple[float, float],
        epsilon: float,
        factor: float,
    ) -> None:
        """Make an update of AdamW of several parameters.

        Args:
            rows: The parameters, whose numbers lie in one piece.
            betas: Memory of the means of gradients, and of their squares.
            epsilon: Lower bound of the denominator.
            factor: What the gradients are multiplied with.
        """
        parameters = (Updated * len(rows))(*rows)
        self.call("update", Update(parameters, len(rows), *betas, epsilon, factor))

    def sum_squares(self, numbers: Tensor) -> float:
        """Add up the squares of float32 numbers, which lie in one piece."""
        found = c_double()
        self.call("sum_squares", numbers, numbers.size, found)
        return found.value


def _place(part: object) -> object:
    """Return where what a tensor or an array has lies; another part as it is."""
    if isinstance(part, Tensor):  # without numbers it has no place in early versions of Paddle
        return part.data_ptr()
    if isinstance(part, ctypes.Array):
        return ctypes.addressof(part)
    return part.ctypes.data if isinstance(part, np.ndarray) else part


@cache
def kernels() -> Kernels | None:
    """Load the library; None where there is none."""
    try:
        return Kernels(LIBRARY)
    except (OSError, AttributeError):
        return None
