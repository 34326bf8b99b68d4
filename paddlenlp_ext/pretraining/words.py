"""Where words begin, of texts whose script puts no space between them, too.

A vocabulary knows the pieces of a word where spaces part words. Chinese, Japanese, Thai and their
neighbours are written without; WordPiece then cuts Chinese into characters, and for sentencepiece
a whole clause is a word. Whole words are known in such texts only if the corpus has spaces between
them, as a segmenter (jieba, MeCab, PyThaiNLP) puts them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from paddlenlp_ext.pretraining.masking import CONTINUATION, WORD_START, Flags

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3005\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
SOUTHEAST_ASIAN = "\u0e01-\u0eff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3\u1950-\u1aad"
# Characters that follow one another, and how many at most a word has on average; a clause has more.
RUNS = ((re.compile(f"[{HAN}{KANA}]+"), 4), (re.compile(f"[{SOUTHEAST_ASIAN}]+"), 10))
UNSPACED = re.compile(f"[{HAN}{KANA}{SOUTHEAST_ASIAN}]")


class Script(NamedTuple):
    """How the words of some texts are parted.

    Attributes:
        characters: Of all texts, without white space.
        unparted: Of these, in scripts without spaces, and no spaces were put in.
        unspaced: Of these, in such scripts, with spaces or without.
    """

    characters: int
    unparted: int
    unspaced: int


def script_of(texts: Sequence[str]) -> Script:
    """Count the characters of texts by what parts their words."""
    characters = sum(len(part) for text in texts for part in text.split())
    unparted = unspaced = 0
    for run, longest in RUNS:
        lengths = [len(found) for text in texts for found in run.findall(text)]
        unspaced += sum(lengths)
        if sum(lengths) > longest * len(lengths):
            unparted += sum(lengths)
    return Script(characters, unparted, unspaced)


def adjoining(
    texts: Sequence[str], offsets: Sequence[Sequence[tuple[int, int]]], *, parted: bool
) -> tuple[Flags, Flags]:
    """Find tokens of scripts without spaces.

    Args:
        texts: Sentences.
        offsets: Of the tokens of each.
        parted: Whether words are parted by spaces all the same.

    Returns:
        Of all tokens one after another: which continue a word, since they and the token before are
        of such a script and adjoin; and which are of such a script; bool [T] each.
    """
    joined, unspaced = [], []
    for text, places in zip(texts, offsets, strict=True):
        before = None
        for start, end in places:
            is_unspaced = bool(UNSPACED.match(text, start, end))
            joined.append(parted and is_unspaced and before == start)
            unspaced.append(is_unspaced)
            before = end if is_unspaced else None
    return np.array(joined, bool), np.array(unspaced, bool)


def unspaced_tokens(tokens: Sequence[str]) -> Flags:
    """Say which tokens of a vocabulary are of such a script; bool [V]."""
    pieces = (token.removeprefix(CONTINUATION).removeprefix(WORD_START) for token in tokens)
    return np.array([bool(UNSPACED.match(piece)) for piece in pieces], bool)
