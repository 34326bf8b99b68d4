"""How texts become pieces: what a segmenter does, and the one on the `tokenizers` library.

A tokenizer holds one segmenter. `LibrarySegmenter` serves the families that WordPiece or Unigram of
that library cuts for (BERT, XLM-R), `SentencePiece` in sentencepiece.py the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import tokenizers
from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_file, replacing
from paddlenlp_ext.tokenizers.encoding import Span

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.special_tokens import SpecialTokens

LONGEST = 32  # characters of a word that is kept; longer ones hardly ever come again
MOST = 1 << 17  # words that are kept, some 40 MB; after them it begins from the start
NEW = 0.5  # share of words that come for the first time from which texts are cut whole
GROUP = 64  # words that are cut as one text; the library has enough of them for all its threads
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Segments(NamedTuple):
    """Texts as pieces, without special tokens; one list for each text.

    Args:
        ids: The id of each piece.
        offsets: Its characters in the text (in its word, if words were given); only if asked for.
        word_ids: The number of its word; only if asked for.
        tokens: Makes the text of each piece, of an unknown one too; only if asked for.
    """

    ids: list[list[int]]
    offsets: Sequence[list[Span]] = ()
    word_ids: Sequence[Sequence[int | None]] = ()
    tokens: Callable[[], Sequence[list[str]]] = list


class Segmenter(Protocol):
    """What cuts texts into the pieces of a vocabulary, and joins pieces to text."""

    vocabulary: Vocabulary

    def keep_whole(self, new: Sequence[AddedToken], special: SpecialTokens) -> None:
        """Find these tokens in texts before anything else from now on.

        Args:
            new: Those that are new or have changed.
            special: All of them, and the ids of all tokens.
        """

    def segment(self, texts: list[Any], pre_split: bool, spans: bool) -> Segments:
        """Cut texts into pieces.

        Args:
            texts: Texts, or lists of words if `pre_split`.
            pre_split: Whether word numbers and offsets refer to given words.
            spans: Whether offsets, word numbers and texts are needed.
        """

    def join(self, tokens: list[str], clean: bool | None = None) -> str:
        """Join tokens to readable text.

        Args:
            tokens: The tokens.
            clean: Whether the spaces before punctuation and English contractions are closed up;
                None is as the family has it.
        """


def closed_up(text: str) -> str:
    """Drop the space before punctuation and English contractions."""
    for spaced in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(spaced, spaced.strip())
    return text


def printable(text: Any, number: int) -> Any:
    """Replace lone surrogates, which no encoding can write, by U+FFFD; lengths stay.

    Raises:
        ValueError: It is neither a text nor a list of words.
    """
    if isinstance(text, str):
        return _LONE_SURROGATE.sub("\ufffd", text)
    if isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text):
        return [printable(word, number) for word in text]
    raise ValueError(f"text {number} is no string, got {type(text).__name__}: {text!r:.80}")


def encodable(texts: list[Any]) -> list[str]:
    """Return texts that can be written in UTF-8, which is what the libraries work on.

    Raises:
        ValueError: One is no text.
    """
    try:
        "".join(texts).encode()
    except (TypeError, UnicodeEncodeError):
        return [printable(text, number) for number, text in enumerate(texts)]
    return texts


# XLM-V has the largest vocabulary that was published: 901,629 tokens, in some 12 MB.
MAX_TOKENS = 1_000_000
MAX_VOCABULARY = 32 << 20  # bytes of a vocabulary, or of a sentencepiece model
MAX_CONVERTED = 128 << 20  # bytes of a tokenizer.json


class Vocabulary:
    """Tokens by id and ids by token; of a repeated token the last id counts.

    The list, not a mapping, is the truth. ConvBERT's published vocab.txt repeats 188 tokens on
    1,008 surplus lines: a mapping would lose those lines on saving and shift almost every id.

    Args:
        tokens: The tokens in the order of their ids.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = list(tokens)
        self.ids = {token: line for line, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read one token a line; both Unix and Windows line ends are understood.

        Raises:
            UserError: The file is empty, not there, not UTF-8, or larger than any vocabulary.
        """
        raw = read_file(path, MAX_VOCABULARY)
        if (lines := max(raw.count(b"\n"), raw.count(b"\r"))) > MAX_TOKENS:
            raise UserError(
                f"{path}: has {lines:,} lines, expected at most {MAX_TOKENS:,}; is it the right "
                "file?"
            )
        try:
            # utf-8-sig: an editor's byte order mark would otherwise be part of the first token.
            text = str(raw, "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
            tokens = text.removesuffix("\n").split("\n") if text else []
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: expected UTF-8, got byte {error.object[error.start]:#04x} at position "
                f"{error.start}; convert the file to UTF-8"
            ) from error
        if not tokens:
            raise UserError(f"{path}: expected one token a line, got an empty file")
        return cls(tokens)

    def save(self, path: Path) -> None:
        """Write every line, repeated ones too."""
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as file,
        ):
            file.writelines(f"{token}\n" for token in self.tokens)


class Words:
    """What may be cut one by one: a space ends a word and changes nothing around it."""

    mark = "~"  # a token between spaces: where words begin that are cut together

    def are_plain(self, text: str) -> bool:
        """Return whether a text falls into words."""
        return True

    def split(self, text: str) -> list[str]:
        """Return the words of a text; the text where they are not plain."""
        return text.split(" ") if self.are_plain(text) else [text]

    def allow(self, token: AddedToken) -> bool:
        """Return whether texts still fall into words where this token is kept whole."""
        return " " not in token.content


class WordCache:
    """Cuts texts word by word: words repeat, and cutting them is what takes the time.

    It serves segmentations to which a text is its words, one after another. Texts of words that
    hardly ever came before are cut whole, which then takes less. Several threads may use it.

    Args:
        words: Splits a text.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._kept: dict[str, list[int]] = {}
        self._met: set[str] = set()  # words of texts that were cut whole

    def __reduce__(self) -> tuple[Any, ...]:
        return WordCache, (self._words,)  # other processes get an empty one

    def cut(
        self,
        texts: list[str],
        cut_words: Callable[[list[str]], dict[str, list[int]]],
        cut_texts: Callable[[list[str]], list[list[int]]],
    ) -> list[list[int]]:
        """Cut texts into the ids of their pieces.

        Args:
            texts: Any texts.
            cut_words: Cuts words; the same function in every call.
            cut_texts: Cuts whole texts, to the same ids.
        """
        if len(self._kept) + len(self._met) > MOST:
            self._kept, self._met = {}, set()
        kept, met = self._kept, self._met  # what another thread begins anew stays here
        words = list(map(self._words.split, texts))
        unique = set(chain.from_iterable(words))
        new = unique.difference(kept)
        if len(new.difference(met)) > NEW * sum(map(len, words)):
            met.update(word for word in new if len(word) <= LONGEST)
            return cut_texts(texts)
        pieces = cut_words(list(new)) if new else {}
        known = unique.difference(new)
        known_pieces = list(map(kept.__getitem__, known))
        kept.update((word, ids) for word, ids in pieces.items() if len(word) <= LONGEST)
        pieces.update(zip(known, known_pieces, strict=True))
        return [list(chain.from_iterable(map(pieces.__getitem__, text))) for text in words]


class LibrarySegmenter:
    """Pieces from the `tokenizers` library.

    Args:
        backend: What cuts; without a post-processor's special tokens, truncation or padding.
        vocabulary: Its pieces.
        join: Joins tokens to text.
        words: What may be cut one by one.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        vocabulary: Vocabulary,
        join: Callable[[list[str], bool | None], str],
        words: Words | None = None,
    ) -> None:
        self.backend = backend
        self.vocabulary = vocabulary
        self._join = join
        self._words = words or Words()
        self._cache = WordCache(self._words)
        self._marked: list[int] = []  # ids of the mark between words, once they are needed
        self._by_words = True
        self._found: dict[int, str] = {}  # tokens that are kept whole, by the library's ids
        self._renumbered: dict[int, int] = {}  # ids where the library's are others

    def keep_whole(self, new: Sequence[AddedToken], special: SpecialTokens) -> None:
        """Find these tokens in texts before anything else from now on."""
        self.protect(new, [special.added_tokens_encoder[token.content] for token in new])
        if unknown := special.roles.get("unk_token"):  # the library has the text of the piece
            self._found.pop(self._number(unknown.content), None)

    def join(self, tokens: list[str], clean: bool | None = None) -> str:
        """Join tokens to readable text; see `Segmenter`."""
        return self._join(tokens, clean)

    def protect(self, tokens: Sequence[AddedToken], ids: Sequence[int]) -> None:
        """Find these tokens in texts before anything else from now on.

        Args:
            tokens: The tokens.
            ids: Their ids; the library numbers tokens from the size of its vocabulary.
        """
        tokens = [as_found(token, self.backend) for token in tokens]
        with no_panic():
            self.backend.add_tokens(tokens)
        for token, number in zip(tokens, ids, strict=True):
            given = self._number(token.content)
            self._found[given] = token.content
            self._renumbered.pop(given, None)
            if given != number:
                self._renumbered[given] = number
        self._cache, self._marked = WordCache(self._words), []
        self._by_words &= all(map(self._words.allow, tokens))

    def _number(self, token: str) -> int:
        """Return the library's id of a token that it knows; -1 if it does not."""
        number = self.backend.token_to_id(token)
        return -1 if number is None else int(number)

    def _ids(self, encodings: Sequence[tokenizers.Encoding]) -> list[list[int]]:
        ids = [encoding.ids for encoding in encodings]
        if self._renumbered:
            own = self._renumbered
            return [[own.get(number, number) for number in row] for row in ids]
        return ids

    def _encode(self, texts: list[str]) -> list[list[int]]:
        with no_panic():
            return self._ids(self.backend.encode_batch_fast(texts, add_special_tokens=False))

    def _cut(self, words: list[str]) -> dict[str, list[int]]:
        """Cut words, many as one text where they are plain, with marks where each begins.

        The library takes as long to begin a text as to cut a word of it.
        """
        mark = self._words.mark
        together = [word for word in words if self._words.are_plain(f" {word}")]
        groups = [together[start : start + GROUP] for start in range(0, len(together), GROUP)]
        texts = [f"{mark} " + f" {mark} ".join(group) for group in groups]
        alone = list(set(words).difference(together))
        pieces: dict[str, list[int]] = {}
        # Not with the others: a call for one text has no need of the library's threads.
        self._marked = self._marked or self._encode([mark])[0]
        for group, ids in zip(groups, self._encode(texts), strict=True):
            starts = [place for place, number in enumerate(ids) if [number] == self._marked]
            if len(starts) == len(group):
                ends = pairwise([*starts, len(ids)])
                parts = [ids[start + 1 : stop] for start, stop in ends]
                pieces.update(zip(group, parts, strict=True))
            else:  # a mark is several tokens, or a word has one that is like it
                alone += group
        if alone:
            pieces.update(zip(alone, self._encode(alone), strict=True))
        return pieces

    def segment(self, texts: list[Any], pre_split: bool, spans: bool) -> Segments:
        """Cut texts into pieces; see `Segmenter`."""
        if self._by_words and not (pre_split or spans):
            return Segments(self._cache.cut(encodable(texts), self._cut, self._encode))
        # Without offsets the library is faster.
        encode = self.backend.encode_batch if spans else self.backend.encode_batch_fast
        with no_panic():
            try:
                encodings = encode(texts, is_pretokenized=pre_split, add_special_tokens=False)
            except TypeError:  # a text is no text, or cannot be written in UTF-8
                texts = [printable(text, number) for number, text in enumerate(texts)]
                encodings = encode(texts, is_pretokenized=pre_split, add_special_tokens=False)
        ids = self._ids(encodings)
        if not spans:
            return Segments(ids)
        return Segments(
            ids,
            [encoding.offsets for encoding in encodings],
            [encoding.word_ids for encoding in encodings],
            partial(self._tokens, encodings),
        )

    def _tokens(self, encodings: Sequence[tokenizers.Encoding]) -> list[list[str]]:
        # Of a token that was found the library has what stands in the text, with its spaces.
        found = self._found
        return [
            [found.get(number, token) for number, token in zip(e.ids, e.tokens, strict=True)]
            for e in encodings
        ]


@contextmanager
def no_panic() -> Iterator[None]:
    """Turn a panic of the `tokenizers` library, which is no `Exception`, into an error.

    Raises:
        UserError: The library panicked.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise UserError(
            f"the library tokenizers cannot work with this tokenizer's files or texts: {error}"
        ) from error


def as_found(token: AddedToken, backend: tokenizers.Tokenizer) -> AddedToken:
    """Return a token as it is to be found in texts: normalized, or as it is written.

    A normalizer may leave nothing of a token, which is then found everywhere, or a space where it
    has other white space, which is then found across words.
    """
    if not token.normalized or backend.normalizer is None:
        return token
    with no_panic():
        normal = backend.normalizer.normalize_str(token.content)
    odd_space = any(character.isspace() for character in token.content.replace(" ", ""))
    if normal.strip(" \u2581") and not odd_space:
        return token
    return AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=False,
        special=token.special,
    )
