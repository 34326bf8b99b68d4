"""The texts of a call, told apart and made fit for the libraries that cut them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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


def printable(text: Any, number: int) -> Any:
    """Replace lone surrogates, which no encoding can write, by U+FFFD; lengths stay.

    Raises:
        ValueError: It is neither a text nor a list of words.
    """
    if isinstance(text, str):
        return _LONE_SURROGATE.sub("\ufffd", text)
    if isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text):
        return [printable(word, number) for word in text]
    raise ValueError(f"text {number} is no string, got {type(text).__name__}: {text!r:.80}")


def encodable(texts: list[Any]) -> list[str]:
    """Give texts that can be written in UTF-8, which is what the libraries work on.

    Raises:
        ValueError: One is no text.
    """
    try:
        "".join(texts).encode()
    except (TypeError, UnicodeEncodeError):
        return [printable(text, number) for number, text in enumerate(texts)]
    return texts
