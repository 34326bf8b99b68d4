"""Which tokens make up a word, in every script: what whole-word masking hides together.

In scripts with spaces a word is what stands between two of them, as for sentencepiece; WordPiece
parts punctuation too, and marks what goes on with "##". Pieces do not always say so: ERNIE-M's
tokenizer cuts "▁2024" and drops the "▁", so the text is asked where it has another number of words
than the pieces say. Chinese, Japanese, Thai, Lao, Khmer
and Burmese have no spaces; there a segmenter knows the words, and where a token holds the end of
one word and the beginning of the next, both are one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.pretraining.masking import Flags, MaskingVocabulary
from paddlenlp_ext.pretraining.words import RUNS, Script, script_of
from paddlenlp_ext.tokenizers.base import Tokenizer

RUN = re.compile("|".join(pattern.pattern for pattern, _ in RUNS))
SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], np.uint32)
SEPARATOR = "\n"  # between texts that are looked at together: a space, so that a word begins

Segmenter = Callable[[str], Sequence[str]]  # cuts characters that adjoin into words


class Tokens(NamedTuple):
    """The tokens of a text, without special ones.

    Attributes:
        ids: As lists, so that they can be framed by the tokenizer.
        continues: Whether each goes on with the word of the token before.
    """

    ids: list[int]
    continues: list[bool]


def words_by_icu(text: str) -> list[str]:
    """Cut a text into words by ICU's dictionaries, which it takes by the characters."""
    from icu4py.breakers import WordBreaker

    # The words themselves: ICU's places count UTF-16 units.
    return list(WordBreaker(text, "en"))


def icu_version() -> str:
    """Return the version of ICU, which decides where words end.

    Raises:
        UserError: It is not installed.
    """
    try:
        from icu4py import icu_version as version
    except ImportError as error:
        raise UserError(
            f"`segment_words`: needs ICU ({error}): pip install 'paddlenlp-ext[words]'"
        ) from error
    return str(version)


@dataclass(frozen=True)
class WordFinder:
    """Tokenizes texts, and says which tokens go on with a word.

    Attributes:
        tokenizer: The model's.
        vocabulary: Its pieces.
        segmenter: Cuts scripts without spaces. None: spaces in them part words if there are any,
            else each token stands alone.
    """

    tokenizer: Tokenizer
    vocabulary: MaskingVocabulary
    segmenter: Segmenter | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer, segmenter: Segmenter | None = None) -> "WordFinder":
        """Ask a tokenizer for its pieces."""
        return cls(tokenizer, MaskingVocabulary.of(tokenizer), segmenter)

    def tokenize(self, texts: Sequence[str]) -> tuple[list[Tokens], Script]:
        """Cut texts into tokens.

        Args:
            texts: Of one language: whether spaces part the words of all is seen in all of them.

        Returns:
            The tokens of each, and how their words are parted: `unparted` characters stand in no
            word that is known.
        """
        script = script_of(texts)
        if self.segmenter is not None:
            script = script._replace(unparted=0)
        found: list[Tokens | None] = [None] * len(texts)
        spaced = [place for place, text in enumerate(texts) if not RUN.search(text)]
        for place, tokens in zip(
            spaced, self._by_pieces([texts[at] for at in spaced]), strict=True
        ):
            found[place] = tokens
        others = [place for place, tokens in enumerate(found) if tokens is None]
        by_text = self._by_text([texts[at] for at in others], alone=script.unparted > 0)
        for place, tokens in zip(others, by_text, strict=True):
            found[place] = tokens
        return [tokens for tokens in found if tokens is not None], script

    def _by_pieces(self, texts: list[str]) -> list[Tokens | None]:
        """Tokenize texts of scripts with spaces; None where the pieces miss where a word begins."""
        if not texts:
            return []
        rows: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        found: list[Tokens | None] = []
        for text, ids in zip(texts, rows, strict=True):
            continues = [*map(self._continuing.__getitem__, ids)]
            known = not self.vocabulary.marks_starts or continues.count(False) == len(text.split())
            found.append(Tokens(ids, continues) if known else None)
        return found

    @cached_property
    def _continuing(self) -> list[bool]:
        found: list[bool] = self.vocabulary.continues.tolist()
        return found

    def _by_text(self, texts: list[str], *, alone: bool) -> list[Tokens]:
        """Tokenize texts, and look at where in them each token stands."""
        if not texts:
            return []
        encoded = self.tokenizer(
            texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        continues = self._continues(texts, ids, offsets, alone=alone).tolist()
        tokens, at = [], 0
        for one in ids:
            tokens.append(Tokens(one, continues[at : at + len(one)]))
            at += len(one)
        return tokens

    def _continues(
        self,
        texts: Sequence[str],
        ids: Sequence[Sequence[int]],
        offsets: Sequence[Sequence[tuple[int, int]]],
        *,
        alone: bool,
    ) -> Flags:
        """Say which tokens go on with a word, of all texts one behind the other; bool [T]."""
        joined = SEPARATOR.join(["", *texts])
        begins, unspaced, after_space = self._characters(joined, alone)
        bases = np.cumsum([1, *(len(text) + 1 for text in texts[:-1])])
        counts = [len(one) for one in ids]
        starts = np.array([start for places in offsets for start, _ in places], np.int64)
        # Where a token's own characters begin: some have the space before them, some are a space.
        places = after_space[starts + np.repeat(bases, counts)]
        numbers = np.array([number for one in ids for number in one], np.int64)
        continues = self.vocabulary.continues[numbers]
        if self.vocabulary.marks_starts:
            continues = continues & ~begins[places]
        else:
            continues = np.where(unspaced[places], ~begins[places], continues)
        # What a character became, or a space and what follows it, is one word.
        continues[1:] |= places[1:] == places[:-1]
        return continues & ~self.vocabulary.special[numbers]

    def _characters(self, text: str, alone: bool) -> tuple[Flags, Flags, np.ndarray]:
        """Look at each character of a text.

        Args:
            text: It begins with a space.
            alone: Whether each character of a script without spaces is a word.

        Returns:
            Whether a word begins there, and whether the script has no spaces, bool [T]; the place
            of the first character from there on that is no space, int64 [T + 1].
        """
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        spaces = np.isin(codes, SPACES)
        begins = np.zeros(len(codes) + 1, bool)
        begins[1:-1] = spaces[:-1] & ~spaces[1:]
        unspaced = np.zeros(len(codes) + 1, bool)
        for run in RUN.finditer(text):
            start, stop = run.span()
            unspaced[start:stop] = True
            begins[[start, stop]] = True
            if alone:
                begins[start:stop] = True
            elif self.segmenter is not None and stop - start > 1:
                lengths = [len(word) for word in self.segmenter(run.group())]
                begins[start + np.cumsum(lengths[:-1], dtype=np.int64)] = True
        places = np.arange(len(codes) + 1)
        places[:-1][spaces] = len(codes)
        return begins, unspaced, np.minimum.accumulate(places[::-1])[::-1]
