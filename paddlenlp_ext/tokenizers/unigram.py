"""Segmentation of normalized text by the Unigram model of the `tokenizers` library."""

import re
import sys
from itertools import chain
from typing import Any

import tokenizers
from tokenizers import models

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.model_proto import NORMAL, UNIGRAM, USER_DEFINED, read_kinds
from paddlenlp_ext.tokenizers.spans import SPACE, Piece

REMEMBERED_WORDS = 1 << 18  # some 80 MB
# No text has eight of these noncharacters before the number of a piece.
_UNSPELLABLE = "\ufdd0" * 8
_WORD = re.compile(f"{SPACE}?[^{SPACE}]+|{SPACE}")


class UnigramWords:
    """Cuts normalized text into words at its spaces, and words into pieces.

    The best pieces of a text are those of its words, because a piece has a space at its beginning
    or none; models where that is not so get whole texts. Words are remembered.

    Args:
        model: The loaded sentencepiece model.

    Raises:
        UserError: It is not a Unigram model.
    """

    def __init__(self, model: Any) -> None:
        kinds = read_kinds(model.serialized_model_proto())
        if kinds.model != UNIGRAM:
            raise UserError(
                f"expected a Unigram model, got one of type {kinds.model}; "
                f"use the tokenizer class without 'Fast'"
            )
        size = model.get_piece_size()
        texts = list(map(model.id_to_piece, range(size)))
        scores = list(map(model.get_score, range(size)))
        normal = [score for i, score in enumerate(scores) if kinds.pieces.get(i, NORMAL) == NORMAL]
        # As in sentencepiece: a piece that the user defined beats all others on its text.
        best = max([sys.float_info.min, *normal])
        for number, kind in kinds.pieces.items():
            if kind == USER_DEFINED:
                scores[number] = len(texts[number].encode()) * best - 0.1
            else:  # control symbols and the like are never found in a text
                texts[number], scores[number] = f"{_UNSPELLABLE}{number}", 0.0
        self._unknown: int = model.unk_id()
        self._bytes = [model.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
        if not model.is_byte(self._bytes[0]):
            self._bytes = []
        self._by_words = SPACE in texts and not any(SPACE in text[1:] for text in texts)
        vocabulary = list(zip(texts, scores, strict=True))
        self._backend = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=self._unknown))
        self._known: dict[str, list[int]] = {}

    def encode(self, normals: list[str]) -> list[list[int]]:
        """Give the ids of normalized texts."""
        rows = [_WORD.findall(text) for text in normals] if self._by_words else [*zip(normals)]
        known = self._known
        if len(known) > REMEMBERED_WORDS:
            known.clear()
        new = [word for word in {*chain.from_iterable(rows)} if word not in known]
        for word, encoding in zip(new, self._backend.encode_batch_fast(new), strict=True):
            known[word] = encoding.ids
            if self._bytes and self._unknown in known[word]:
                known[word] = [piece.id for piece in self.pieces(word) if piece.id is not None]
        return [[*chain.from_iterable(map(known.__getitem__, row))] for row in rows]

    def pieces(self, normal: str) -> list[Piece]:
        """Give the pieces of one normalized text."""
        words = _WORD.findall(normal) if self._by_words else [normal]
        return [
            piece
            for word, encoding in zip(words, self._backend.encode_batch(words), strict=True)
            for number, span in zip(encoding.ids, encoding.offsets, strict=True)
            for piece in self._spelled(word[slice(*span)], number)
        ]

    def _spelled(self, text: str, number: int) -> list[Piece]:
        """Spell an unknown piece in bytes, if the model has them."""
        if number != self._unknown or not self._bytes:
            return [Piece(number, len(text))]
        return [
            Piece(self._bytes[byte], int(last == len(letter)))
            for letter in map(str.encode, text)
            for last, byte in enumerate(letter, start=1)
        ]
