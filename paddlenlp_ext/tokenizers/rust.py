"""Segmentation by the `tokenizers` library, whose core is written in Rust."""

import re
from typing import Any

import tokenizers

from paddlenlp_ext.tokenizers.rows import Segments

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def segment(
    backend: tokenizers.Tokenizer, texts: list[Any], pre_split: bool, spans: bool
) -> Segments:
    """Cut texts, or lists of words, into pieces without special tokens.

    Args:
        backend: What cuts.
        texts: Texts, or lists of words if `pre_split`.
        pre_split: Whether words are given.
        spans: Whether offsets and word numbers are needed; without them it is faster.
    """
    encode = backend.encode_batch if spans else backend.encode_batch_fast
    try:
        encodings = encode(texts, is_pretokenized=pre_split, add_special_tokens=False)
    except TypeError:  # a text is no text, or cannot be written in UTF-8
        texts = [printable(text, number) for number, text in enumerate(texts)]
        encodings = encode(texts, is_pretokenized=pre_split, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    if not spans:
        return Segments(ids)
    return Segments(
        ids,
        [encoding.offsets for encoding in encodings],
        [encoding.word_ids for encoding in encodings],
    )


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
