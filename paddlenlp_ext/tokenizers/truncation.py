"""Which part of each segment goes into a row: truncation, and overlapping windows of the overflow.

Results are those of the `tokenizers` library (its `truncate_encodings` and `Encoding::truncate`),
reached with index arithmetic, so that all segmenters share them and rows are cut once.
"""

from typing import Literal, NamedTuple

from paddlenlp_ext.errors import UserError

Strategy = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Side = Literal["right", "left"]


class Row(NamedTuple):
    """One row of the result: a window of the first and one of the second segment of a sample."""

    sample: int
    first_start: int
    first_stop: int
    second_start: int
    second_stop: int


class Truncation(NamedTuple):
    """How rows are cut.

    Args:
        strategy: Which segment gives way.
        room: Tokens of both segments that a row has place for; special tokens are already off.
        stride: Tokens that a window repeats from the one before it.
        side: The side on which tokens are cut off.
        overflow: Whether what is cut off becomes further rows.
        odd_token: Who gets the odd token when both segments of a pair are cut to the same length:
            the longer one (the second, if both are equal) as in the `tokenizers` library, or the
            first one as in PaddleNLP and the Python tokenizers of transformers.
    """

    strategy: Strategy
    room: int
    stride: int = 0
    side: Side = "right"
    overflow: bool = False
    odd_token: Literal["longer", "first"] = "longer"

    def rows(self, sample: int, first: int, second: int) -> list[Row]:
        """Cut one sample.

        Args:
            sample: Its number in the batch.
            first: Number of tokens of its first segment.
            second: Number of tokens of its second segment, 0 if it has none.

        Returns:
            One row; with `overflow` as many as are needed to show every token.

        Raises:
            UserError: The segment that should give way is too short, or `stride` leaves a window
                nothing new.
        """
        if self.strategy == "do_not_truncate" or first + second <= self.room:
            return [Row(sample, 0, first, 0, second)]
        keep_first, keep_second = self._kept(first, second)
        if not self.overflow:
            return [
                Row(sample, *self._last(first, keep_first), *self._last(second, keep_second))
                if self.side == "left"
                else Row(sample, 0, keep_first, 0, keep_second)
            ]
        windows = [
            (a, b)
            for a in self._windows(first, keep_first)
            for b in self._windows(second, keep_second)
        ]
        # The library lists the windows that differ in the second segment only after all others.
        start = windows[0][0]
        windows = [
            windows[0],
            *[w for w in windows[1:] if w[0] != start],
            *[w for w in windows[1:] if w[0] == start],
        ]
        return [Row(sample, *a, *b) for a, b in windows]

    def _kept(self, first: int, second: int) -> tuple[int, int]:
        """Decide how many tokens of each segment stay."""
        if self.room == 0:
            return 0, 0
        if self.strategy == "longest_first":
            return self._keep_longest_first(first, second)
        surplus = first + second - self.room
        short = first if self.strategy == "only_first" else second
        if short <= surplus:
            raise UserError(
                f"truncation={self.strategy!r} would have to remove {surplus} of the {short} "
                f"tokens of that segment; use a larger max_length or truncation='longest_first'"
            )
        if self.strategy == "only_first":
            return first - surplus, second
        return first, second - surplus

    def _keep_longest_first(self, first: int, second: int) -> tuple[int, int]:
        shorter = min(first, second)
        half, odd = divmod(self.room, 2)
        if shorter <= half:  # only the longer segment gives way
            rest = self.room - shorter
            return (first, rest) if first <= second else (rest, second)
        first_gets_odd = self.odd_token == "first" or first > second
        return (half + odd, half) if first_gets_odd else (half, half + odd)

    def _last(self, length: int, keep: int) -> tuple[int, int]:
        return length - keep, length

    def _windows(self, length: int, keep: int) -> list[tuple[int, int]]:
        """List the windows of `keep` tokens that cover a segment, each `stride` into the last."""
        if keep >= length:
            return [(0, length)]
        if self.stride >= keep:
            raise UserError(
                f"stride={self.stride} must be smaller than the {keep} tokens of a window; "
                f"give a smaller stride or a larger max_length"
            )
        step = keep - self.stride
        count = 1 + -(-(length - keep) // step)
        if self.side == "right":
            return [(i * step, min(i * step + keep, length)) for i in range(count)]
        return [(max(length - i * step - keep, 0), length - i * step) for i in range(count)]
