"""Rows of sentences and of pairs of sentences in several languages, for pretraining.

Special tokens stand where the tokenizer puts them: RemBERT's pair is `[CLS] a [SEP] b [SEP]`,
ERNIE-M's and XLM-R's has two separators in the middle. Masks are made when rows are read.
"""

from collections.abc import Sequence

import numpy as np

from paddlenlp_ext.pretraining.hdf5 import Column, Columns, Layout
from paddlenlp_ext.pretraining.shard_set import Check
from paddlenlp_ext.pretraining.whole_words import Tokens
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.truncation import Truncation

LAYOUT: Layout = {
    "input_ids": Column("int32", "tokens"),  # with special tokens, then zeros
    "length": Column("int32"),  # tokens of the row
    "first_length": Column("int32"),  # of these, `[CLS] a [SEP]`; all of them in a single sentence
    "continues": Column("uint8", "tokens"),  # 1: goes on with the word of the token before
    "language": Column("int32"),  # of the first sentence: its place in the attribute `languages`
    "second_language": Column("int32"),  # likewise
}

# What a file says of itself.
LANGUAGES = "languages"  # "ar,de,en": those of all files of a folder
SOURCE = "source"  # the language or the pair of its rows: "en", "en-de"
WORDS = "words"  # what cut scripts without spaces into words: "icu 78.3"; empty: nothing
NO_LANGUAGE = -1  # of a second sentence that is not there


def sentence_rows(
    sentences: Sequence[Tokens], tokenizer: Tokenizer, width: int, language: int
) -> Columns:
    """Put sentences into rows of their own.

    Args:
        sentences: None longer than a row has room for.
        tokenizer: Frames them with special tokens.
        width: Tokens of a row.
        language: Of all of them.
    """
    return _columns(sentences, None, tokenizer, width, (language, NO_LANGUAGE))


def pair_rows(
    firsts: Sequence[Tokens],
    seconds: Sequence[Tokens],
    tokenizer: Tokenizer,
    width: int,
    languages: tuple[int, int],
) -> Columns:
    """Put pairs of sentences into rows.

    Args:
        firsts: First sentences.
        seconds: As many second ones; a pair that is too long is cut as the tokenizer cuts pairs,
            the longer sentence first.
        tokenizer: Frames them with special tokens.
        width: Tokens of a row.
        languages: Of the first sentences and of the second ones.
    """
    room = width - tokenizer.num_special_tokens_to_add(pair=True)
    cut = Truncation("longest_first", room, 0, "right", False, tokenizer.odd_token)
    firsts, seconds = list(firsts), list(seconds)
    for number, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        if len(first.ids) + len(second.ids) > room:
            _, a, b, c, d = cut.rows(0, len(first.ids), len(second.ids))[0]
            firsts[number] = Tokens(first.ids[a:b], first.continues[a:b])
            seconds[number] = Tokens(second.ids[c:d], second.continues[c:d])
    return _columns(firsts, seconds, tokenizer, width, languages)


def _columns(
    firsts: Sequence[Tokens],
    seconds: Sequence[Tokens] | None,
    tokenizer: Tokenizer,
    width: int,
    languages: tuple[int, int],
) -> Columns:
    frame, ends = tokenizer.assembly.frame, (tokenizer.cls_token_id, tokenizer.sep_token_id)
    count = len(firsts)
    columns = {
        name: np.zeros((count, width) if axis else count, dtype)
        for name, (dtype, axis) in LAYOUT.items()
    }
    columns["language"][:], columns["second_language"][:] = languages
    for row, first in enumerate(firsts):
        second = None if seconds is None else seconds[row]
        ids = frame(first.ids, None if second is None else second.ids, *ends)
        flags = frame(first.continues, None if second is None else second.continues, False, False)
        columns["input_ids"][row, : len(ids)] = ids
        columns["continues"][row, : len(ids)] = flags
        columns["length"][row] = len(ids)
        columns["first_length"][row] = 2 + len(first.ids)
    return columns


def check_rows(vocab_size: int, num_languages: int) -> Check:
    """Make the check of rows for a model with so many tokens, of so many languages."""

    def check(columns: Columns) -> tuple[int, str] | None:
        ids, length, first = (columns[name] for name in ("input_ids", "length", "first_length"))
        width = ids.shape[1]
        one, two = columns["language"], columns["second_language"]
        whole = "the languages that the file lists"
        faults = {
            f"input_ids must be from 0 to {vocab_size - 1}, the model's vocabulary": (
                (ids < 0) | (ids >= vocab_size)
            ).any(1),
            f"length must be from 3 to {width}": (length < 3) | (length > width),
            "first_length must be from 3 to length": (first < 3) | (first > length),
            "continues must be 0 or 1": (columns["continues"] > 1).any(1),
            f"language must be from 0 to {num_languages - 1}, {whole}": (
                (one < 0) | (one >= num_languages)
            ),
            f"second_language must be from -1 to {num_languages - 1}, {whole}": (
                (two < NO_LANGUAGE) | (two >= num_languages)
            ),
            "second_language must be -1 in a single sentence, and in no pair": (
                (two == NO_LANGUAGE) != (first == length)
            ),
        }
        found = [(int(bad.argmax()), problem) for problem, bad in faults.items() if bad.any()]
        return min(found, default=None)

    return check
