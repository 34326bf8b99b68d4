"""Columns of the result, made from segmented texts and the windows that rows take of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from paddlenlp_ext.tokenizers.encoding import Span
from paddlenlp_ext.tokenizers.layout import Layout
from paddlenlp_ext.tokenizers.truncation import Row

T = TypeVar("T")


@dataclass(frozen=True)
class Segments:
    """Texts as pieces, without special tokens; one list for each text.

    Args:
        ids: The id of each piece.
        offsets: Its characters in the text (in its word, if words were given); only if asked for.
        word_ids: The number of its word; only if asked for.
    """

    ids: list[list[int]]
    offsets: Sequence[list[Span]] = ()
    word_ids: Sequence[Sequence[int | None]] = ()


@dataclass(frozen=True)
class RowColumns:
    """Makes the columns of a batch.

    Args:
        segments: The first segments of all samples, then, for pairs, the second ones.
        rows: What each row shows.
        pair: Whether samples have two segments.
        layout: Where special tokens go.
        opening: Id of the first special token.
        closing: Id of the other ones.
    """

    segments: Segments
    rows: list[Row]
    pair: bool
    layout: Layout
    opening: int
    closing: int

    def column(self, name: str) -> list[Any]:
        """Make one column: a list for each row, or a number for "length" and the like."""
        return _COLUMNS[name](self)

    def _framed(self, values: Sequence[Sequence[T]], opening: T, closing: T) -> list[list[T]]:
        """Cut the values of pieces to the rows and frame them."""
        frame = self.layout.frame
        if not self.pair:
            return [
                frame([*values[sample][start:stop]], None, opening, closing)
                for sample, start, stop, _, _ in self.rows
            ]
        half = len(values) // 2
        return [
            frame([*values[sample][a:b]], [*values[half + sample][c:d]], opening, closing)
            for sample, a, b, c, d in self.rows
        ]

    def _lengths(self) -> list[int]:
        added = self.layout.added(self.pair)
        return [b - a + d - c + added for _, a, b, c, d in self.rows]

    def _filled(self, first: T, second: T, special: T) -> list[list[T]]:
        """Say of each token whether it is of the first segment, the second, or special."""
        return [
            self.layout.frame(
                [first] * (b - a), [second] * (d - c) if self.pair else None, special, special
            )
            for _, a, b, c, d in self.rows
        ]

    def _token_types(self) -> list[list[int]]:
        return [
            self.layout.token_types(b - a, d - c if self.pair else None)
            for _, a, b, c, d in self.rows
        ]


_COLUMNS: dict[str, Callable[[RowColumns], list[Any]]] = {
    "input_ids": lambda c: c._framed(c.segments.ids, c.opening, c.closing),
    "token_type_ids": RowColumns._token_types,
    "attention_mask": lambda c: [[1] * length for length in c._lengths()],
    "position_ids": lambda c: [list(range(length)) for length in c._lengths()],
    "special_tokens_mask": lambda c: c._filled(0, 0, 1),
    "offset_mapping": lambda c: c._framed(c.segments.offsets, (0, 0), (0, 0)),
    "word_ids": lambda c: c._framed(c.segments.word_ids, None, None),
    "sequence_ids": lambda c: c._filled(0, 1, None),
    "length": RowColumns._lengths,
    "overflow_to_sample_mapping": lambda c: [row.sample for row in c.rows],
}
