"""Tokens to ids, and ids back to tokens and text."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import overload

from paddlenlp_ext.tokenizers.encoding import plain
from paddlenlp_ext.tokenizers.special_tokens import SpecialTokens


class TokenConversion(SpecialTokens):
    """The part of a tokenizer that translates between tokens and ids."""

    @abstractmethod
    def _vocabulary_token(self, number: int) -> str:
        """Give the token of an id below `vocab_size`."""

    @abstractmethod
    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to readable text."""

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """Look up one or several tokens; unknown ones get the id of the unknown token."""
        if isinstance(tokens, str):
            return self._id(tokens)
        return [self._id(token) for token in tokens]

    def _id(self, token: str) -> int:
        number = self.added_tokens_encoder.get(token)
        if number is None:
            number = self._vocabulary_id(token)
        return self.unk_token_id if number is None else number

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Iterable[int], skip_special_tokens: bool = False
    ) -> list[str]: ...
    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str]:
        """Give the tokens of one or several ids.

        Args:
            ids: An id, or ids [L]; int64 arrays and tensors too.
            skip_special_tokens: Whether to leave special tokens out.

        Raises:
            ValueError: An id is not of this vocabulary.
        """
        ids = plain(ids)
        if isinstance(ids, int):
            return self._token(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(number) for number in ids if number not in skipped]

    def _token(self, number: int) -> str:
        # A vocabulary may hold several lines of an added token; each keeps its own text.
        if 0 <= number < self.vocab_size:
            return self._vocabulary_token(number)
        if number in self.added_tokens_decoder:
            return str(self.added_tokens_decoder[number].content)
        raise ValueError(f"id {number} is not one of the {len(self)} ids of this tokenizer")

    def decode(self, token_ids: int | Iterable[int], skip_special_tokens: bool = False) -> str:
        """Turn the ids of one row into text.

        Args:
            token_ids: Ids [L], as a list, an array or a tensor.
            skip_special_tokens: Whether to leave special tokens out.
        """
        ids = plain(token_ids)
        tokens = self.convert_ids_to_tokens([ids] if isinstance(ids, int) else ids)
        if skip_special_tokens:
            special = {t.content for t in self.added_tokens_decoder.values() if t.special}
            tokens = [token for token in tokens if token not in special]
        return self.convert_tokens_to_string(tokens)

    def batch_decode(
        self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False
    ) -> list[str]:
        """Turn the ids of several rows into texts.

        Args:
            sequences: Ids [B, L], as lists, an array or a tensor.
            skip_special_tokens: Whether to leave special tokens out.
        """
        return [self.decode(row, skip_special_tokens) for row in plain(sequences)]

    def get_vocab(self) -> dict[str, int]:
        """Give the id of every token, added ones too."""
        vocabulary = {self._vocabulary_token(i): i for i in range(self.vocab_size)}
        return {**vocabulary, **self.added_tokens_encoder}
