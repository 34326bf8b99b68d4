"""ERNIE-M's tokenizer: sentencepiece cuts, a second step cuts on, a vocabulary file has the ids."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from paddlenlp_ext.tokenizers.assembly import Assembly
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.segmentation import Vocabulary
from paddlenlp_ext.tokenizers.sentencepiece import SPACE, Piece, SentencePiece
from paddlenlp_ext.tokenizers.special_tokens import SpecialTokens

# Full-width forms U+FF01 to U+FF5E as ASCII, but for the last one, the tilde.
FOLDED = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5E)}
PUNCTUATION = frozenset(",;:.?!~，；：。？！《》【】")


class ErnieMTokenizer(Tokenizer):
    """Tokenizer of ERNIE-M.

    The sentencepiece model cuts a text, the pieces are cut once more at Chinese characters,
    punctuation and digits, and the ids are the lines of a vocabulary file.

    Args:
        vocab_file: One token a line, the line number is the id.
        sentencepiece_model_file: The model.
        do_lower_case: Whether text is lower-cased.
        drop_lone_space: What becomes of a space that is a piece of its own ("▁"). By default it is
            a token where a piece without a space follows, unless it begins the text, as in
            transformers. True drops it everywhere, as PaddleNLP does, for PaddleNLP's ids.
        **tokens: Special tokens and limits, see `Tokenizer`.

    Raises:
        UserError: A file cannot be read.
    """

    vocab_files = ("vocab.txt", "sentencepiece.bpe.model")
    model_input_names = ("input_ids",)  # the model has no token types
    assembly = Assembly(separators=2, first_type=0)
    odd_token = "first"

    def __init__(
        self,
        vocab_file: str | Path,
        sentencepiece_model_file: str | Path,
        do_lower_case: bool = False,
        *,
        drop_lone_space: bool = False,
        **tokens: Any,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.drop_lone_space = drop_lone_space
        vocabulary = Vocabulary.load(Path(vocab_file))
        self._pieces = PostSplit(
            sentencepiece_model_file, vocabulary, do_lower_case, drop_lone_space
        )
        super().__init__(self._pieces, **tokens)

    def clean_text(self, text: str) -> str:
        """Fold full-width forms to ASCII, but for the tilde, as ERNIE-M's own code does."""
        return text.translate(FOLDED)

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the vocabulary, repeated lines too, and the model."""
        vocabulary, model = (Path(save_directory) / name for name in self.vocab_files)
        self.vocabulary.save(vocabulary)
        return vocabulary, self._pieces.save(model)


class PostSplit(SentencePiece):
    """Pieces of a sentencepiece model, cut once more, with ids of their own.

    Args:
        model_file: The model.
        vocabulary: The ids.
        do_lower_case: Whether text is lower-cased.
        drop_lone_space: Whether a space that is a piece of its own is always dropped.
    """

    def __init__(
        self,
        model_file: str | Path,
        vocabulary: Vocabulary,
        do_lower_case: bool,
        drop_lone_space: bool,
    ) -> None:
        super().__init__(model_file, do_lower_case)
        pieces = self.vocabulary.tokens
        self.vocabulary = vocabulary
        self._drop_lone_space = drop_lone_space
        self._begins_word = {number for number, text in enumerate(pieces) if text[:1] == SPACE}
        # What a model's piece becomes, once it has occurred.
        self._ids_of: dict[int, list[int]] = {}
        self._parts_of: dict[int, list[Piece]] = {}

    def keep_whole(self, new: Sequence[AddedToken], special: SpecialTokens) -> None:
        """Find these tokens in texts before anything else from now on."""
        super().keep_whole(new, special)
        self._ids_of, self._parts_of = {}, {}

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Turn stretches of text into ids."""
        space, unknown = self.model.piece_to_id(SPACE), self.model.unk_id()
        cut, ids_of = super().encode(texts), self._ids_of
        for number in set(chain.from_iterable(cut)).difference(ids_of):
            ids_of[number] = self._cut_piece(number)
        rows = []
        for text, row in zip(texts, cut, strict=True):
            if unknown in row:  # an id from which its text cannot be known
                rows.append([piece.id for piece in self.pieces(text) if piece.id is not None])
                continue
            kept = row[1:] if row[:1] == [space] else row
            if space in kept and self._drop_lone_space:
                kept = [number for number in kept if number != space]
            elif space in kept:
                kept = [
                    number
                    for number, after in zip(kept, [*kept[1:], space], strict=True)
                    if number != space or after not in self._begins_word
                ]
            rows.append([*chain.from_iterable(map(ids_of.__getitem__, kept))])
        return rows

    def _cut_piece(self, number: int) -> list[int]:
        """Return the ids that a piece of the model becomes."""
        parts = self._numbered(self.model.id_to_piece(number))
        # The space alone is dropped before this; where it stays, it is a token.
        return [piece.id for piece in parts if piece.id is not None] or [self._special.id_of(SPACE)]

    def pieces(self, text: str) -> list[Piece]:
        """Turn a stretch of text into the pieces that make up its normalized form."""
        pieces: list[Piece] = []
        cut = self._cut(text)
        for place, parts in enumerate(cut):
            if len(parts) > 1 or parts[0].text != SPACE:
                pieces += parts
                continue
            before_word = all(next[0].text.startswith(SPACE) for next in cut[place + 1 : place + 2])
            dropped = self._drop_lone_space or place == 0 or before_word
            pieces.append(Piece(None if dropped else self._special.id_of(SPACE), 1, SPACE))
        return pieces

    def _cut(self, text: str) -> list[list[Piece]]:
        """Cut a text into pieces of the model, and each of these once more."""
        numbers, parts_of = self.model.encode(text, out_type=int), self._parts_of
        unknown = self.model.unk_id()
        for number in set(numbers).difference(parts_of, [unknown]):
            parts_of[number] = self._numbered(self.model.id_to_piece(number))
        if unknown not in numbers:
            return [parts_of[number] for number in numbers]
        return [
            self._numbered(piece) if number == unknown else parts_of[number]
            for number, piece in zip(numbers, self.model.encode(text, out_type=str), strict=True)
        ]

    def _numbered(self, piece: str) -> list[Piece]:
        """Cut a piece of the model once more, and look its parts up."""
        return [
            Piece(None if part == SPACE else self._special.id_of(part), len(part), part)
            for part in post_split(piece)
        ]

    def join_pieces(self, pieces: list[str]) -> str:
        """Join pieces of one stretch of text."""
        return "".join(pieces).replace(SPACE, " ").strip()


def post_split(piece: str) -> list[str]:
    """Cut a piece at Chinese characters, punctuation, and between digits and other characters.

    Returns:
        Parts that make up the piece; a part that is the space alone is no token.
    """
    parts, start = [], 0
    for place, character in enumerate(piece):
        if character == SPACE:
            continue
        alone = "\u4e00" <= character <= "\u9fff" or character in PUNCTUATION
        if alone or (place > 0 and character.isdigit() != piece[place - 1].isdigit()):
            if place > start:
                parts.append(piece[start:place])
            start = place
        if alone:
            parts.append(character)
            start = place + 1
    if start < len(piece):
        parts.append(piece[start:])
    return parts
