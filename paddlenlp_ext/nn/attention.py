"""Attention over a sequence, over a memory, and over what earlier steps left in a cache."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.nn.cpu.layers import Dropout, Linear, add_mask, swap

KeyValue = tuple[Tensor, Tensor]  # keys and values of one attention; float [B, A, L, D] each


def attention_bias(
    attention_mask: Tensor, *, causal: bool = False, query_length: int | None = None
) -> Tensor:
    """Turn a mask into a bias for attention scores.

    Args:
        attention_mask: 1 where a token may be attended to, 0 for padding; int or bool, [B, L], or
            [B, Lq, L] with a row for each asking position.
        causal: Also forbid every position after the asking one.
        query_length: Number of asking positions, the last ones of the `L`; needed if `causal`.

    Returns:
        0 where attention is allowed, the lowest finite value elsewhere; float32 [B, 1, 1 | Lq, L].

    Raises:
        ValueError: `attention_mask` has another rank than 2 or 3.
        TypeError: `attention_mask` is floating: an additive mask would be read the wrong way round.
    """
    if attention_mask.ndim not in (2, 3):
        raise ValueError(
            "attention_mask must be [B, L] or [B, L, L] with 1 for a token and 0 for padding, "
            f"not {attention_mask.shape}"
        )
    if attention_mask.is_floating_point():
        raise TypeError(
            "attention_mask must hold integers or booleans, 1 for a token and 0 for padding, "
            f"not {attention_mask.dtype}: additive masks are not taken"
        )
    allowed = attention_mask.astype("bool")
    allowed = allowed.unsqueeze(1) if allowed.ndim == 3 else allowed.unsqueeze([1, 2])
    if causal:
        length = attention_mask.shape[-1]
        asking = paddle.arange(length - (query_length or length), length).unsqueeze(1)
        allowed = paddle.logical_and(allowed, paddle.arange(length).unsqueeze(0) <= asking)
    lowest = paddle.finfo(paddle.float32).min
    return (1.0 - allowed.astype("float32")) * lowest


def attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: nn.Dropout
) -> tuple[Tensor, Tensor]:
    """Take the mean of the values, weighted by how well their keys fit the query.

    The softmax runs in float32 whatever the precision of the rest.

    Args:
        query: Scaled; float [B, A, Lq, D].
        key: float [B, A, L, D].
        value: float [B, A, L, D].
        bias: Added to the scores; float32, broadcast to [B, A, Lq, L].
        dropout: Drops weights.

    Returns:
        The means, float [B, A, Lq, D]; the weights before dropout, float32 [B, A, Lq, L].
    """
    scores = paddle.matmul(query, key, transpose_y=True).astype("float32")
    weights = F.softmax(scores if bias is None else add_mask(scores, bias))
    return paddle.matmul(dropout(weights).astype(value.dtype), value), weights


class Attention(nn.Layer):
    """Multi-head scaled dot-product attention (arXiv 1706.03762, section 3.2).

    Args:
        hidden_size: Width of the input and output, `H`.
        num_heads: Heads, `A`; must divide `hidden_size`.
        dropout: Dropped share of the attention weights.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of {num_heads} heads")
        self.num_heads = num_heads
        self.scale = (hidden_size // num_heads) ** -0.5
        self.q_proj = Linear(hidden_size, hidden_size)
        self.k_proj = Linear(hidden_size, hidden_size)
        self.v_proj = Linear(hidden_size, hidden_size)
        self.out_proj = Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        hidden_states: Tensor,
        bias: Tensor | None = None,
        *,
        memory: Tensor | None = None,
        past: KeyValue | None = None,
    ) -> tuple[Tensor, Tensor, KeyValue]:
        """Attend from `hidden_states` to themselves, or to `memory`.

        Args:
            hidden_states: Asking positions; float [B, Lq, H].
            bias: Added to the scores; float32, broadcast to [B, A, Lq, L].
            memory: Answering positions of another sequence (cross-attention); float [B, L, H].
            past: Keys and values of earlier calls. Without `memory` this call's are appended;
                with it they are those of the memory, and are used as they are.

        Returns:
            Output, float [B, Lq, H]; attention weights, float32 [B, A, Lq, L]; keys and values.
        """
        query = self._split(self.q_proj(hidden_states)) * self.scale
        if memory is not None and past is not None:
            key, value = past
        else:
            source = hidden_states if memory is None else memory
            key, value = self._split(self.k_proj(source)), self._split(self.v_proj(source))
            if past is not None:
                key = paddle.concat([past[0], key], axis=2)
                value = paddle.concat([past[1], value], axis=2)
        context, weights = attend(query, key, value, bias, self.dropout)
        context = swap(context).flatten(2)  # [B, Lq, H]
        return self.out_proj(context), weights, (key, value)

    def _split(self, states: Tensor) -> Tensor:
        """[B, L, H] -> [B, A, L, D]."""
        return swap(states.reshape([0, 0, self.num_heads, -1]))
