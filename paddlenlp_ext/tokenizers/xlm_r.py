"""XLM-RoBERTa's tokenizer, of InfoXLM and multilingual E5 too: a sentencepiece model's pieces.

Their ids are fairseq's: <s> 0, <pad> 1, </s> 2, <unk> 3, then the model's pieces but its own first
three, and <mask> last (https://arxiv.org/abs/1911.02116). Published ids, of transformers'
XLMRobertaTokenizerFast, are those of the Unigram model of the `tokenizers` library, which takes
another one of two equally good ways to cut a text than sentencepiece does in one of some 4,000
texts ("))))" as two of two or as one and three). So that library cuts here, too.
"""

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_file, replacing
from paddlenlp_ext.files.sources import Source
from paddlenlp_ext.tokenizers.assembly import Assembly
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.segmentation import (
    MAX_CONVERTED,
    MAX_VOCABULARY,
    LibrarySegmenter,
    Vocabulary,
    Words,
    as_found,
    closed_up,
    no_panic,
)
from paddlenlp_ext.tokenizers.sentencepiece import SPACE, read_model, unigram

FIRST = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3
DEFAULTS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}


class XLMRobertaTokenizer(Tokenizer):
    """Tokenizer of XLM-RoBERTa: ids and offsets of transformers' XLMRobertaTokenizerFast.

    Args:
        vocab_file: The sentencepiece model.
        tokenizer_file: Its conversion to the `tokenizers` library, which is read sooner; one of the
            two may be missing.
        **tokens: Special tokens and limits, see `Tokenizer`.

    Raises:
        UserError: A file cannot be read.
    """

    vocab_files = ("sentencepiece.bpe.model", "tokenizer.json")
    model_input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")  # no types
    assembly = Assembly(separators=2, second_type=0)

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
        **tokens: Any,
    ) -> None:
        if tokenizer_file:
            self._backend = read_backend(tokenizer_file)
        elif vocab_file:
            self._backend = convert(vocab_file)
        else:
            raise UserError(f"expected one of the files {' and '.join(self.vocab_files)}")
        self._model = read_file(Path(vocab_file), MAX_VOCABULARY) if vocab_file else None
        size = self._backend.get_vocab_size(with_added_tokens=False)
        vocabulary = Vocabulary(str(self._backend.id_to_token(number)) for number in range(size))
        defaults = {**DEFAULTS, **tokens}
        if isinstance(defaults["mask_token"], str):
            # A mask stands for a word, and a word begins with its space.
            mask = AddedToken(defaults["mask_token"], lstrip=True, special=True, normalized=True)
            defaults["mask_token"] = mask
        listed = tokens.get("added") or {}
        texts = {token.content for token in listed.values()}
        added = {
            number: token
            for number, token in self._backend.get_added_tokens_decoder().items()
            if token.content not in texts
        }
        added |= listed
        segmenter = LibrarySegmenter(self._backend, vocabulary, join_pieces, PlainWords())
        super().__init__(segmenter, **{**defaults, "added": added})

    @classmethod
    def _find_files(cls, source: Source) -> list[Any]:
        model, converted = map(source.find, cls.vocab_files)
        return [model, converted] if model or converted else [source.fetch(*cls.vocab_files)]

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The tokenizer in the `tokenizers` library."""
        self._backend.post_processor = self._post_processor()
        return self._backend

    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write tokenizer.json, and the sentencepiece model if it was there."""
        model, converted = (Path(save_directory) / name for name in self.vocab_files)
        with replacing(converted) as temporary:
            self.backend_tokenizer.save(str(temporary))
        if self._model is None:
            return (converted,)
        with replacing(model) as temporary:
            temporary.write_bytes(self._model)
        return model, converted


XLMRobertaTokenizerFast = XLMRobertaTokenizer  # transformers' name, whose ids these are


def convert(model_file: str | Path) -> tokenizers.Tokenizer:
    """Convert a sentencepiece model, as transformers does.

    Raises:
        UserError: It cannot be read, or is of another kind than Unigram.
    """
    model = read_model(model_file)
    # Its own first three pieces are <unk>, <s> and </s>.
    pieces = [(model.id_to_piece(n), model.get_score(n)) for n in range(3, model.get_piece_size())]
    special = [(piece, 0.0) for piece in FIRST]
    spaces = [normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), SPACE)]
    return unigram(model, [*special, *pieces, ("<mask>", 0.0)], FIRST.index("<unk>"), spaces)


def read_backend(path: str | Path) -> tokenizers.Tokenizer:
    """Read a tokenizer.json.

    Raises:
        UserError: It cannot be read.
    """
    raw = read_file(Path(path), MAX_CONVERTED)
    try:
        with no_panic():
            backend = _found_as_written(tokenizers.Tokenizer.from_buffer(raw))
    except Exception as error:  # the library has no class of its own for this
        raise UserError(f"{path}: expected a tokenizer of the library tokenizers: {error}") from (
            error
        )
    backend.no_truncation()
    backend.no_padding()
    return backend


def _found_as_written(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return a tokenizer that finds tokens as written where they cannot be found normalized."""
    added = backend.get_added_tokens_decoder().values()
    odd = {t.content for t in added if as_found(t, backend).normalized != t.normalized}
    if not odd:
        return backend
    content = json.loads(backend.to_str())  # the library never drops a token that it has
    for token in content["added_tokens"]:
        token["normalized"] &= token["content"] not in odd
    return tokenizers.Tokenizer.from_str(json.dumps(content))


class PlainWords(Words):
    """Words of plain texts; other texts are one word.

    Control characters, spaces of other kinds, several spaces, and marks on a space change what is
    around them.
    """

    # Marks on a space are one cluster with it, and clusters of up to five bytes are replaced as a
    # whole. What is neither letter, digit nor a usual sign may be a mark, and so are four letters.
    _ODD_SPACE = re.compile(
        " (?:[ \u0e33\u0eb3\uff9e\uff9f]|[^\\w!-~\xa1-\xff\u2010-\u20cf\u2100-\u2bff\u3001-\u3029])"
    )

    def are_plain(self, text: str) -> bool:
        """Return whether a text falls into words."""
        return text.isprintable() and SPACE not in text and not self._ODD_SPACE.search(text)

    def allow(self, token: AddedToken) -> bool:
        """Return whether texts still fall into words where this token is kept whole.

        A token that is found in the normalized text leaves the space before it as a piece.
        """
        return super().allow(token) and (token.lstrip or not token.normalized)


def join_pieces(tokens: list[str], clean: bool | None = None) -> str:
    """Join pieces to text, with a space where a piece has one."""
    text = str(decoders.Metaspace(SPACE, prepend_scheme="always").decode(tokens))
    return closed_up(text) if clean else text
