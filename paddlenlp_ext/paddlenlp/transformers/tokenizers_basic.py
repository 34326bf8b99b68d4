"""The steps of a WordPiece tokenizer one by one, as in PaddleNLP, by the `tokenizers` library.

`BertTokenizer` makes both at once; these are for programs that make one of them alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from tokenizers import models, normalizers, pre_tokenizers

_SPACES = frozenset(" \t\n\r")


class BasicTokenizer:
    """Cuts text into words: at spaces, at punctuation and around Chinese characters.

    Args:
        do_lower_case: Whether text is lower-cased.
        never_split: Words that stay as they are.
        tokenize_chinese_chars: Whether each Chinese character is a word.
        strip_accents: Whether accents are dropped; None is as `do_lower_case`.
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Iterable[str] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.never_split = set(never_split or ())
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self._clean = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=tokenize_chinese_chars,
            strip_accents=False,
            lowercase=False,
        )
        self._normalize = normalizers.BertNormalizer(
            clean_text=False,
            handle_chinese_chars=False,
            strip_accents=strip_accents,
            lowercase=do_lower_case,
        )
        self._cut = pre_tokenizers.BertPreTokenizer()

    def tokenize(self, text: str, never_split: Iterable[str] | None = None) -> list[str]:
        """Cut a text into words.

        Args:
            text: The text.
            never_split: Further words that stay as they are.
        """
        kept = self.never_split.union(never_split or ())
        words: list[str] = []
        for word in self._clean.normalize_str(text).split():
            if word in kept:
                words.append(word)
            else:
                cut = self._cut.pre_tokenize_str(self._normalize.normalize_str(word))
                words += [part for part, _ in cut]
        return words


class WordpieceTokenizer:
    """Cuts words into the longest pieces of a vocabulary.

    Args:
        vocab: The ids of the pieces: a mapping, or an object with such a `token_to_idx`.
        unk_token: Stands for words that the vocabulary cannot spell.
        max_input_chars_per_word: Longer words become the unknown token.
    """

    def __init__(
        self, vocab: Mapping[str, int], unk_token: str, max_input_chars_per_word: int = 100
    ) -> None:
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word
        ids = dict(getattr(vocab, "token_to_idx", vocab))
        ids.setdefault(unk_token, max(ids.values(), default=-1) + 1)
        self._model = models.WordPiece(
            ids, unk_token=unk_token, max_input_chars_per_word=max_input_chars_per_word
        )

    def tokenize(self, text: str) -> list[str]:
        """Cut a text, whose words stand between spaces, into pieces."""
        return [token.value for word in text.split() for token in self._model.tokenize(word)]


def whitespace_tokenize(text: str) -> list[str]:
    """Cut a text at white space."""
    return text.split()


def convert_to_unicode(text: str | bytes) -> str:
    """Return text as a string; bytes are UTF-8, and what is no UTF-8 is left out."""
    return text.decode("utf-8", "ignore") if isinstance(text, bytes) else text


def is_whitespace(character: str) -> bool:
    """Return whether BERT takes a character for white space."""
    return character in _SPACES or unicodedata.category(character) == "Zs"


def is_control(character: str) -> bool:
    """Return whether BERT drops a character as a control character."""
    return character not in _SPACES and unicodedata.category(character)[0] == "C"


def is_punctuation(character: str) -> bool:
    """Return whether BERT takes a character for punctuation: all signs of ASCII are."""
    sign = character.isascii() and character.isprintable() and not character.isalnum()
    return (sign and character != " ") or unicodedata.category(character)[0] == "P"


_is_whitespace, _is_control, _is_punctuation = is_whitespace, is_control, is_punctuation  # there
