"""What the sentencepiece library does not tell about a model: its kind and the kinds of its pieces.

A `.model` file is a protocol buffer (sentencepiece_model.proto of the sentencepiece project). Two
of its fields are needed, which does not justify the protobuf package.
"""

from collections.abc import Iterator
from typing import NamedTuple

UNIGRAM = 1  # TrainerSpec.ModelType
NORMAL, USER_DEFINED = 1, 4  # ModelProto.SentencePiece.Type


class ModelKinds(NamedTuple):
    """Kinds of a model and its pieces.

    Args:
        model: The algorithm, as a number of TrainerSpec.ModelType.
        pieces: The kind of each piece that is not an ordinary one, by id.
    """

    model: int
    pieces: dict[int, int]


def read_kinds(serialized: bytes) -> ModelKinds:
    """Read the kinds from a serialized ModelProto."""
    model, pieces, count = UNIGRAM, {}, 0  # absent fields mean: Unigram, NORMAL
    for number, value in _fields(serialized):
        if number == 1 and isinstance(value, bytes):  # a SentencePiece
            # The kind (field 3) is written last; of 250,000 pieces five have one.
            if value[-2:-1] == b"\x18":
                kind = dict(_fields(value)).get(3, NORMAL)
                if isinstance(kind, int) and kind != NORMAL:
                    pieces[count] = kind
            count += 1
        elif number == 2 and isinstance(value, bytes):  # the TrainerSpec
            kind = dict(_fields(value)).get(3, UNIGRAM)
            model = kind if isinstance(kind, int) else UNIGRAM
    return ModelKinds(model, pieces)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """List the fields of a message: their numbers, and numbers or bytes as values."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire_type = key & 7
        if wire_type == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        # 1 and 5 are numbers of eight and four bytes; 2 begins with its length.
        length, place = (8, place) if wire_type == 1 else (4, place)
        if wire_type == 2:
            length, place = _varint(data, place)
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; give it and the place behind it."""
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
