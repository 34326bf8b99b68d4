"""WordPiece, the segmentation of BERT, ConvBERT, ELECTRA and ERNIE.

Text is cleaned, lower-cased if the vocabulary is, cut at spaces, punctuation and around Chinese
characters; each word then falls greedily into the longest pieces of the vocabulary
(https://github.com/google-research/bert, tokenization.py). The `tokenizers` library does it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.inputs import encodable, printable
from paddlenlp_ext.tokenizers.rows import Segments
from paddlenlp_ext.tokenizers.special_tokens import special_token
from paddlenlp_ext.tokenizers.vocabulary import Vocabulary
from paddlenlp_ext.tokenizers.word_cache import WordCache

LONGEST_WORD = 100  # characters; longer words become the unknown token


class BertTokenizer(Tokenizer):
    """Tokenizer of the BERT family.

    Args:
        vocab_file: One token a line, the line number is the id. Repeated lines are kept.
        do_lower_case: Whether text is lower-cased.
        do_basic_tokenize: False cuts text at spaces only, and neither cleans nor lower-cases it.
        never_split: Tokens of the vocabulary that are found in the text as they are.
        tokenize_chinese_chars: Whether each Chinese character is a word.
        strip_accents: Whether accents are dropped; None is as `do_lower_case`.
        **tokens: Special tokens and limits, see `Tokenizer`.

    Raises:
        UserError: The vocabulary cannot be read, or lacks the unknown token or one of
            `never_split`.
    """

    vocab_files = ("vocab.txt",)

    def __init__(
        self,
        vocab_file: str | Path,
        do_lower_case: bool = True,
        *,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        **tokens: Any,
    ) -> None:
        self.vocabulary = Vocabulary.load(Path(vocab_file))
        self.do_lower_case = do_lower_case
        self.do_basic_tokenize = do_basic_tokenize
        self.never_split = list(never_split or ())
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        unknown = special_token(tokens.get("unk_token", "[UNK]")).content
        for token in (unknown, *self.never_split):
            if token not in self.vocabulary.ids:
                raise UserError(f"{vocab_file}: expected a line {token!r}, but there is none")
        self._backend = self._make_backend(unknown)
        self._has_spaces = False  # in a token that is kept whole
        self._protect([AddedToken(token, normalized=False) for token in self.never_split])
        super().__init__(**tokens)

    def _make_backend(self, unknown: str) -> tokenizers.Tokenizer:
        # The library numbers added tokens from the size of its vocabulary. A line that a later one
        # repeats is therefore kept under a name that no text can spell (cleaning drops NUL).
        ids = {
            token if self.vocabulary.ids[token] == line else f"\0{line}": line
            for line, token in enumerate(self.vocabulary.tokens)
        }
        backend = tokenizers.Tokenizer(
            models.WordPiece(ids, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
        )
        if self.do_basic_tokenize:
            backend.normalizer = normalizers.BertNormalizer(
                clean_text=True,
                handle_chinese_chars=self.tokenize_chinese_chars,
                strip_accents=self.strip_accents,
                lowercase=self.do_lower_case,
            )
            backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        else:
            backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return backend

    @property
    def vocab_size(self) -> int:
        """Number of lines of the vocabulary, repeated ones too: what the embeddings need."""
        return len(self.vocabulary)

    @property
    def settings(self) -> dict[str, Any]:
        """What the constructor needs besides the vocabulary and tokens."""
        return {
            "do_lower_case": self.do_lower_case,
            "do_basic_tokenize": self.do_basic_tokenize,
            "never_split": self.never_split or None,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "strip_accents": self.strip_accents,
        }

    def _vocabulary_id(self, token: str) -> int | None:
        return self.vocabulary.ids.get(token)

    def _vocabulary_token(self, number: int) -> str:
        return self.vocabulary.tokens[number]

    def _protect(self, tokens: list[AddedToken]) -> None:
        self._backend.add_tokens(tokens)
        self._words = WordCache()
        self._has_spaces |= any(" " in token.content for token in tokens)

    def _cut(self, words: list[str]) -> list[list[int]]:
        return [e.ids for e in self._backend.encode_batch_fast(words, add_special_tokens=False)]

    def _segment(self, texts: list[Any], pre_split: bool, spans: bool) -> Segments:
        # A space ends a word and changes nothing around it, unless a token is kept whole across it.
        if not (pre_split or spans or self._has_spaces):
            return Segments(self._words.cut(encodable(texts), self._cut))
        # Without offsets the library is faster.
        encode = self._backend.encode_batch if spans else self._backend.encode_batch_fast
        try:
            encodings = encode(texts, is_pretokenized=pre_split, add_special_tokens=False)
        except TypeError:  # a text is no text, or cannot be written in UTF-8
            texts = [printable(text, number) for number, text in enumerate(texts)]
            encodings = encode(texts, is_pretokenized=pre_split, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        if not spans:
            return Segments(ids)
        return Segments(
            ids,
            [encoding.offsets for encoding in encodings],
            [encoding.word_ids for encoding in encodings],
        )

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join word pieces, and drop the space before punctuation and English contractions."""
        text = str(decoders.WordPiece(prefix="##", cleanup=True).decode(tokens))
        # The decoder closes up within tokens only; quotes stand between two of them.
        for spaced in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
            text = text.replace(spaced, spaced.strip())
        return text

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write every line of the vocabulary, repeated ones too."""
        path = Path(save_directory) / self.vocab_files[0]
        self.vocabulary.save(path)
        return (path,)


class ElectraTokenizer(BertTokenizer):
    """ELECTRA's tokenizer: BERT's."""


class ConvBertTokenizer(BertTokenizer):
    """ConvBERT's tokenizer: BERT's.

    The published vocabulary is a damaged copy of BERT's: 1,008 of its 30,522 lines repeat earlier
    ones, and Chinese characters are lost. Models were trained with it, so it is kept line by line.
    """


class ErnieTokenizer(BertTokenizer):
    """ERNIE's tokenizer: BERT's."""
