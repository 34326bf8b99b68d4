"""Products of bfloat16 matrices on a CPU, which Paddle's mixed precision does not know.

Weights, states and sums stay float32; what is multiplied is cast, and products are summed up in
float32. A processor with `amx_bf16`, and an AMD with `avx512_bf16`, multiplies bfloat16 numbers at
twice the rate of float32's or more. An Intel without AMX does so at half of it: `vdpbf16ps` starts
every other cycle there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from paddlenlp_ext.nn.cpu import compiled, onednn
from paddlenlp_ext.process import devices, runtime

INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
FEWEST = 32  # rows and columns from which on a product repays its casts


def lacking() -> str:
    """Say what this machine lacks for such products; empty if nothing."""
    if not set(INSTRUCTIONS) & _instructions():
        return f"this processor has neither {' nor '.join(INSTRUCTIONS)}"
    if onednn.bfloat16_products() is None:
        return f"this PaddlePaddle brings no oneDNN {onednn.MAJOR}"
    if compiled.kernels() is None and paddle.__version__.startswith("2."):
        return "PaddlePaddle 2 cuts numbers off, and no compiler has built kernels that round"
    return ""


def is_slow() -> bool:
    """Whether this processor multiplies float32 numbers faster."""
    is_intels = runtime.processor().get("vendor_id") == "GenuineIntel"
    return is_intels and "amx_bf16" not in _instructions()


def _instructions() -> set[str]:
    return set(runtime.processor().get("flags", "").split())


def cast(tensor: Tensor) -> Tensor:
    """Round float32 numbers, in one piece, to the nearest of bfloat16: [...] -> [...]."""
    kernels = compiled.kernels()
    if kernels is None:
        return tensor.astype("bfloat16")
    result = paddle.empty(tensor.shape, "bfloat16")
    kernels.call("cast", tensor, tensor.size, result)
    return result


class Casts:
    """Casts of weights, each made once until the weights change."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, weight: Tensor) -> Tensor:
        """Return a weight as bfloat16; it is kept if it is a parameter."""
        if not weight.persistable:
            return cast(weight.contiguous())
        of, kept = self._kept.get(id(weight), (None, None))
        if kept is None or of is not weight:  # in a copy of a model, ids are those of the original
            kept = cast(weight)
            self._kept[id(weight)] = (weight, kept)
        return kept

    def clear(self) -> None:
        """Forget all: the weights have changed."""
        self._kept.clear()


_current: ContextVar[Casts | None] = ContextVar("bfloat16", default=None)


@contextmanager
def bfloat16_products(casts: Casts | None) -> Iterator[None]:
    """Multiply in bfloat16 inside, or, with None, do not; a backward pass does as its forward pass.

    Args:
        casts: Those of the weights, which do not change inside.
    """
    token = _current.set(casts)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Casts | None:
    """Return the casts of weights where products are bfloat16 now, else None."""
    return _current.get()


def product_in_bfloat16(states: Tensor, weight: Tensor, *, turned: bool = False) -> Tensor | None:
    """Multiply states and a weight in bfloat16, if that is wanted now and repays the casts.

    Args:
        states: float32 [..., M] on a CPU.
        weight: float32 [M, N]; [N, M] if it is to be transposed.
        turned: Transpose it.

    Returns:
        float32 [..., N], or None.
    """
    casts = current()
    fewest = min(states.size // states.shape[-1], *weight.shape) if states.size else 0
    if casts is None or fewest < FEWEST or not devices.of(states).is_host:
        return None
    if not states.dtype == weight.dtype == paddle.float32:
        return None
    multiplied: Tensor = _Product.apply(states, weight, casts, turned)
    return multiplied


class _Product(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, casts: Casts, turned: bool) -> Tensor:
        rows, matrix = cast(states.reshape([-1, states.shape[-1]]).contiguous()), casts.of(weight)
        ctx.save_for_backward(rows, matrix)
        ctx.turned, ctx.shape = turned, states.shape
        ctx.wanted = (not states.stop_gradient, not weight.stop_gradient)
        return onednn.product(rows, matrix, turn_b=turned).reshape([*states.shape[:-1], -1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, matrix = ctx.saved_tensor()
        of_rows = cast(gradient.reshape([-1, gradient.shape[-1]]).contiguous())
        of_states = of_weight = None  # Paddle demands None for an input that is frozen
        if ctx.wanted[0]:
            of_states = onednn.product(of_rows, matrix, turn_b=not ctx.turned).reshape(ctx.shape)
        if ctx.wanted[1]:
            factors = (of_rows, rows) if ctx.turned else (rows, of_rows)
            of_weight = onednn.product(*factors, turn_a=True)
        return of_states, of_weight
