"""How long rows are: which part of each segment goes into a row, and what fills it up.

Results of truncation, and of overlapping windows of the overflow, are those of the `tokenizers`
library (its `truncate_encodings` and `Encoding::truncate`), reached with index arithmetic, so that
all segmenters have the same and rows are cut once.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.encoding import plain

Strategy = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Padding = Literal["longest", "max_length", "do_not_pad"]
Side = Literal["right", "left"]

UNLIMITED = int(1e30)  # what transformers writes for a tokenizer without a maximum length
# What stands in a padded place; [PAD] or its id for tokens. Other columns have no such places.
FILLERS: dict[str, Any] = {
    "token_type_ids": 0,
    "attention_mask": 0,
    "position_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
    "word_ids": None,
    "sequence_ids": None,
}


def padding_strategy(padding: bool | str) -> Padding:
    """Turn `padding` into a strategy: True is "longest", False is "do_not_pad".

    Raises:
        ValueError: Another word was given.
    """
    if isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    return cast(Padding, _one_of(get_args(Padding), "padding", padding))


def truncation_strategy(truncation: bool | str) -> Strategy:
    """Turn `truncation` into a strategy: True is "longest_first", False is "do_not_truncate".

    Raises:
        ValueError: Another word was given.
    """
    if isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    return cast(Strategy, _one_of(get_args(Strategy), "truncation", truncation))


def side(name: str, value: str) -> Side:
    """Check a setting that is "right" or "left".

    Raises:
        ValueError: It is neither.
    """
    return cast(Side, _one_of(get_args(Side), name, value))


def _one_of(words: tuple[str, ...], name: str, value: str) -> str:
    if value not in words:
        raise ValueError(f"{name}={value!r}; expected one of {', '.join(words)}")
    return value


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
        """Return how many tokens of each segment stay."""
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


def padded_length(
    lengths: Iterable[int], padding: Padding, max_length: int, multiple: int | None
) -> int:
    """Find the length of padded rows, 0 if nothing is to be padded.

    Raises:
        ValueError: Rounding up makes them longer than they may be.
    """
    if padding == "do_not_pad":
        return 0
    lengths = [*lengths]
    length = max_length if padding == "max_length" else max(lengths, default=0)
    if not multiple:
        return length
    rounded = -(-length // multiple) * multiple
    if rounded > max_length >= max(lengths, default=0):
        raise ValueError(
            f"pad_to_multiple_of={multiple} makes rows of {rounded} tokens, and max_length is "
            f"{max_length}; give one that divides max_length, or another max_length"
        )
    return rounded


def gather_columns(encoded: Any) -> tuple[dict[str, list[Any]], bool]:
    """Bring rows, columns or one row into columns of lists.

    Returns:
        The columns, and whether there was more than one bare row.
    """
    if isinstance(encoded, Mapping):
        columns = {name: plain(values) for name, values in encoded.items()}
    else:
        columns = {name: [plain(row[name]) for row in encoded] for name in encoded[0]}
    if "input_ids" not in columns:
        raise ValueError(f"expected a column input_ids to pad, got {', '.join(columns)}")
    ids = columns["input_ids"]
    batched = not ids or isinstance(ids[0], list)
    return columns if batched else {name: [row] for name, row in columns.items()}, batched


def pad_columns(
    columns: dict[str, list[Any]], length: int, own: Mapping[str, Any], side: Side
) -> dict[str, list[Any]]:
    """Bring all rows that hold something for each token to `length`; longer ones stay.

    Args:
        columns: Rows by name.
        length: L.
        own: What stands in a padded place where the tokenizer says it, by name.
        side: Where padding goes.
    """
    fillers = {**FILLERS, **own}
    return {
        name: _pad(rows, length, fillers[name], side) if name in fillers else rows
        for name, rows in columns.items()
    }


def _pad(rows: list[list[Any]], length: int, filler: Any, side: Side) -> list[list[Any]]:
    if side == "left":
        return [[filler] * (length - len(row)) + row for row in rows]
    return [row + [filler] * (length - len(row)) for row in rows]
