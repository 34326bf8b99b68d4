"""Where special tokens go around one or two segments."""

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """The frame of a sequence: `[CLS] A [SEP]`, or `[CLS] A [SEP] B [SEP]` for a pair.

    Args:
        separators: Number of separators between the segments of a pair.
        first_type: How many of them belong to the first segment, hence have token type 0.
        special: False leaves all special tokens out: `A` and `A B`.
    """

    separators: int = 1
    first_type: int = 1
    special: bool = True

    def added(self, pair: bool) -> int:
        """Count the special tokens of a sequence."""
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
        """Give the token types of a sequence from the lengths of its segments."""
        if not self.special:
            return [0] * first + [1] * (second or 0)
        if second is None:
            return [0] * (first + 2)
        zeros = 1 + first + self.first_type
        return [0] * zeros + [1] * (self.separators - self.first_type + second + 1)
