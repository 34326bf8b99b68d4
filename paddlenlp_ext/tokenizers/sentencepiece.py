"""Segmentation by a sentencepiece model, with the way back to the characters of the text.

A text is cut at special and added tokens first, in Python; what lies between goes to the library,
all texts of a batch in one call. Without offsets its C++ core returns bare ids and does nearly
all the work.

sentencepiece cuts not the text itself but its normalized form: NFKC, one "▁" for each run of
spaces and one at the beginning. It knows from which character each normalized one comes; the
pieces, put together, are the normalized text. So places add up, and nothing is searched.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_file, replacing
from paddlenlp_ext.tokenizers.encoding import Span
from paddlenlp_ext.tokenizers.segmentation import (
    MAX_VOCABULARY,
    Segments,
    Vocabulary,
    closed_up,
    encodable,
    printable,
)
from paddlenlp_ext.tokenizers.special_tokens import SpecialTokens

FEW = 32  # texts for which it does not pay to start the library's threads
SPACE = "▁"  # U+2581, what a space becomes
_SPACES = re.compile(r"\s*")
UNIGRAM = 1  # TrainerSpec.ModelType in sentencepiece_model.proto


class Piece(NamedTuple):
    """A piece of normalized text.

    Args:
        id: Its id, None for a piece that becomes no token.
        length: Its characters in the normalized text; 0 for all but the last byte of a character
            that the vocabulary can only spell in bytes.
        text: The piece itself, of an unknown one too.
    """

    id: int | None
    length: int
    text: str


class Part(NamedTuple):
    """A stretch of a text.

    Args:
        text: The stretch, lower-cased if the tokenizer does so.
        origins: The place of each of its characters in the text; then where the last one ends.
        id: The id of the special or added token that it is; None for other text.
    """

    text: str
    origins: Sequence[int]
    id: int | None


class SentencePiece:
    """Pieces of a sentencepiece model.

    Args:
        model_file: The model.
        do_lower_case: Whether text is lower-cased, character by character.

    Raises:
        UserError: The model cannot be read.
    """

    def __init__(self, model_file: str | Path, do_lower_case: bool) -> None:
        self.model = read_model(model_file)
        self.vocabulary = Vocabulary(self.model.id_to_piece([*range(self.model.get_piece_size())]))
        self.do_lower_case = do_lower_case

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Turn stretches of text into ids."""
        if len(texts) < FEW:
            return [self.model.encode(text, out_type=int) for text in texts]
        ids: list[list[int]] = self.model.encode(texts, out_type=int)
        return ids

    def pieces(self, text: str) -> list[Piece]:
        """Turn a stretch of text into the pieces that make up its normalized form."""
        return measured(self.model, text)

    def join_pieces(self, pieces: list[str]) -> str:
        """Join pieces of one stretch of text."""
        return str(self.model.decode_pieces(pieces))

    def join(self, tokens: list[str], clean: bool | None = None) -> str:
        """Join pieces, with spaces around special and added tokens; see `Segmenter`."""
        texts = [
            " ".join(run) if added else self.join_pieces([*run])
            for added, run in groupby(tokens, key=self._special.added_tokens_encoder.__contains__)
        ]
        text = " ".join(texts)
        return closed_up(text) if clean else text

    def save(self, path: Path) -> Path:
        """Write the model; return the path."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.model.serialized_model_proto())
        return path

    def keep_whole(self, new: Sequence[AddedToken], special: SpecialTokens) -> None:
        """Find these tokens in texts before anything else from now on."""
        self._special = special
        added = sorted(special.added_tokens_decoder.items(), key=lambda item: -len(item[1].content))
        patterns = [_pattern(token, self.do_lower_case) for _, token in added]
        # Which one is found is looked up: with a group for each, thousands of them take minutes.
        self._added = re.compile("|".join(patterns))
        self._added_by_form: dict[str, list[tuple[str, int, AddedToken]]] = {}
        for pattern, (number, token) in zip(patterns, added, strict=True):
            alike = self._added_by_form.setdefault("".join(_lower(token.content)), [])
            alike.append((pattern, number, token))

    def segment(self, texts: list[Any], pre_split: bool, spans: bool) -> Segments:
        """Cut texts into pieces; see `Segmenter`."""
        if pre_split:
            return self._segment_words(texts, spans)
        texts = encodable(texts)
        if not (spans or self.do_lower_case or any(map(self._added.search, texts))):
            return Segments(self.encode(texts))
        parts = [self._parts(text) for text in texts]
        if spans:
            return self._with_spans(parts)
        encoded = iter(self.encode([p.text for row in parts for p in row if p.id is None]))
        return Segments(
            [
                [number for p in row for number in (next(encoded) if p.id is None else [p.id])]
                for row in parts
            ]
        )

    def _segment_words(self, texts: list[Any], spans: bool) -> Segments:
        """Segment each word alone, and put the words of a text together."""
        texts = [printable(text, number) for number, text in enumerate(texts)]
        words = self.segment([word for text in texts for word in text], False, spans)
        ends = [0]
        for text in texts:
            ends.append(ends[-1] + len(text))
        rows = [range(start, stop) for start, stop in pairwise(ends)]

        def joined(values: Sequence[list[Any]]) -> list[list[Any]]:
            return [[value for word in row for value in values[word]] for row in rows]

        if not spans:
            return Segments(joined(words.ids))
        numbers = [[word - row.start for word in row for _ in words.ids[word]] for row in rows]
        return Segments(
            joined(words.ids), joined(words.offsets), numbers, lambda: joined(words.tokens())
        )

    def _parts(self, text: str) -> list[Part]:
        """Cut a text at special and added tokens."""
        parts, start = [], 0
        while match := self._added.search(text, start):
            number, token = self._added_token(match)
            first, last = match.span()
            # The spaces that a token takes in are looked for only where it is: a pattern that
            # begins with them is tried at each space of a run, to the end of the run.
            before = text[start:first]
            if before := before.rstrip() if token.lstrip else before:
                parts.append(self._plain_part(text, start, start + len(before)))
            parts.append(Part(text[first:last], range(first, last + 1), number))
            start = last
            if token.rstrip and (spaces := _SPACES.match(text, last)):
                start = spaces.end()
        if start < len(text):
            parts.append(self._plain_part(text, start, len(text)))
        return parts

    def _added_token(self, match: re.Match[str]) -> tuple[int, AddedToken]:
        """Return the token that was found, and its id: the first that is found just there."""
        *alike, last = self._added_by_form["".join(_lower(match[0]))]
        for pattern, number, token in alike:
            found = re.compile(pattern).match(match.string, match.start())
            if found and found.end() == match.end():
                return number, token
        return last[1:]

    def _plain_part(self, text: str, start: int, stop: int) -> Part:
        part = text[start:stop]
        if not self.do_lower_case:
            return Part(part, range(start, stop + 1), None)
        lower = _lower(part)
        origins = [start + place for place, letters in enumerate(lower) for _ in letters]
        return Part("".join(lower), [*origins, stop], None)

    def _with_spans(self, rows: list[list[Part]]) -> Segments:
        ids: list[list[int]] = []
        offsets: list[list[Span]] = []
        word_ids: list[list[int]] = []
        tokens: list[list[str]] = []
        for parts in rows:
            pieces: list[int] = []
            texts: list[str] = []
            spans: list[Span] = []
            words: list[int] = []
            for text, origins, number in parts:
                word = words[-1] + 1 if words else 0
                if number is not None:
                    pieces.append(number)
                    texts.append(str(self._special.added_tokens_decoder[number].content))
                    spans.append((origins[0], origins[-1]))
                    words.append(word)
                    continue
                normal, places = self.model.normalize(text, with_offsets=True)
                found = self.pieces(text)
                pieces += [piece.id for piece in found if piece.id is not None]
                texts += [piece.text for piece in found if piece.id is not None]
                found_spans, numbers = piece_spans(found, normal, [origins[p] for p in places])
                spans += found_spans
                words += [word + number for number in numbers]
            ids.append(pieces)
            offsets.append(spans)
            word_ids.append(words)
            tokens.append(texts)
        return Segments(ids, offsets, word_ids, lambda: tokens)


def read_model(path: str | Path) -> sentencepiece.SentencePieceProcessor:
    """Read a sentencepiece model.

    Raises:
        UserError: It cannot be read.
    """
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.load_from_serialized_proto(read_file(Path(path), MAX_VOCABULARY))
    except RuntimeError as error:
        raise UserError(f"{path}: expected a sentencepiece model: {error}") from error
    return model


def measured(model: sentencepiece.SentencePieceProcessor, text: str) -> list[Piece]:
    """Cut a text, and count the normalized characters that each piece stands for."""
    pieces = []
    missing = 0  # bytes that the current character still lacks
    for piece, number in zip(
        model.encode(text, out_type=str), model.encode(text, out_type=int), strict=True
    ):
        if not model.is_byte(number):
            pieces.append(Piece(number, len(piece), piece))
            continue
        if not missing:
            missing = utf8_length(int(piece[3:-1], 16))  # from "<0xE4>"
        missing -= 1
        pieces.append(Piece(number, 0 if missing else 1, piece))
    return pieces


def utf8_length(first: int) -> int:
    """Return how many bytes a character has, from the first of them."""
    if first < 0x80:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _pattern(token: AddedToken, lower: bool) -> str:
    """Write how a token is found."""
    if lower and token.normalized and not token.special:
        # Not re.IGNORECASE, for which "İ" is an "i" too.
        inner = "".join(_caseless(letter) for letter in token.content)
    else:
        inner = re.escape(token.content)
    return rf"(?<!\w){inner}(?!\w)" if token.single_word else inner


def _lower(text: str) -> list[str]:
    """Lower-case each character alone, as transformers and PaddleNLP do: a final sigma is "σ"."""
    return [character.lower() for character in text]


def _caseless(letter: str) -> str:
    """Write a letter so that it is found in upper and lower case."""
    forms = {letter, letter.lower(), letter.upper()}
    same = sorted(form for form in forms if form.lower() == letter.lower())
    return f"(?:{'|'.join(map(re.escape, same))})"


def piece_spans(
    pieces: Iterable[Piece], normal: str, origins: Sequence[int]
) -> tuple[list[Span], list[int]]:
    """Find the characters and the word of each token.

    Args:
        pieces: What the normalized text was cut into.
        normal: The normalized text.
        origins: For each of its characters the place in the text that it comes from; then where
            the last one ends.

    Returns:
        First and one past last character of each token, the spaces before it apart; and the number
        of its word, where words begin at spaces.
    """
    spans, words = [], []
    word, place = -1, 0
    for number, length, _ in pieces:
        if length and (place == 0 or normal[place] == SPACE):
            word += 1
        if number is not None:
            spans.append(_span(place, length, normal, origins))
            words.append(max(word, 0))
        place += length
    return spans, words


def _span(place: int, length: int, normal: str, origins: Sequence[int]) -> Span:
    if length == 1 and normal[place] == SPACE:
        # A space of the text, or the one that stands before every text and has no width.
        return origins[place], origins[place + 1]
    last = place + max(length, 1) - 1
    first = place + 1 if normal[place] == SPACE else place
    # Several normalized characters may come from one ("½" is "1⁄2"): each then covers it.
    after = last + 1
    while after < len(origins) - 1 and origins[after] <= origins[last]:
        after += 1
    return origins[first], origins[after]


def unigram(
    model: sentencepiece.SentencePieceProcessor,
    pieces: list[tuple[str, float]],
    unknown: int,
    spaces: Sequence[normalizers.Normalizer],
    *,
    in_bytes: bool = False,
) -> tokenizers.Tokenizer:
    """Convert a Unigram model into a tokenizer of the `tokenizers` library.

    The steps are those of sentencepiece: its table of character replacements (NFKC and more),
    single spaces, "▁" before every word, the best pieces by the sum of their scores. Two things
    cannot be carried over: replacements of long sequences of combining characters, and which of two
    equally good ways to cut a text is taken ("....." as "..." and "..", or the other way round).

    Args:
        model: The sentencepiece model.
        pieces: Its pieces with their scores, in the order of their ids.
        unknown: Id of the unknown token.
        spaces: What is done to spaces once characters are replaced.
        in_bytes: Whether unknown characters are spelled in bytes.

    Raises:
        UserError: It is a model of another kind than Unigram.
    """
    # The library gives everything of a model but its kind and its table of replacements.
    parts = dict(_fields(model.serialized_model_proto()))
    trainer, normalizer = dict(_fields(parts[2])), dict(_fields(parts[3]))
    if trainer.get(3, UNIGRAM) != UNIGRAM:
        raise UserError(
            f"expected a sentencepiece model of type {UNIGRAM} (Unigram), got one of type "
            f"{trainer[3]}, which cannot be converted to the library tokenizers; use a tokenizer "
            "class that runs on sentencepiece, such as RemBertTokenizer"
        )
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unknown, in_bytes))
    table = [normalizers.Precompiled(normalizer[2])] if normalizer.get(2) else []
    backend.normalizer = normalizers.Sequence([*table, *spaces])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    backend.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    return backend


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
    """Read a number of seven bits a byte; return it and the place behind it."""
    number = shift = 0
    while True:
        byte = message[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
