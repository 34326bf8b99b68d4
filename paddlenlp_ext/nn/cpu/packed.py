"""A batch as its tokens alone, one text behind another, where units compute all layers of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from paddlenlp_ext.nn.attention import Attention, Mask
from paddlenlp_ext.nn.cpu.layers import on_cpu
from paddlenlp_ext.nn.cpu.texts import Keys
from paddlenlp_ext.nn.cpu.units import kernels_for
from paddlenlp_ext.nn.positions import TOKENS, Positions


@dataclass(frozen=True)
class Packed:
    """Where the tokens of a batch are: a layer takes it in place of a mask.

    Attributes:
        keys: What each text attends to: its own tokens, among those of the batch.
        places: Where they were in the padded batch, flattened; int64 [T].
        read: Which of them are read, of each text; int64 [B, R]; all if None.
        shape: Of the padded batch: [B, L].
    """

    keys: Keys
    places: Tensor
    read: Tensor | None
    shape: tuple[int, int]

    def tokens(self, states: Tensor) -> Tensor:
        """Leave out the padding: [B, L, H] -> [T, H]."""
        return states.flatten(0, 1).index_select(self.places)

    def padded(self, states: Tensor) -> Tensor:
        """Put zeros where the padding was: [T, H] -> [B, L, H]."""
        batch, length = self.shape
        zeros = paddle.zeros([batch * length, states.shape[1]], states.dtype)
        return zeros.scatter(self.places, states).reshape([batch, length, -1])


def pack(
    layers: Iterable[Any], states: Tensor, mask: Mask | None, positions: Positions | None
) -> Packed | None:
    """Find the tokens of a batch; None where it stays as it is.

    It does if a layer cannot be computed as a unit, or convolves, which sees padding; if there is
    no padding, if queries of a text attend to different keys, or if padding is read.

    Args:
        layers: That are to be computed.
        states: float [B, L, H].
        mask: Which positions each position may attend to.
        positions: Which are read of the last hidden states.
    """
    if mask is None or positions is None or not on_cpu(states):
        return None
    batch, length = states.shape[:2]
    keys = mask.keys
    if keys is None or len(keys.starts) != batch + 1 or len(keys.tokens) == batch * length:
        return None
    if not all(
        type(layer.self_attn) is Attention and kernels_for(layer, states) for layer in layers
    ):
        return None
    numbers = np.arange(len(keys.tokens))
    read = None
    if positions is not TOKENS:
        number = np.full(batch * length, -1)
        number[keys.tokens] = numbers
        of_rows = number.reshape(batch, length)
        if isinstance(positions, slice):
            found = of_rows[:, positions]
        else:
            found = np.take_along_axis(of_rows, positions.numpy(), axis=1)
        if found.min() < 0:
            return None
        read = paddle.to_tensor(found)
    return Packed(
        Keys(numbers.astype(np.int32), keys.starts, keys.most),
        paddle.to_tensor(keys.tokens.astype(np.int64)),
        read,
        (batch, length),
    )
