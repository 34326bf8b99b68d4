"""RemBERT's tokenizers: the pieces and ids of a sentencepiece model."""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, normalizers

from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.sentencepiece import SentencePiece, unigram
from paddlenlp_ext.tokenizers.special_tokens import describe


class RemBertTokenizer(Tokenizer):
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
    odd_token = "first"

    def __init__(
        self,
        vocab_file: str | Path,
        do_lower_case: bool = False,
        *,
        remove_space: bool = True,
        keep_accents: bool = True,
        **tokens: Any,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.remove_space = remove_space
        self.keep_accents = keep_accents
        self._pieces = SentencePiece(vocab_file, do_lower_case)
        defaults = {
            "bos_token": "[CLS]",
            "eos_token": "[SEP]",
            # A mask stands for a word, and a word begins with its space.
            "mask_token": AddedToken("[MASK]", lstrip=True, special=True),
        }
        super().__init__(self._pieces, **{**defaults, **tokens})

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the model."""
        return (self._pieces.save(Path(save_directory) / self.vocab_files[0]),)


class RemBertTokenizerFast(RemBertTokenizer):
    """RemBERT's tokenizer, together with its conversion to the `tokenizers` library.

    Rows come from sentencepiece here too: it cuts several times as many texts a second as the
    Unigram model of `tokenizers`, and its rounding decides between ways to cut a text that are
    equally good, so that nothing else gives its ids on all text. What programs on the `tokenizers`
    library need is the conversion: `backend_tokenizer`, saved as tokenizer.json.
    """

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizer in the `tokenizers` library, converted from the model at each access.

        Raises:
            UserError: The model is of another kind than Unigram.
        """
        model = self._pieces.model
        numbers = range(self.vocab_size)
        added = sorted(self.added_tokens_decoder.items())
        converted = unigram(
            model,
            self._scored(),
            model.unk_id(),
            [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()],
            in_bytes=any(map(model.is_byte, numbers)),
        )
        # Found before normalization, as in sentencepiece's own way: what lies between is stripped.
        converted.add_tokens(
            [AddedToken(**{**describe(token), "normalized": False}) for _, token in added]
        )
        converted.post_processor = self._post_processor()
        return converted

    def _scored(self) -> list[tuple[str, float]]:
        """List all pieces with their scores, and added tokens that have ids of their own.

        The library numbers added tokens one after another behind its pieces.
        """
        model, size = self._pieces.model, self.vocab_size
        pieces = [(model.id_to_piece(number), model.get_score(number)) for number in range(size)]
        added = {number: token.content for number, token in self.added_tokens_decoder.items()}
        here = {n for n in added if n < size and pieces[n][0] != added[n]}
        behind = sorted(n for n in added if n >= size)
        if not here and behind == [*range(size, len(self))]:
            return pieces
        lowest = min(score for _, score in pieces)  # another minimum changes what is unknown
        pieces += [(f"\0{number}", lowest) for number in range(size, len(self))]
        for number in (*here, *behind):
            pieces[number] = (added[number], lowest)
        return pieces

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the model, and tokenizer.json with its conversion."""
        path = Path(save_directory) / "tokenizer.json"
        self.backend_tokenizer.save(str(path))
        return *super().save_vocabulary(save_directory), path
