"""What a call takes, texts, and returns: columns of rows, with the way back to the texts."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Span = tuple[int, int]


class Ids(list[int]):
    """A segment that was cut before: the ids of its tokens, without special ones."""


class Inputs(NamedTuple):
    """Texts of one call.

    Args:
        first: The first segment of every sample: a text, its words if `pre_split`, or `Ids`.
        second: The second segments, or None.
        batched: False if the caller gave one sample and not a list of them.
        pre_split: Whether segments are lists of words.
    """

    first: list[Any]
    second: list[Any] | None
    batched: bool
    pre_split: bool

    @property
    def are_ids(self) -> bool:
        """Whether segments are `Ids`."""
        return not self.batched and isinstance(self.first[0], Ids)

    @classmethod
    def gather(cls, text: Any, text_pair: Any, pre_split: bool) -> "Inputs":
        """Sort out whether this is a single sample, a batch or a list of pairs.

        Raises:
            ValueError: The two arguments do not fit together.
        """
        if not isinstance(text, (str, list, tuple)):
            raise ValueError(f"expected a text or a list of texts, got {type(text).__name__}")
        if pre_split:
            batched = bool(text) and isinstance(text[0], (list, tuple))
        else:
            batched = not isinstance(text, (str, Ids))
        if not batched:
            second = None if text_pair is None else [text_pair]
            return cls([text], second, batched=False, pre_split=pre_split)
        first = list(text)
        if text_pair is None:
            one = first[0] if first else ""
            if pre_split and not isinstance(one, str):  # is it a list of words, or a pair of them?
                one = one[0] if one else ""
            if isinstance(one, (list, tuple)):
                return cls(*_unzip_pairs(first, pre_split), batched=True, pre_split=pre_split)
            for number, words in enumerate(first if pre_split else ()):
                if words and not isinstance(words[0], str):
                    raise ValueError(
                        f"sample {number}: expected a list of words, got {words!r:.80}"
                    )
            return cls(first, None, batched=True, pre_split=pre_split)
        if isinstance(text_pair, str) or len(text_pair) != len(first):
            given = "one text" if isinstance(text_pair, str) else f"{len(text_pair)} texts"
            raise ValueError(f"text_pair: expected one text for each of {len(first)}, got {given}")
        return cls(first, list(text_pair), batched=True, pre_split=pre_split)


@dataclass(frozen=True)
class Alignment:
    """Where each token of a row comes from.

    Args:
        tokens: The tokens as text.
        offsets: First and one past last character in its segment; (0, 0) for special tokens.
        word_ids: Number of the word; None for special tokens.
        sequence_ids: 0 or 1 for the segment; None for special tokens.
    """

    tokens: list[str]
    offsets: list[Span]
    word_ids: list[int | None]
    sequence_ids: list[int | None]


class BatchEncoding(dict[str, Any]):
    """Columns by name, also as attributes: `encoding["input_ids"]` is `encoding.input_ids`.

    A column holds one list for each row (or one list only, if a single text was given), or a
    tensor [B, L]. The methods return from which characters and words tokens come; the needed
    alignment is computed at the first call of one, so that training does not pay for it.

    Args:
        columns: Lists or tensors by name.
        align: Computes the alignment of all rows.
    """

    def __init__(
        self, columns: dict[str, Any], align: Callable[[], list[Alignment]] | None = None
    ) -> None:
        super().__init__(columns)
        self._align = align
        self._alignments: list[Alignment] | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"no column {name!r} in this encoding; it has {', '.join(self)}"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        # Only the columns travel to other processes: the way back holds the whole tokenizer.
        return BatchEncoding, (dict(self),)

    @property
    def data(self) -> dict[str, Any]:
        """The columns as a plain dict."""
        return dict(self)

    def convert_to_tensors(self, kind: str | None) -> "BatchEncoding":
        """Turn all columns into arrays ("np") or paddle tensors ("pd"), in place."""
        if kind is not None:
            self.update({name: to_tensor(name, rows, kind) for name, rows in self.items()})
        return self

    def alignment(self, row: int = 0) -> Alignment:
        """Return the origin of every token of a row.

        Raises:
            ValueError: The encoding did not come from text, but from `pad` or a pickle.
        """
        if self._alignments is None:
            if self._align is None:
                raise ValueError("this encoding does not know its text; call the tokenizer again")
            self._alignments = self._align()
        return self._alignments[row]

    def tokens(self, batch_index: int = 0) -> list[str]:
        """List the tokens of a row as text."""
        return self.alignment(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the number of each token's word, None for special tokens."""
        return self.alignment(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the segment (0 or 1) of each token, None for special tokens."""
        return self.alignment(batch_index).sequence_ids

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Find the token that a character of the text lies in.

        Args:
            batch_or_char_index: The row, or the character if only one text was given.
            char_index: The character.
            sequence_index: Which segment the character belongs to.

        Returns:
            The place of the token in its row, None for a character that no token covers.
        """
        row, char = _row_and_place(batch_or_char_index, char_index)
        alignment = self.alignment(row)
        for place, (start, stop) in enumerate(alignment.offsets):
            if alignment.sequence_ids[place] == sequence_index and start <= char < stop:
                return place
        return None

    def token_to_chars(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> Span | None:
        """Return the characters of a token, None for special tokens."""
        row, place = _row_and_place(batch_or_token_index, token_index)
        alignment = self.alignment(row)
        return None if alignment.sequence_ids[place] is None else alignment.offsets[place]

    def token_to_word(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> int | None:
        """Return the number of a token's word, None for special tokens."""
        row, place = _row_and_place(batch_or_token_index, token_index)
        return self.alignment(row).word_ids[place]

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> Span | None:
        """Return the first and one past the last token of a word, None if it has none."""
        row, word = _row_and_place(batch_or_word_index, word_index)
        alignment = self.alignment(row)
        places = [
            place
            for place, number in enumerate(alignment.word_ids)
            if number == word and alignment.sequence_ids[place] == sequence_index
        ]
        return (places[0], places[-1] + 1) if places else None


def to_tensor(name: str, rows: Any, kind: str) -> Any:
    """Turn a column into an int64 array ("np") or paddle tensor ("pd").

    Raises:
        ValueError: The rows differ in length, or `kind` is neither "np" nor "pd".
    """
    if kind not in ("np", "pd"):
        raise ValueError(f"return_tensors={kind!r}; expected 'np' or 'pd'")
    try:
        array = np.asarray(rows, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"rows of {name} differ in length and make no tensor; give padding=True"
        ) from error
    if kind == "np":
        return array
    # The name is given as a string because tokenizers work without Paddle (the layer rules in
    # pyproject.toml); only who asks for its tensors needs it.
    return importlib.import_module("paddle").to_tensor(array)


def plain(values: Any) -> Any:
    """Turn an array or tensor into Python numbers and lists; leave other values."""
    return values.tolist() if hasattr(values, "tolist") else values


def _row_and_place(first: int, second: int | None) -> tuple[int, int]:
    return (0, first) if second is None else (first, second)


def _unzip_pairs(pairs: Sequence[Any], pre_split: bool) -> tuple[list[Any], list[Any]]:
    """Turn [(a, b), ...] into two lists."""
    kinds, texts = ((list, tuple), "lists of words") if pre_split else ((str,), "texts")
    for number, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)):
            raise ValueError(f"sample {number}: expected a pair of {texts}, got {pair!r:.80}")
        if len(pair) != 2 or not all(isinstance(text, kinds) for text in pair):
            advice = "" if pre_split else "; for lists of words give is_split_into_words=True"
            raise ValueError(
                f"sample {number}: expected a pair of {texts}, got {len(pair)} items{advice}"
            )
    return [first for first, _ in pairs], [second for _, second in pairs]
