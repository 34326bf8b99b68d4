"""How a row is put together: the template of special tokens, and the columns that follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tokenizers.processors import TemplateProcessing

from paddlenlp_ext.tokenizers.segmentation import Segments
from paddlenlp_ext.tokenizers.truncation import Row

T = TypeVar("T")


@dataclass(frozen=True)
class Assembly:
    """The template of a row: `[CLS] A [SEP]`, or `[CLS] A [SEP] B [SEP]` for a pair.

    Args:
        separators: Number of separators between the segments of a pair.
        first_type: How many of them belong to the first segment, hence have token type 0.
        second_type: Token type of the second segment.
        special: False leaves all special tokens out: `A` and `A B`.
    """

    separators: int = 1
    first_type: int = 1
    second_type: int = 1
    special: bool = True

    def added(self, pair: bool) -> int:
        """Count the special tokens of a row."""
        if not self.special:
            return 0
        return 2 + self.separators if pair else 2

    def frame(self, first: list[T], second: list[T] | None, opening: T, closing: T) -> list[T]:
        """Put `opening` before, and `closing` between and after the segments.

        The same frame serves ids ([CLS] and [SEP]), offsets ((0, 0) twice), masks (1 twice) and
        whatever else a token has.
        """
        if not self.special:
            return [*first, *(second or ())]
        if second is None:
            return [opening, *first, closing]
        return [opening, *first, *[closing] * self.separators, *second, closing]

    def token_types(self, first: int, second: int | None) -> list[int]:
        """Return the token types of a row from the lengths of its segments."""
        if not self.special:
            return [0] * first + [self.second_type] * (second or 0)
        if second is None:
            return [0] * (first + 2)
        zeros = 1 + first + self.first_type
        return [0] * zeros + [self.second_type] * (self.separators - self.first_type + second + 1)

    def post_processor(
        self, opening: tuple[str, int], closing: tuple[str, int]
    ) -> TemplateProcessing:
        """Write the template for the `tokenizers` library.

        Args:
            opening: The first special token and its id.
            closing: The other ones.
        """
        (first, _), (last, _) = opening, closing
        two = self.second_type
        types = [0] * self.first_type + [two] * (self.separators - self.first_type)
        between = " ".join(f"{last}:{number}" for number in types)
        return TemplateProcessing(
            single=f"{first}:0 $A:0 {last}:0",
            pair=f"{first}:0 $A:0 {between} $B:{two} {last}:{two}",
            special_tokens=[opening, closing],
        )


class RowColumns(NamedTuple):
    """Makes the columns of a batch.

    Args:
        segments: The first segments of all samples, then, for pairs, the second ones.
        rows: What each row shows.
        pair: Whether samples have two segments.
        assembly: Where special tokens go.
        opening: The first special token and its id.
        closing: The other ones.
    """

    segments: Segments
    rows: list[Row]
    pair: bool
    assembly: Assembly
    opening: tuple[str, int]
    closing: tuple[str, int]

    def column(self, name: str) -> list[Any]:
        """Make one column: a list for each row, or a number for "length" and the like."""
        return _COLUMNS[name](self)

    def _framed(self, values: Sequence[Sequence[T]], opening: T, closing: T) -> list[list[T]]:
        """Cut the values of pieces to the rows and frame them."""
        frame = self.assembly.frame
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
        added = self.assembly.added(self.pair)
        return [b - a + d - c + added for _, a, b, c, d in self.rows]

    def _filled(self, first: T, second: T, special: T) -> list[list[T]]:
        """Mark each token as one of the first segment, the second, or special."""
        return [
            self.assembly.frame(
                [first] * (b - a), [second] * (d - c) if self.pair else None, special, special
            )
            for _, a, b, c, d in self.rows
        ]

    def _token_types(self) -> list[list[int]]:
        return [
            self.assembly.token_types(b - a, d - c if self.pair else None)
            for _, a, b, c, d in self.rows
        ]


_COLUMNS: dict[str, Callable[[RowColumns], list[Any]]] = {
    "input_ids": lambda c: c._framed(c.segments.ids, c.opening[1], c.closing[1]),
    "tokens": lambda c: c._framed(c.segments.tokens(), c.opening[0], c.closing[0]),
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
