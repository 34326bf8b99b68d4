"""All layers of an encoder by one call of a kernel, for few tokens: a sentence, or some.

The products of a sentence take microseconds, and most of the time would go into what stands between
them: calls of operations, and threads that are woken for each. See few.c.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle
from paddle import Tensor

from paddlenlp_ext.nn.attention import Attention, Mask
from paddlenlp_ext.nn.cpu import bfloat16, compiled
from paddlenlp_ext.nn.cpu.layers import on_cpu
from paddlenlp_ext.nn.cpu.texts import Indices, Keys, starts_of
from paddlenlp_ext.nn.cpu.units import ACTIVATIONS, dropouts_of, kernels_for, weights_of
from paddlenlp_ext.nn.positions import Positions
from paddlenlp_ext.process import runtime

if TYPE_CHECKING:
    from paddlenlp_ext.nn.cpu.packed import Packed
    from paddlenlp_ext.nn.encoder import EncoderLayer

MOST = 3 << 16  # numbers of the hidden states; with more, products by Paddle and oneDNN are as fast
LANES = 16  # numbers of a vector, of which a head and the feed-forward layer have whole ones


def can_encode(layers: Sequence[EncoderLayer], states: Tensor, mask: Mask | Packed | None) -> bool:
    """Return whether all layers are computed here; arguments as of `encode`.

    They are in float32, if no gradients are wanted, nothing is dropped and there is no padding, if
    the layers are alike, and units compute them without a convolution.
    """
    kernels = compiled.kernels() if on_cpu(states) and _has_vectors() else None
    if kernels is None or paddle.is_grad_enabled() or bfloat16.current() is not None:
        return False
    tokens = math.prod(states.shape[:-1])
    if not 0 < tokens * states.shape[-1] <= MOST or not all(_is_for_here(layers, states)):
        return False
    keys = _keys(states, mask)
    if keys is None or len(keys.tokens) != tokens:
        return False
    return bool(states.ndim == 2 or len(keys.starts) == states.shape[0] + 1)


def encode(
    layers: Sequence[EncoderLayer],
    states: Tensor,
    mask: Mask | Packed | None,
    positions: Positions | None,
) -> Tensor:
    """Compute all layers of a few tokens, as `can_encode` says.

    Args:
        layers: Of the encoder.
        states: float32 [B, L, H], or without padding [T, H].
        mask: Which positions each position may attend to, or where tokens without padding are.
        positions: Which are read of the last hidden states; all if None.

    Returns:
        The last hidden states; float32 [B, R, H], or as `states` if all are read.
    """
    kernels, keys = compiled.kernels(), _keys(states, mask)
    assert kernels is not None
    assert keys is not None
    tokens = len(keys.tokens)
    first = layers[0]
    read = None if positions is None else _read(positions, states, keys.starts)
    states = states.contiguous()
    result = paddle.empty([tokens if read is None else read.size, states.shape[-1]], "float32")
    parameters = (compiled.Layer * len(layers))(
        *(compiled.Layer(*weights_of(layer)) for layer in layers)
    )
    arrays = (
        np.arange(tokens, dtype=np.int32),
        keys.starts,
        read,
        None if read is None else starts_of(*read.shape),
    )
    kernels.call(
        "encode",
        compiled.Few(
            *(parameters, states, result, *arrays),
            *(len(layers), len(keys.starts) - 1, tokens, 0 if read is None else read.size),
            *first.self_attn.heads,
            first.linear1.weight.shape[1],
            keys.most,
            compiled.ACTIVATIONS.index(ACTIVATIONS[first.activation]),
            first.norm1._epsilon,
        ),
    )
    return result.reshape(states.shape if read is None else [*read.shape, -1])


def _keys(states: Tensor, mask: Mask | Packed | None) -> Keys | None:
    return Keys.of_length(*states.shape[:2]) if mask is None else mask.keys


def _is_for_here(layers: Sequence[EncoderLayer], states: Tensor) -> Iterator[bool]:
    """Say of each layer whether it is computed here."""
    forms = []
    for layer in layers:
        yield not layer._forward_pre_hooks and not layer._forward_post_hooks
        yield kernels_for(layer, states) is not None
        yield not any(one.training and one.p for one in dropouts_of(layer))
        forms.append(_form(layer))
    yield forms.count(forms[0]) == len(forms)
    kind, (_, width), inner, *_ = forms[0]
    yield kind is Attention
    yield len(inner) == 2 and width % LANES == 0 and inner[1] % LANES == 0


def _form(layer: EncoderLayer) -> tuple[Any, ...]:
    """What layers that are alike share: attention, heads, inner width, activation, epsilons."""
    parts = layer._sub_layers
    attention, inner = parts["self_attn"], parts["linear1"]._parameters["weight"]
    epsilons = parts["norm1"]._epsilon, parts["norm2"]._epsilon
    return type(attention), attention.heads, inner.shape, layer.activation, epsilons


def _read(positions: Positions, states: Tensor, starts: Indices) -> Indices:
    """Return which tokens are read of each text; [B, R]."""
    if isinstance(positions, slice):
        texts = zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        return np.array([range(*text)[positions] for text in texts], np.int32)
    read: Indices = positions.numpy().astype(np.int32)
    return read if states.ndim == 2 else read + starts[:-1, None]


@cache
def _has_vectors() -> bool:
    """Whether the processor has vectors that the kernel was measured with."""
    flags = {*runtime.processor().get("flags", "").split()}
    return "avx512f" in flags or {"avx2", "fma"} <= flags
