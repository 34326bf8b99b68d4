"""Input embeddings: words, positions and, for most models, token types."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from paddlenlp_ext.errors import InputError, TooLongError
from paddlenlp_ext.nn.cpu.layers import Dropout, LayerNorm, Linear, embed, on_cpu
from paddlenlp_ext.nn.tracing import is_given, is_traced
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding


class Embeddings(nn.Layer):
    """Sum of word, position and token-type embeddings, normalised.

    No row is frozen or skipped: Paddle's `padding_idx` would return zeros for the padding token,
    where the published weights hold a trained row.

    Args:
        vocab_size: Rows of the word embeddings, `V`.
        width: Width of the tables, `E`.
        max_positions: Rows of the position table.
        type_vocab_size: Rows of the token-type table; 0 for a model without token types.
        layer_norm_eps: Added to the variance.
        dropout: Dropout probability of the result.
        position_offset: Row of the first position.
        output_width: Width of the result, `H`; where it is not `width`, a linear layer comes last.

    Attributes:
        max_length: Tokens that there are positions for.
        least_position: The least of positions.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        max_positions: int,
        type_vocab_size: int,
        *,
        layer_norm_eps: float,
        dropout: float,
        position_offset: int = 0,
        output_width: int | None = None,
    ) -> None:
        super().__init__()
        self.position_offset = position_offset
        self.max_length = max_positions - position_offset
        self.least_position = 0
        self.word_embeddings = nn.Embedding(vocab_size, width)
        self.position_embeddings = nn.Embedding(max_positions, width)
        self.token_type_embeddings = (
            nn.Embedding(type_vocab_size, width) if type_vocab_size else None
        )
        self.layer_norm = LayerNorm(width, epsilon=layer_norm_eps)
        self.dropout = Dropout(dropout)
        projects = output_width is not None and output_width != width
        self.projection = Linear(width, output_width) if projects else None

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        first_position: int = 0,
    ) -> Tensor:
        """Embed tokens.

        Args:
            input_ids: Token ids; int64 [B, L].
            token_type_ids: Segment of each token; int64 [B, L]; all 0 if absent.
            position_ids: Positions counted from 0; int64 [B, L]; in order if absent.
            inputs_embeds: Word embeddings in place of `input_ids`; float [B, L, E].
            first_position: Position of the first token, if earlier ones are in a cache.

        Returns:
            float [B, L, E], or [B, L, H] after a projection.

        Raises:
            TooLongError: The sequence is longer than the position table allows.
            InputError: On a CPU, there is no such id, position or type.
        """
        words = inputs_embeds
        if not is_given(words):
            words = look_up("input_ids", self.word_embeddings, input_ids)
        return self.complete(words, token_type_ids, position_ids, first_position)

    def complete(
        self,
        words: Tensor,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        first_position: int,
    ) -> Tensor:
        """Add positions and types to word embeddings, float [B, L, E]; see `forward`."""
        batch, length, _ = words.shape
        if is_given(position_ids):
            require_rows("position_ids", position_ids, self.max_length, self.least_position)
            positions = self.position_embeddings(position_ids + self.position_offset)
        else:
            positions = self.in_order(first_position, batch, length)
        total = words + positions
        if self.token_type_embeddings is not None:
            if not is_given(token_type_ids):
                token_type_ids = paddle.zeros([1, 1], "int64").expand([batch, length])
            total = total + look_up("token_type_ids", self.token_type_embeddings, token_type_ids)
        embedded = self.dropout(self.layer_norm(total))
        return embedded if self.projection is None else self.projection(embedded)

    def in_order(self, first: int, batch: int, length: int) -> Tensor:
        """Embed the positions of tokens in order: float [B, L, E], or [L, E] without gradients."""
        self.check_length(first + length)
        if on_cpu(self.position_embeddings.weight) and not paddle.is_grad_enabled():
            begin = first + self.position_offset
            rows: Tensor = self.position_embeddings.weight[begin : begin + length]
            return rows
        # One for each token: on a CPU, Paddle is slow to add up what one gets from several.
        ids = paddle.arange(first, first + length).unsqueeze(0).expand([batch, length])
        embedded: Tensor = self.position_embeddings(ids + self.position_offset)
        return embedded

    def check_length(self, length: int) -> None:
        """Raise TooLongError if a sequence is longer than the position table allows.

        A program is made before there is a length: there it is left to Paddle.
        """
        if not is_traced() and length > self.max_length:
            raise TooLongError(
                f"a sequence of {length} tokens is longer than the model's "
                f"{self.max_length} positions; truncate it (`max_seq_length`)"
            )


def look_up(name: str, table: nn.Embedding | TrimmedEmbedding, ids: Tensor) -> Tensor:
    """Look rows of a table up: int64 [B, L] -> float [B, L, E].

    Args:
        name: What the caller calls the ids, for the message.
        table: float [V, E].
        ids: int64 [B, L].

    Raises:
        InputError: On a CPU, the table has no such row.
    """
    rows = table if isinstance(table, TrimmedEmbedding) else table.weight
    require_rows(name, ids, rows.shape[0])
    found: Tensor = embed(ids, rows) if on_cpu(ids) and _is_plain(table) else table(ids)
    return found


def _is_plain(table: nn.Layer) -> bool:
    """Whether a table is Paddle's with no setting but its size, and nobody looks at it."""
    numbers, choices = ("_padding_idx", "_max_norm"), ("_sparse", "_scale_grad_by_freq")
    return (
        type(table) is nn.Embedding
        and all(vars(table).get(name) is None for name in numbers)
        and not any(vars(table).get(name) for name in choices)
        and not table._forward_pre_hooks
        and not table._forward_post_hooks
    )


def require_rows(name: str, ids: Tensor, count: int, least: int = 0) -> None:
    """Refuse ids that a table has no row for.

    On a CPU Paddle reads what lies before the table for -1. Elsewhere, where to look at a number
    would mean to wait for it, and in programs this is left to Paddle.

    Args:
        name: What the caller calls them, for the message.
        ids: int64 [...].
        count: The first number that is too large.
        least: The first number that is not too small.

    Raises:
        InputError: There are other numbers.
    """
    if on_cpu(ids) and ids.size:
        numbers = ids.numpy()
        low, high = int(numbers.min()), int(numbers.max())
        if low < least or high >= count:
            raise InputError(
                f"`{name}` hold {low if low < least else high}, and the model has rows for "
                f"{least} to {count - 1}; are they of this model's tokenizer?"
            )
