"""What tokenizers with a sentencepiece model share.

A text is cut at special and added tokens first, in Python; what lies between goes to the library,
all texts of a batch in one call. Without offsets its C++ core returns bare ids and does nearly
all the work.
"""

import re
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.encoding import Span
from paddlenlp_ext.tokenizers.inputs import encodable
from paddlenlp_ext.tokenizers.rows import Segments
from paddlenlp_ext.tokenizers.spans import Piece, piece_spans

FEW = 32  # texts for which it does not pay to start the library's threads


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


class SentencePieceTokenizer(Tokenizer):
    """Base of tokenizers whose pieces come from a sentencepiece model.

    Args:
        model_file: The model.
        do_lower_case: Whether text is lower-cased, character by character.
        **tokens: Special tokens and limits, see `Tokenizer`.

    Raises:
        UserError: The model cannot be read.
    """

    odd_token = "first"

    def __init__(self, model_file: str | Path, do_lower_case: bool, **tokens: Any) -> None:
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
        except (OSError, RuntimeError) as error:
            raise UserError(f"{model_file}: expected a sentencepiece model: {error}") from error
        self.do_lower_case = do_lower_case
        super().__init__(**tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """What the constructor needs besides files and tokens."""
        return {"do_lower_case": self.do_lower_case}

    # What a family may do otherwise.

    def _encode(self, texts: list[str]) -> list[list[int]]:
        """Turn stretches of text into ids."""
        if len(texts) < FEW:
            return [self._model.encode(text, out_type=int) for text in texts]
        ids: list[list[int]] = self._model.encode(texts, out_type=int)
        return ids

    def _pieces(self, text: str) -> list[Piece]:
        """Turn a stretch of text into the pieces that make up its normalized form."""
        return measured(self._model, text)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join pieces, with spaces around special and added tokens."""
        texts = [
            " ".join(run) if added else self._joined([*run])
            for added, run in groupby(tokens, key=self.added_tokens_encoder.__contains__)
        ]
        return " ".join(texts)

    def _joined(self, pieces: list[str]) -> str:
        """Join pieces of one stretch of text."""
        return str(self._model.decode_pieces(pieces))

    def _save_model(self, path: Path) -> Path:
        path.write_bytes(self._model.serialized_model_proto())
        return path

    # The way of a text.

    def _protect(self, tokens: list[AddedToken]) -> None:
        added = sorted(self.added_tokens_decoder.items(), key=lambda item: -len(item[1].content))
        patterns = [_pattern(token, self.do_lower_case) for _, token in added]
        # Most texts hold none of them; where not to look for spaces too, that is found out quickly.
        self._any_added = re.compile("|".join(inner for _, inner, _ in patterns))
        self._added = re.compile("|".join(f"{a}({inner}){b}" for a, inner, b in patterns))
        self._added_ids = [number for number, _ in added]

    def _segment(self, texts: list[Any], pre_split: bool, spans: bool) -> Segments:
        if pre_split:
            return self._segment_words(texts, spans)
        texts = encodable(texts)
        if not (spans or self.do_lower_case or any(map(self._any_added.search, texts))):
            return Segments(self._encode(texts))
        parts = [self._parts(text) for text in texts]
        if spans:
            return self._with_spans(parts)
        encoded = iter(self._encode([p.text for row in parts for p in row if p.id is None]))
        return Segments(
            [
                [number for p in row for number in (next(encoded) if p.id is None else [p.id])]
                for row in parts
            ]
        )

    def _segment_words(self, texts: list[Any], spans: bool) -> Segments:
        """Segment each word alone, and put the words of a text together."""
        words = self._segment([word for text in texts for word in text], False, spans)
        ends = [0]
        for text in texts:
            ends.append(ends[-1] + len(text))
        rows = [range(start, stop) for start, stop in pairwise(ends)]

        def joined(values: Sequence[list[Any]]) -> list[list[Any]]:
            return [[value for word in row for value in values[word]] for row in rows]

        if not spans:
            return Segments(joined(words.ids))
        numbers = [[word - row.start for word in row for _ in words.ids[word]] for row in rows]
        return Segments(joined(words.ids), joined(words.offsets), numbers)

    def _parts(self, text: str) -> list[Part]:
        """Cut a text at special and added tokens."""
        parts, start = [], 0
        for match in self._added.finditer(text):
            if match.start() > start:
                parts.append(self._plain_part(text, start, match.start()))
            group = match.lastindex or 1
            first, last = match.span(group)  # without the spaces that the token takes in
            parts.append(Part(text[first:last], range(first, last + 1), self._added_ids[group - 1]))
            start = match.end()
        if start < len(text):
            parts.append(self._plain_part(text, start, len(text)))
        return parts

    def _plain_part(self, text: str, start: int, stop: int) -> Part:
        part = text[start:stop]
        if not self.do_lower_case:
            return Part(part, range(start, stop + 1), None)
        # By characters, as transformers and PaddleNLP do: a final sigma becomes "σ" everywhere.
        lower = [character.lower() for character in part]
        origins = [start + place for place, letters in enumerate(lower) for _ in letters]
        return Part("".join(lower), [*origins, stop], None)

    def _with_spans(self, rows: list[list[Part]]) -> Segments:
        ids: list[list[int]] = []
        offsets: list[list[Span]] = []
        word_ids: list[list[int]] = []
        for parts in rows:
            pieces: list[int] = []
            spans: list[Span] = []
            words: list[int] = []
            for text, origins, number in parts:
                word = words[-1] + 1 if words else 0
                if number is not None:
                    pieces.append(number)
                    spans.append((origins[0], origins[-1]))
                    words.append(word)
                    continue
                normal, places = self._model.normalize(text, with_offsets=True)
                found = self._pieces(text)
                pieces += [piece.id for piece in found if piece.id is not None]
                found_spans, numbers = piece_spans(found, normal, [origins[p] for p in places])
                spans += found_spans
                words += [word + number for number in numbers]
            ids.append(pieces)
            offsets.append(spans)
            word_ids.append(words)
        return Segments(ids, offsets, word_ids)


def measured(model: sentencepiece.SentencePieceProcessor, text: str) -> list[Piece]:
    """Cut a text, and say how many normalized characters each piece stands for."""
    pieces = []
    missing = 0  # bytes that the current character still lacks
    for piece, number in zip(
        model.encode(text, out_type=str), model.encode(text, out_type=int), strict=True
    ):
        if not model.is_byte(number):
            pieces.append(Piece(number, len(piece)))
            continue
        if not missing:
            missing = utf8_length(int(piece[3:-1], 16))  # from "<0xE4>"
        missing -= 1
        pieces.append(Piece(number, 0 if missing else 1))
    return pieces


def utf8_length(first: int) -> int:
    """Tell from its first byte how many bytes a character has."""
    if first < 0x80:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _pattern(token: AddedToken, lower: bool) -> tuple[str, str, str]:
    """Write how a token is found: spaces that it takes in, itself, spaces again."""
    if lower and token.normalized and not token.special:
        # Not re.IGNORECASE, for which "İ" is an "i" too.
        inner = "".join(_caseless(letter) for letter in token.content)
    else:
        inner = re.escape(token.content)
    if token.single_word:
        inner = rf"(?<!\w){inner}(?!\w)"
    before, after = (r"\s*" if strip else "" for strip in (token.lstrip, token.rstrip))
    return before, inner, after


def _caseless(letter: str) -> str:
    """Write a letter so that it is found in upper and lower case."""
    forms = {letter, letter.lower(), letter.upper()}
    same = sorted(form for form in forms if form.lower() == letter.lower())
    return f"(?:{'|'.join(map(re.escape, same))})"
