"""Tokenizers of RemBERT and ERNIE-M, whose pieces come from sentencepiece models."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from paddlenlp_ext.tokenizers.layout import Layout
from paddlenlp_ext.tokenizers.sentencepiece_base import SentencePieceTokenizer
from paddlenlp_ext.tokenizers.spans import SPACE, Piece
from paddlenlp_ext.tokenizers.unigram import convert
from paddlenlp_ext.tokenizers.vocabulary import Vocabulary


class RemBertTokenizer(SentencePieceTokenizer):
    """Tokenizer of RemBERT: the pieces and ids of a sentencepiece model.

    Args:
        vocab_file: The model.
        do_lower_case: Whether text is lower-cased.
        remove_space: Kept for files that have it; the model decides.
        keep_accents: Kept for files that have it; the model decides.
        **tokens: Special tokens and limits, see `Tokenizer`.

    Raises:
        UserError: The model cannot be read.
    """

    vocab_files = ("sentencepiece.model",)

    def __init__(
        self,
        vocab_file: str | Path,
        do_lower_case: bool = False,
        *,
        remove_space: bool = True,
        keep_accents: bool = True,
        **tokens: Any,
    ) -> None:
        self.remove_space = remove_space
        self.keep_accents = keep_accents
        defaults = {
            "bos_token": "[CLS]",
            "eos_token": "[SEP]",
            # A mask stands for a word, and a word begins with its space.
            "mask_token": AddedToken("[MASK]", lstrip=True, special=True),
        }
        super().__init__(vocab_file, do_lower_case, **{**defaults, **tokens})

    @property
    def settings(self) -> dict[str, Any]:
        """What the constructor needs besides files and tokens."""
        return {
            "do_lower_case": self.do_lower_case,
            "remove_space": self.remove_space,
            "keep_accents": self.keep_accents,
        }

    @property
    def vocab_size(self) -> int:
        """Number of pieces of the model."""
        return int(self._model.get_piece_size())

    def _vocabulary_id(self, token: str) -> int | None:
        number = int(self._model.piece_to_id(token))
        unknown = self._model.unk_id()
        return None if number == unknown and token != self._model.id_to_piece(unknown) else number

    def _vocabulary_token(self, number: int) -> str:
        return str(self._model.id_to_piece(number))

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the model."""
        return (self._save_model(Path(save_directory) / self.vocab_files[0]),)


class RemBertTokenizerFast(RemBertTokenizer):
    """RemBERT's tokenizer, together with its conversion to the `tokenizers` library.

    Rows come from sentencepiece here too: it cuts several times as many texts a second as the
    Unigram model of `tokenizers`, and its rounding decides between ways to cut a text that are
    equally good, so that nothing else gives its ids on all text. What programs on the `tokenizers`
    library need is the conversion: `backend_tokenizer`, saved as tokenizer.json.
    """

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizer in the `tokenizers` library, converted anew from the model.

        Raises:
            UserError: The model is of another kind than Unigram.
        """
        added = self.added_tokens_decoder
        return convert(self._model, added, self.cls_token, self.sep_token)

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the model, and tokenizer.json with its conversion."""
        path = Path(save_directory) / "tokenizer.json"
        self.backend_tokenizer.save(str(path))
        return *super().save_vocabulary(save_directory), path


class ErnieMTokenizer(SentencePieceTokenizer):
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
    layout = Layout(separators=2, first_type=0)

    def __init__(
        self,
        vocab_file: str | Path,
        sentencepiece_model_file: str | Path,
        do_lower_case: bool = False,
        *,
        drop_lone_space: bool = False,
        **tokens: Any,
    ) -> None:
        self.vocabulary = Vocabulary.load(Path(vocab_file))
        self.drop_lone_space = drop_lone_space
        super().__init__(sentencepiece_model_file, do_lower_case, **tokens)
        pieces = map(self._model.id_to_piece, range(self._model.get_piece_size()))
        self._begins_word = {number for number, text in enumerate(pieces) if text[:1] == SPACE}
        self._parts_of = _PartsOf(self._cut_piece)

    @property
    def settings(self) -> dict[str, Any]:
        """What the constructor needs besides files and tokens."""
        return {**super().settings, "drop_lone_space": self.drop_lone_space}

    @property
    def vocab_size(self) -> int:
        """Number of lines of the vocabulary."""
        return len(self.vocabulary)

    def _vocabulary_id(self, token: str) -> int | None:
        return self.vocabulary.ids.get(token)

    def _vocabulary_token(self, number: int) -> str:
        return self.vocabulary.tokens[number]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        space, unknown = self._model.piece_to_id(SPACE), self._model.unk_id()
        parts = self._parts_of.__getitem__
        rows = []
        for text, row in zip(texts, super()._encode(texts), strict=True):
            if unknown in row:  # an id that does not tell its text
                rows.append([piece.id for piece in self._pieces(text) if piece.id is not None])
                continue
            kept = row[1:] if row[:1] == [space] else row
            if space in kept and self.drop_lone_space:
                kept = [number for number in kept if number != space]
            elif space in kept:
                kept = [
                    number
                    for number, after in zip(kept, [*kept[1:], space], strict=True)
                    if number != space or after not in self._begins_word
                ]
            rows.append([*chain.from_iterable(map(parts, kept))])
        return rows

    def _cut_piece(self, number: int) -> list[int]:
        """Give the ids that a piece of the model becomes."""
        parts = self._numbered(self._model.id_to_piece(number))
        # The space alone is told apart before this; where it stays, it is a token.
        return [piece.id for piece in parts if piece.id is not None] or [self._id(SPACE)]

    def _pieces(self, text: str) -> list[Piece]:
        pieces: list[Piece] = []
        cut = self._model.encode(text, out_type=str)
        for place, piece in enumerate(cut):
            if piece != SPACE:
                pieces += self._numbered(piece)
                continue
            before_word = all(next.startswith(SPACE) for next in cut[place + 1 : place + 2])
            dropped = self.drop_lone_space or place == 0 or before_word
            pieces.append(Piece(None if dropped else self._id(SPACE), 1))
        return pieces

    def _numbered(self, piece: str) -> list[Piece]:
        """Cut a piece of the model once more, and look its parts up."""
        return [
            Piece(None if part == SPACE else self._id(part), len(part))
            for part in post_split(piece)
        ]

    def _joined(self, pieces: list[str]) -> str:
        return "".join(pieces).replace(SPACE, " ").strip()

    def clean_text(self, text: str) -> str:
        """Fold full-width forms to ASCII, but for the tilde, as ERNIE-M's own code does."""
        return text.translate(FOLDED)

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the vocabulary, repeated lines too, and the model."""
        vocabulary, model = (Path(save_directory) / name for name in self.vocab_files)
        self.vocabulary.save(vocabulary)
        return vocabulary, self._save_model(model)


class _PartsOf(dict[int, list[int]]):
    """The parts of each piece of a model, found when they are first needed."""

    def __init__(self, find: Callable[[int], list[int]]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, number: int) -> list[int]:
        self[number] = self._find(number)
        return self[number]


# Full-width forms U+FF01 to U+FF5E as ASCII, but for the last one, the tilde.
FOLDED = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5E)}
PUNCTUATION = frozenset(",;:.?!~，；：。？！《》【】")


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
