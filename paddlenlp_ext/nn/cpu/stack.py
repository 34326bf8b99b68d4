"""How a CPU computes the layers of an encoder: of which tokens, and how many layers at once.

Here alone is chosen. What computes one layer, `units.py` chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddle import Tensor

from paddlenlp_ext.nn.attention import Mask
from paddlenlp_ext.nn.cpu import few
from paddlenlp_ext.nn.cpu.packed import Packed, pack
from paddlenlp_ext.nn.positions import TOKENS, Positions, take

if TYPE_CHECKING:
    from paddlenlp_ext.nn.encoder import Encoder


def encode(
    encoder: Encoder, states: Tensor, mask: Mask | None, positions: Positions | None
) -> Tensor:
    """Compute the last hidden states that are read, padding left out where that can be.

    Args:
        encoder: The layers.
        states: float [B, L, H].
        mask: Which positions each position may attend to; all if None.
        positions: Which are read of the last hidden states; all if None.

    Returns:
        float [B, R, H].
    """
    packed = pack(encoder.layers, states, mask, positions)
    if packed is None:
        return _encode(encoder, states, mask, None if positions is TOKENS else positions)
    found = _encode(encoder, packed.tokens(states), packed, packed.read)
    return packed.padded(found) if packed.read is None else found


def _encode(
    encoder: Encoder, states: Tensor, mask: Mask | Packed | None, read: Positions | None
) -> Tensor:
    """Compute all layers of a few tokens at once, or of many one after another."""
    if not few.can_encode(encoder.layers, states, mask):
        return encoder.by_layer(states, mask, read).last_hidden_state
    if encoder.skips_unread:
        return few.encode(encoder.layers, states, mask, read)
    return take(few.encode(encoder.layers, states, mask, None), read)
