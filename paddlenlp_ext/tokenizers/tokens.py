"""The tokens of a tokenizer: their ids and roles, text made of them, rows made of them by hand."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar, overload

from tokenizers.processors import TemplateProcessing

from paddlenlp_ext.tokenizers.assembly import Assembly
from paddlenlp_ext.tokenizers.encoding import plain
from paddlenlp_ext.tokenizers.roles import RoleId, RoleToken, VocabularyView
from paddlenlp_ext.tokenizers.segmentation import Segmenter
from paddlenlp_ext.tokenizers.special_tokens import SpecialTokens, Token


class Tokens:
    """What a tokenizer knows of its tokens.

    Args:
        segmenter: Has the vocabulary, and joins tokens to text.
        special: The special and the added tokens.
    """

    bos_token, bos_token_id = RoleToken(), RoleId()
    eos_token, eos_token_id = RoleToken(), RoleId()
    unk_token, unk_token_id = RoleToken(), RoleId()
    sep_token, sep_token_id = RoleToken(), RoleId()
    pad_token, pad_token_id = RoleToken(), RoleId()
    cls_token, cls_token_id = RoleToken(), RoleId()
    mask_token, mask_token_id = RoleToken(), RoleId()

    pad_token_type_id = 0
    assembly: ClassVar[Assembly] = Assembly()

    def __init__(self, segmenter: Segmenter, special: SpecialTokens) -> None:
        self.segmenter = segmenter
        self.vocabulary = segmenter.vocabulary
        self.special = special
        self.added_tokens_encoder = special.added_tokens_encoder
        self.added_tokens_decoder = special.added_tokens_decoder

    @property
    def vocab(self) -> VocabularyView:
        """The ids of the vocabulary's tokens, without added ones."""
        return VocabularyView(self)

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary without added tokens."""
        return len(self.vocabulary)

    def __len__(self) -> int:
        return len(self.special)

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Special tokens by role."""
        return self.special.by_role

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a role."""
        return [token.content for token in self.special.additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[Token]) -> None:
        self.add_special_tokens({"additional_special_tokens": tokens})

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """The ids of `additional_special_tokens`; may be assigned."""
        return self.convert_tokens_to_ids(self.additional_special_tokens)

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, ids: Iterable[int]) -> None:
        self.additional_special_tokens = self.convert_ids_to_tokens(ids)

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once."""
        return self.special.all

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return [self.added_tokens_encoder[token] for token in self.special.all]

    def add_tokens(self, new_tokens: Token | Iterable[Token], special_tokens: bool = False) -> int:
        """Add tokens that are never split; see `SpecialTokens.add_tokens`."""
        return self.special.add_tokens(new_tokens, special_tokens)

    def add_special_tokens(self, tokens: Mapping[str, Any]) -> int:
        """Set the tokens of roles, and add others; see `SpecialTokens.add_special_tokens`."""
        return self.special.add_special_tokens(tokens)

    def get_added_vocab(self) -> dict[str, int]:
        """Return the ids of the special and the added tokens."""
        return dict(self.added_tokens_encoder)

    # Tokens to ids, and ids back to tokens and text.

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """Look up one or several tokens; unknown ones get the id of the unknown token."""
        if isinstance(tokens, str):
            return self.special.id_of(tokens)
        return [self.special.id_of(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Iterable[int], skip_special_tokens: bool = False
    ) -> list[str]: ...
    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str]:
        """Return the tokens of one or several ids.

        Args:
            ids: An id, or ids [L]; int64 arrays and tensors too.
            skip_special_tokens: Whether to leave special tokens out.

        Raises:
            ValueError: An id is not of this vocabulary.
        """
        ids = plain(ids)
        if isinstance(ids, int):
            return self._token(ids)
        skipped = self.special.skipped if skip_special_tokens else set()
        return [token for token in map(self._token, ids) if token not in skipped]

    def _token(self, number: int) -> str:
        if number in self.added_tokens_decoder:
            return str(self.added_tokens_decoder[number].content)
        if 0 <= number < self.vocab_size:
            return self.vocabulary.tokens[number]
        if 0 <= number < len(self):  # nothing has the id, but the model may predict it
            return str(self.unk_token)
        raise ValueError(f"id {number} is not one of the {len(self)} ids of this tokenizer")

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to readable text."""
        return self.segmenter.join(tokens)

    def decode(
        self,
        token_ids: int | Iterable[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """Turn the ids of one row into text.

        Args:
            token_ids: Ids [L], as a list, an array or a tensor.
            skip_special_tokens: Whether to leave special tokens out.
            clean_up_tokenization_spaces: Whether the spaces before punctuation and English
                contractions are closed up; None is as the family does: WordPiece does.
            spaces_between_special_tokens: Whether there are spaces around tokens that were added
                to the vocabulary.
        """
        ids = plain(token_ids)
        ids = [ids] if isinstance(ids, int) else ids
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens)
        clean = clean_up_tokenization_spaces
        if spaces_between_special_tokens:
            return self.segmenter.join(tokens, clean)
        runs = groupby(tokens, key=lambda token: self.special.id_of(token) >= self.vocab_size)
        return "".join(
            "".join(run) if added else self.segmenter.join([*run], clean) for added, run in runs
        )

    def batch_decode(
        self,
        sequences: Iterable[Iterable[int]],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> list[str]:
        """Turn the ids of several rows into texts.

        Args:
            sequences: Ids [B, L], as lists, an array or a tensor.
            skip_special_tokens: As in `decode`.
            clean_up_tokenization_spaces: As in `decode`.
            spaces_between_special_tokens: As in `decode`.
        """
        options = (skip_special_tokens, clean_up_tokenization_spaces, spaces_between_special_tokens)
        return [self.decode(row, *options) for row in plain(sequences)]

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token, added ones too."""
        return {**self.vocabulary.ids, **self.added_tokens_encoder}

    # Rows as the models were pretrained on, built from ids by hand.

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Count the special tokens of a row."""
        return self.assembly.added(pair)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Frame one or two segments with special tokens.

        Args:
            token_ids_0: Ids of the first segment, without special tokens.
            token_ids_1: Ids of the second segment.
        """
        return self.assembly.frame(token_ids_0, token_ids_1, self.cls_token_id, self.sep_token_id)

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Return the token types of the row that `build_inputs_with_special_tokens` builds."""
        return self.assembly.token_types(
            len(token_ids_0), None if token_ids_1 is None else len(token_ids_1)
        )

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Mark special tokens with 1 and other ones with 0.

        Args:
            token_ids_0: Ids of the first segment; of a whole row if `already_has_special_tokens`.
            token_ids_1: Ids of the second segment.
            already_has_special_tokens: Whether `token_ids_0` is a row with its special tokens.

        Raises:
            ValueError: A second segment was given besides a whole row.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError("a row with special tokens is one list; token_ids_1 must be None")
            special = set(self.all_special_ids)
            return [int(number in special) for number in token_ids_0]
        second = None if token_ids_1 is None else [0] * len(token_ids_1)
        return self.assembly.frame([0] * len(token_ids_0), second, 1, 1)

    def _post_processor(self) -> TemplateProcessing:
        """Write the template of a row for the `tokenizers` library."""
        return self.assembly.post_processor(*self._ends())

    def _ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Return the first special token of a row and its id, and the other ones.

        Raises:
            ValueError: There is no such token.
        """
        for role in ("cls_token", "sep_token"):
            if role not in self.special.roles:
                raise ValueError(f"a row needs a `{role}`, and this tokenizer has none; set one")
        return (self.cls_token, self.cls_token_id), (self.sep_token, self.sep_token_id)
