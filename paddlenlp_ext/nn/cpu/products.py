"""Products of a layer's rows with its weights, of float32 numbers or of bfloat16 ones.

A weight is float32 [M, N], or that of a `GroupedLinear`, [G, M / G, N / G], which joins only units
of the same group. What is multiplied with it is a factor: rows as they are, or cast to bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from paddlenlp_ext.nn.cpu import bfloat16
from paddlenlp_ext.nn.cpu.layers import swap
from paddlenlp_ext.nn.cpu.onednn import product


@dataclass(frozen=True)
class Products:
    """How rows and weights are multiplied; all results are float32.

    Attributes:
        casts: Those of the weights, where products are bfloat16; groups are not known to them.
    """

    casts: bfloat16.Casts | None

    def factor(self, rows: Tensor) -> Tensor:
        """Return what is multiplied of float32 rows."""
        return rows if self.casts is None else bfloat16.cast(rows)

    def times(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Multiply factors [T, M] with a weight: [T, N]."""
        if weight.ndim == 2:
            return product(rows, self._matrix(weight))
        return _joined(paddle.matmul(_by_group(rows, weight), weight))

    def times_turned(self, rows: Tensor, weight: Tensor, *, add_to: Tensor | None = None) -> Tensor:
        """Multiply factors [T, N] with a transposed weight: [T, M]; or add it to that."""
        if weight.ndim == 2:
            return product(rows, self._matrix(weight), turn_b=True, add_to=add_to)
        found = _joined(paddle.matmul(_by_group(rows, weight), weight, transpose_y=True))
        return found if add_to is None else add_to.add_(found)

    def of_weight(self, rows: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of a weight: of factors [T, M] and the product's gradient [T, N]."""
        if weight.ndim == 2:
            return product(rows, gradient, turn_a=True)
        return paddle.matmul(_by_group(rows, weight), _by_group(gradient, weight), transpose_x=True)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight if self.casts is None else self.casts.of(weight)


def _by_group(rows: Tensor, weight: Tensor) -> Tensor:
    """[T, M] -> [G, T, M / G]."""
    return swap(rows.reshape([1, rows.shape[0], weight.shape[0], -1])).squeeze(0)


def _joined(groups: Tensor) -> Tensor:
    """[G, T, N / G] -> [T, N]."""
    return swap(groups.unsqueeze(0)).reshape([groups.shape[1], -1])
