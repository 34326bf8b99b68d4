"""BERT's tokenizer, and those of the families that share it: ConvBERT, ELECTRA and ERNIE."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.sources import Source
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.segmentation import Vocabulary
from paddlenlp_ext.tokenizers.special_tokens import special_token
from paddlenlp_ext.tokenizers.wordpiece import converted_settings, load_converted, wordpiece


class BertTokenizer(Tokenizer):
    """Tokenizer of the BERT family.

    Args:
        vocab_file: One token a line, the line number is the id. Repeated lines are kept. Or a
            tokenizer.json of the `tokenizers` library, for its vocabulary.
        do_lower_case: Whether text is lower-cased.
        do_basic_tokenize: False cuts text at spaces only, and neither cleans nor lower-cases it.
        never_split: Words that are found in the text as they are; the unknown token where the
            vocabulary lacks them.
        tokenize_chinese_chars: Whether each Chinese character is a word.
        strip_accents: Whether accents are dropped; None is as `do_lower_case`.
        **tokens: Special tokens and limits, see `Tokenizer`.

    Raises:
        UserError: The vocabulary cannot be read, or lacks the unknown token.
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
        self.do_lower_case = do_lower_case
        self.do_basic_tokenize = do_basic_tokenize
        self.never_split = list(never_split or ()) or None
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        converted = Path(vocab_file).suffix == ".json"
        load = load_converted if converted else Vocabulary.load
        vocabulary = load(Path(vocab_file))
        unknown = special_token(tokens.get("unk_token", "[UNK]")).content
        if unknown not in vocabulary.ids:
            raise UserError(f"{vocab_file}: expected a line {shown(unknown)}, but there is none")
        segmenter = wordpiece(
            vocabulary,
            unknown,
            do_lower_case=do_lower_case,
            do_basic_tokenize=do_basic_tokenize,
            tokenize_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
        )
        kept = [word for word in self.never_split or () if word]
        segmenter.protect(
            [AddedToken(word, normalized=False, single_word=True) for word in kept],
            [vocabulary.ids.get(word, vocabulary.ids[unknown]) for word in kept],
        )
        super().__init__(segmenter, **tokens)

    @classmethod
    def _find_files(cls, source: Source) -> list[Any]:
        return [source.fetch(*cls.vocab_files, "tokenizer.json")]

    @classmethod
    def _with_settings_of(cls, files: Sequence[Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
        if files[0].suffix != ".json":
            return known
        settings = converted_settings(files[0])
        return {**settings, **known, "added": known.get("added") or settings["added"]}

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
