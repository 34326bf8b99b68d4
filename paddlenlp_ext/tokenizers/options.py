"""What a caller asked of a tokenizer, checked once and brought into one form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from paddlenlp_ext.tokenizers.truncation import Side, Strategy

Padding = Literal["longest", "max_length", "do_not_pad"]

UNLIMITED = int(1e30)  # what transformers writes for a tokenizer without a maximum length


def padding_strategy(padding: bool | str) -> Padding:
    """Turn `padding` into a strategy: True is "longest", False is "do_not_pad".

    Raises:
        ValueError: Another word was given.
    """
    if isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    if padding not in get_args(Padding):
        raise ValueError(f"padding={padding!r}; expected a bool or one of {get_args(Padding)}")
    return cast(Padding, padding)


def truncation_strategy(truncation: bool | str) -> Strategy:
    """Turn `truncation` into a strategy: True is "longest_first", False is "do_not_truncate".

    Raises:
        ValueError: Another word was given.
    """
    if isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    if truncation not in get_args(Strategy):
        known = get_args(Strategy)
        raise ValueError(f"truncation={truncation!r}; expected a bool or one of {known}")
    return cast(Strategy, truncation)


def side(name: str, value: str) -> Side:
    """Check a setting that is "right" or "left".

    Raises:
        ValueError: It is neither.
    """
    if value not in get_args(Side):
        raise ValueError(f"{name}={value!r}; expected 'right' or 'left'")
    return cast(Side, value)


@dataclass(frozen=True)
class Options:
    """How texts become rows.

    Args:
        columns: Names of the columns of the result, in their order.
        add_special_tokens: Whether rows are framed by special tokens.
        truncation: Which segment gives way.
        max_length: Largest number of tokens of a row.
        stride: Tokens that an overflow row repeats.
        overflow: Whether cut-off tokens become further rows.
        padding: Up to where rows are padded.
        pad_to_multiple_of: The padded length is rounded up to a multiple of this.
        tensors: None for lists, "np" or "pd".
    """

    columns: tuple[str, ...]
    add_special_tokens: bool
    truncation: Strategy
    max_length: int
    stride: int
    overflow: bool
    padding: Padding
    pad_to_multiple_of: int | None
    tensors: str | None


@dataclass(frozen=True)
class Inputs:
    """Texts of one call.

    Args:
        first: The first segment of every sample: a text, or its words if `pre_split`.
        second: The second segments, or None.
        batched: False if the caller gave one sample and not a list of them.
        pre_split: Whether segments are lists of words.
    """

    first: list[Any]
    second: list[Any] | None
    batched: bool
    pre_split: bool

    @classmethod
    def gather(cls, text: Any, text_pair: Any, pre_split: bool) -> "Inputs":
        """Tell single samples, batches and lists of pairs apart.

        Raises:
            ValueError: The two arguments do not fit together.
        """
        if not isinstance(text, (str, list, tuple)):
            raise ValueError(f"expected a text or a list of texts, got {type(text).__name__}")
        if pre_split:
            batched = bool(text) and isinstance(text[0], (list, tuple))
        else:
            batched = not isinstance(text, str)
        if not batched:
            second = None if text_pair is None else [text_pair]
            return cls([text], second, batched=False, pre_split=pre_split)
        first = list(text)
        if text_pair is None:
            if not pre_split and first and isinstance(first[0], (list, tuple)):
                return cls(*_unzip_pairs(first), batched=True, pre_split=False)
            return cls(first, None, batched=True, pre_split=pre_split)
        if isinstance(text_pair, str) or len(text_pair) != len(first):
            given = "one text" if isinstance(text_pair, str) else f"{len(text_pair)} texts"
            raise ValueError(f"text_pair: expected one text for each of {len(first)}, got {given}")
        return cls(first, list(text_pair), batched=True, pre_split=pre_split)


def _unzip_pairs(pairs: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Turn [(a, b), ...] into two lists."""
    for number, pair in enumerate(pairs):
        if len(pair) != 2 or isinstance(pair, str):
            raise ValueError(
                f"sample {number}: expected a pair of texts, got {len(pair)} items; "
                f"for lists of words give is_split_into_words=True"
            )
    return [first for first, _ in pairs], [second for _, second in pairs]
