"""A sentencepiece model of the Unigram kind as a tokenizer of the `tokenizers` library.

The steps are those of sentencepiece: its table of character replacements (NFKC and more), single
spaces, "▁" before every word, the best pieces by the sum of their scores. Two things cannot be
carried over: replacements of long sequences of combining characters, and which of two equally good
ways to cut a text is taken ("....." as "..." and "..", or the other way round).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.special_tokens import describe

UNIGRAM = 1  # TrainerSpec.ModelType in sentencepiece_model.proto


def convert(
    model: Any, added: Mapping[int, AddedToken], opening: str, closing: str
) -> tokenizers.Tokenizer:
    """Convert a loaded model.

    Args:
        model: The sentencepiece model.
        added: Tokens that are kept whole, by id.
        opening: The token that begins a row.
        closing: The token that ends a segment.

    Raises:
        UserError: It is a model of another kind than Unigram.
    """
    # The library tells everything about a model but its kind and its table of replacements.
    parts = dict(_fields(model.serialized_model_proto()))
    trainer, normalizer = dict(_fields(parts[2])), dict(_fields(parts[3]))
    if trainer.get(3, UNIGRAM) != UNIGRAM:
        raise UserError(
            f"expected a sentencepiece model of type {UNIGRAM} (Unigram), got one of type "
            f"{trainer[3]}; use the tokenizer class without 'Fast'"
        )
    numbers = range(model.get_piece_size())
    pieces = [(model.id_to_piece(number), model.get_score(number)) for number in numbers]
    in_bytes = any(map(model.is_byte, numbers))
    converted = tokenizers.Tokenizer(models.Unigram(pieces, model.unk_id(), in_bytes))
    table = [normalizers.Precompiled(normalizer[2])] if normalizer.get(2) else []
    converted.normalizer = normalizers.Sequence(
        [*table, normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    )
    converted.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    converted.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    # Found before normalization, as in sentencepiece's own way: what lies between is stripped.
    converted.add_tokens(
        [
            AddedToken(**{**describe(token), "normalized": False})
            for _, token in sorted(added.items())
        ]
    )
    converted.post_processor = TemplateProcessing(
        single=f"{opening}:0 $A:0 {closing}:0",
        pair=f"{opening}:0 $A:0 {closing}:0 $B:1 {closing}:1",
        special_tokens=[(token, converted.token_to_id(token)) for token in (opening, closing)],
    )
    return converted


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """List the fields of a protocol buffer: their numbers, and numbers or bytes as values."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        wire_type = key & 7
        if wire_type == 0:
            value, place = _varint(message, place)
        else:
            # 1 and 5 are numbers of eight and four bytes; 2 begins with its length.
            length, place = (4 if wire_type == 5 else 8, place)
            if wire_type == 2:
                length, place = _varint(message, place)
            value = message[place : place + length]
            place += length
        yield key >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; give it and the place behind it."""
    number = shift = 0
    while True:
        byte = message[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
