"""Tables of words of which only some rows are trained; the others follow by arithmetic.

Fine-tuning a multilingual model on one task touches a part of its 250,000 words. The gradient of
every other row is zero in every update, and so are its averages in AdamW: all that happens to it is
weight decay, a multiplication by `1 - learning rate * decay`. So it needs no gradient, no averages
and no work in each update: the product of all factors is kept, and applied when the row is saved.
Until then the table can lie in a file.

A table that scores words, trimmed likewise, scores those of its rows only. That is another loss: as
if all other words had no probability, so that they are not pushed down either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.files.disk import release_pages
from paddlenlp_ext.nn.arrays import as_array
from paddlenlp_ext.nn.cpu.layers import embed, on_cpu
from paddlenlp_ext.weights.formats.safe_tensors import SparseRows

Array = NDArray[Any]

BLOCK = 1 << 14  # rows of a table that are changed together


class TrimmedEmbedding(nn.Layer):
    """A table [V, E] of which U rows are a parameter [U, E].

    Args:
        table: The whole table, which this layer then owns and changes; float32 [V, E], in memory or
            mapped (`paddlenlp_ext.files.disk.spill_to_disk`).
        used: Ids whose rows are trained, ascending; int64 [U].

    Attributes:
        weight: The rows that are trained; float32 [U, E].
        used: As given.
        words: The same as a tensor; int64 [U].
        rows: Row of `weight` that each id has, U for an id without one; int64 [V].
    """

    def __init__(self, table: Array, used: NDArray[np.int64]) -> None:
        super().__init__()
        self.used = used
        self.weight = self.create_parameter([len(used), table.shape[1]])
        self.weight.set_value(table[used])
        release_pages(table)
        rows = np.full(len(table), len(used), np.int64)  # beyond the last row: is refused
        rows[used] = np.arange(len(used))
        self.register_buffer("rows", paddle.to_tensor(rows), persistable=False)
        self.register_buffer("words", paddle.to_tensor(used), persistable=False)
        self._table = table
        self._factor = 1.0  # what the rows of the table have still to be multiplied by

    def forward(self, input_ids: Tensor) -> Tensor:
        """Look words up; int64 [...] -> float [..., E]. All ids are among `used`."""
        rows = paddle.gather(self.rows, input_ids.flatten()).reshape(input_ids.shape)
        return embed(rows, self.weight) if on_cpu(rows) else F.embedding(rows, self.weight)

    def decay(self, factor: float) -> None:
        """Multiply the rows that are not trained, at the next `whole`."""
        self._factor *= factor

    def whole(self) -> Array:
        """Return the whole table as it is now; float32 [V, E], valid until the next update.

        The decay is applied here for good. What is saved is then what the run goes on with, and a
        run that continues from the file computes the same.
        """
        trained = as_array(self.weight)
        bounds = range(0, len(self._table), BLOCK)
        cuts = np.searchsorted(self.used, [*bounds, len(self._table)])
        for start, begin, end in zip(bounds, cuts[:-1], cuts[1:], strict=True):
            block = self._table[start : start + BLOCK]
            if self._factor != 1.0:
                block *= np.float32(self._factor)
            block[self.used[begin:end] - start] = trained[begin:end]
            release_pages(block)
        self._factor = 1.0
        return self._table

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole table."""
        return self._table.shape

    def spread(self, rows: Array) -> SparseRows:
        """Put what belongs to the trained rows in its place, among zeros; [U, E] -> [V, E]."""
        return SparseRows(len(self._table), self.used, rows)

    def pick(self, table: Array) -> Array:
        """Take the trained rows out of something of the whole table's shape; undoes `spread`.

        Raises:
            ValueError: There is something else than zeros in the other rows.
        """
        rows = table[self.used]
        if np.count_nonzero(table) != np.count_nonzero(rows):
            raise ValueError("rows are not zero that are not trained")
        return rows


def trimmed_tables(model: nn.Layer) -> dict[str, TrimmedEmbedding]:
    """Find the trimmed tables of a model, by the names of their parameters."""
    return {
        f"{path}.weight": layer
        for path, layer in model.named_sublayers()
        if isinstance(layer, TrimmedEmbedding)
    }


def whole_parameters(model: nn.Layer) -> dict[str, Array]:
    """Return the parameters of a model by name, trimmed tables whole; see `as_array`."""
    tables = trimmed_tables(model)
    return {
        name: tables[name].whole() if name in tables else as_array(parameter)
        for name, parameter in model.named_parameters()
    }
