"""What a caller asked of a tokenizer, checked once and brought into one form."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

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
