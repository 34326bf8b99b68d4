"""Attributes of a tokenizer: its special tokens by role, with their ids, and its vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken

from paddlenlp_ext.tokenizers.encoding import plain

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.tokens import Tokens


class RoleToken:
    """The text of the token that plays a role, None if there is none; may be assigned."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name

    def __get__(self, tokenizer: Tokens, owner: type) -> Any:
        token = tokenizer.special.roles.get(self.role)
        return None if token is None else token.content

    def __set__(self, tokenizer: Tokens, token: str | AddedToken | None) -> None:
        if token is None:
            tokenizer.special.clear(self.role)
        else:
            tokenizer.add_special_tokens({self.role: token})


class RoleId:
    """The id of the token that plays a role, None if there is none; may be assigned."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name.removesuffix("_id")

    def __get__(self, tokenizer: Tokens, owner: type) -> Any:
        special = tokenizer.special
        return special.id_of_role(self.role) if self.role in special.roles else None

    def __set__(self, tokenizer: Tokens, number: int | None) -> None:
        token = None if number is None else tokenizer.convert_ids_to_tokens(number)
        setattr(tokenizer, self.role, token)


class VocabularyView(Mapping[str, int]):
    """The ids of a vocabulary's tokens, added ones apart: a mapping, with PaddleNLP's methods too.

    Args:
        tokenizer: Whose vocabulary it is.
    """

    def __init__(self, tokenizer: Tokens) -> None:
        self._tokenizer = tokenizer

    def __getitem__(self, token: str) -> int:
        return self.token_to_idx[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self.token_to_idx)

    def __len__(self) -> int:
        return len(self.idx_to_token)

    @property
    def token_to_idx(self) -> dict[str, int]:
        """The id of each token; of a repeated one the last."""
        return self._tokenizer.vocabulary.ids

    @property
    def idx_to_token(self) -> list[str]:
        """The tokens in the order of their ids."""
        return self._tokenizer.vocabulary.tokens

    def to_indices(self, tokens: str | Iterable[str]) -> int | list[int]:
        """Look up one or several tokens; unknown ones get the id of the unknown token."""
        if not isinstance(tokens, str):
            return [self._index(token) for token in tokens]
        return self._index(tokens)

    __call__ = to_indices

    def to_tokens(self, indices: int | Iterable[int]) -> str | list[str]:
        """Return the token of an id, or those of several.

        Raises:
            ValueError: An id is not of this vocabulary.
        """
        indices = plain(indices)
        if not isinstance(indices, int):
            return [self._token(number) for number in indices]
        return self._token(indices)

    def _index(self, token: str) -> int:
        number = self.token_to_idx.get(token)
        return self._tokenizer.special.id_of(token) if number is None else number

    def _token(self, number: int) -> str:
        if not 0 <= number < len(self):
            raise ValueError(f"id {number} is not one of the {len(self)} of this vocabulary")
        return self.idx_to_token[number]
