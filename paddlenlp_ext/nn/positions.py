"""Positions that are read of the last layer: the others need not be computed."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
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
        places: In the flattened [B · L], in any order; int64 [M]. They are read: of a device that
            is not the host, this waits for it.
        batch: `B`.
        length: `L`.
        with_first: Have the first position of every row among them, as its first.

    Returns:
        The positions in order, int64 [B, R], with the first one at the end of rows that have fewer
        than the most; and where in the flattened [B · R] each place is, int64 [M].
    """
    numbers = places.numpy().ravel()
    is_read = np.zeros((batch, length), bool)
    is_read.reshape(-1)[numbers] = True
    if with_first:
        is_read[:, 0] = True
    number = is_read.cumsum(axis=1) - 1  # of each place among those of its row
    positions = np.zeros((batch, number.max(initial=0) + 1), np.int64)
    row, position = np.nonzero(is_read)
    positions[row, number[row, position]] = position
    again = numbers // length * positions.shape[1] + number.reshape(-1)[numbers]
    return paddle.to_tensor(positions), paddle.to_tensor(again.astype(np.int64))
