"""Sequences as the models were pretrained on, built from ids by hand."""

from collections.abc import Sequence
from typing import ClassVar

from paddlenlp_ext.tokenizers.conversion import TokenConversion
from paddlenlp_ext.tokenizers.layout import Layout


class SequenceBuilding(TokenConversion):
    """The part of a tokenizer that knows where its family puts special tokens."""

    layout: ClassVar[Layout] = Layout()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Count the special tokens of a row."""
        return self.layout.added(pair)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Frame one or two segments with special tokens.

        Args:
            token_ids_0: Ids of the first segment, without special tokens.
            token_ids_1: Ids of the second segment.
        """
        return self.layout.frame(token_ids_0, token_ids_1, self.cls_token_id, self.sep_token_id)

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Give the token types of the row that `build_inputs_with_special_tokens` builds."""
        return self.layout.token_types(
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
        return self.layout.frame([0] * len(token_ids_0), second, 1, 1)
