"""Positions that are read of the last layer: the others need not be computed."""

from __future__ import annotations

from typing import TypeAlias

import paddle
from paddle import Tensor

Positions: TypeAlias = slice | Tensor  # the same ones of every row, or int64 [B, R]

FIRST, LAST = slice(0, 1), slice(-1, None)
# All but padding, which then may be anything; None is all, and padding as computed.
TOKENS = slice(None)


def take(states: Tensor, positions: Positions | None) -> Tensor:
    """Take some positions of every row: [B, L, ...] -> [B, R, ...]; all if None.

    Of tokens one behind another, [T, H], positions are places: [B, R, H].
    """
    if positions is None or positions is TOKENS:
        return states
    if isinstance(positions, slice):
        return states[:, positions]
    if states.ndim == 2:
        return states.index_select(positions.flatten()).reshape([*positions.shape, -1])
    batch, length = states.shape[:2]
    places = positions + length * paddle.arange(batch).unsqueeze(1)
    taken = states.flatten(0, 1).index_select(places.flatten())
    return taken.reshape([*positions.shape, *states.shape[2:]])


def window(positions: Positions | None, side: int) -> slice | None:
    """Find what a convolution that sees `side` positions to both sides needs, for the same result.

    Returns:
        A part of every row, that begins or ends with `FIRST` or `LAST`; None is the whole of it.
    """
    if isinstance(positions, slice) and positions == FIRST:
        return slice(0, 1 + side)
    if isinstance(positions, slice) and positions == LAST:
        return slice(-1 - side, None)
    return None


def by_row(
    places: Tensor, batch: int, length: int, *, with_first: bool = False
) -> tuple[Tensor, Tensor]:
    """Find the positions of each row that some places of a batch are at.

    Args:
        places: In the flattened [B · L], in any order; int64 [M].
        batch: `B`.
        length: `L`.
        with_first: Have the first position of every row among them, as its first.

    Returns:
        The positions in order, int64 [B, R], with the first one at the end of rows that have fewer
        than the most; and where in the flattened [B · R] each place is, int64 [M].
    """
    is_read = paddle.zeros([batch * length], "int64")
    is_read = is_read.scatter(places, paddle.ones_like(places)).reshape([batch, length])
    if with_first:
        is_read[:, 0] = 1
    most = max(1, int(is_read.sum(axis=1).max()))
    order = is_read * paddle.arange(length, 0, -1)
    # Of integers not on every device.
    is_place, positions = order.astype("float32").topk(most, axis=1)
    positions = paddle.where(is_place > 0, positions, paddle.zeros_like(positions))
    number = (is_read.cumsum(axis=1) - 1).flatten().index_select(places)
    return positions, places // length * most + number
