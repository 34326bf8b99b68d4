"""Attention of queries to keys and values: the mask, the kernels that compute it, the layer.

All tensors are laid out as [B, L, A, D], from the projections to the kernels and in a decoder's
cache. `kernel_for` is the one place that chooses a kernel.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.nn.cpu.layers import Dropout, Linear, add_mask, swap
from paddlenlp_ext.nn.cpu.texts import Keys
from paddlenlp_ext.nn.positions import Positions, take
from paddlenlp_ext.nn.tracing import is_traced
from paddlenlp_ext.process import devices

LOWEST = float(paddle.finfo(paddle.float32).min)
KeyValue = tuple[Tensor, Tensor]  # keys and values of one attention; float [B, L, A, D] each


@dataclass
class Mask:
    """Which keys each query may attend to; `mask_of` makes one.

    What reads it in a program is a function below: SOT knows no methods of a dataclass.

    Attributes:
        allowed: bool [B, 1, 1 | Lq, L].
        has_rows: Whether queries of a text differ in it.
        made: What kernels made of it, kept for all layers of a forward pass.
    """

    allowed: Tensor
    has_rows: bool
    made: dict[object, Any]

    @property
    def keys(self) -> Keys | None:
        """The tokens that may be attended to; None if queries of a text differ in that."""
        if self.allowed.shape[2] != 1:
            return None
        if "keys" not in self.made:
            self.made["keys"] = Keys.of_rows(self.allowed.squeeze([1, 2]).numpy())
        found: Keys | None = self.made["keys"]
        return found


def mask_of(tokens: Tensor, *, causal: bool = False, first_query: int = 0) -> Mask:
    """Make a mask.

    Args:
        tokens: 1 where a token may be attended to, 0 for padding; int or bool, [B, L], or
            [B, Lq, L] with a row for each query.
        causal: Also forbid every key after the query.
        first_query: Where among the keys the first query stands, if earlier ones are in a cache.

    Raises:
        ValueError: `tokens` has another rank than 2 or 3.
        TypeError: `tokens` is floating: an additive mask would be read the wrong way round.
    """
    if tokens.ndim not in (2, 3):
        raise ValueError(
            "attention_mask must be [B, L] or [B, L, L] with 1 for a token and 0 for padding, "
            f"not {tokens.shape}"
        )
    if tokens.is_floating_point():
        raise TypeError(
            "attention_mask must hold integers or booleans, 1 for a token and 0 for padding, "
            f"not {tokens.dtype}: additive masks are not taken"
        )
    has_rows = causal or tokens.ndim == 3
    allowed = tokens.astype("bool")
    allowed = allowed.unsqueeze(1) if allowed.ndim == 3 else allowed.unsqueeze([1, 2])
    if causal:
        # By counting, without a size: an exported program does not know any yet.
        keys = paddle.ones_like(allowed[:1, :, :1], dtype="int64").cumsum(axis=-1)
        queries = keys[..., first_query:].transpose([0, 1, 3, 2])
        allowed = paddle.logical_and(allowed, keys <= queries)
    return Mask(allowed, has_rows, {})


def rows_of(mask: Mask | None, positions: Positions | None) -> Mask | None:
    """Return the mask of the queries at some positions."""
    if mask is None or positions is None or not mask.has_rows:
        return mask
    # Early versions of Paddle take no booleans.
    rows = take(mask.allowed.squeeze(1).astype("int32"), positions)
    return Mask(rows.astype("bool").unsqueeze(1), True, {})


def bias_of(mask: Mask, dtype: object = paddle.float32) -> Tensor:
    """Return what is added to scores: 0 where attention is allowed, else a type's lowest value.

    Not minus infinity: a query that may attend to nothing takes the mean of all values.
    """
    if is_traced():  # where all scores are float32
        return _bias_of(mask.allowed, LOWEST)
    if dtype not in mask.made:
        mask.made[dtype] = _bias_of(mask.allowed, paddle.finfo(dtype).min).astype(dtype)
    bias: Tensor = mask.made[dtype]
    return bias


def _bias_of(allowed: Tensor, lowest: float) -> Tensor:
    return (1.0 - allowed.astype("float32")) * lowest


def bias_of_queries(mask: Mask, dtype: object, queries: int) -> Tensor:
    """Return the bias with a row for each query: [B, 1, Lq, L]."""
    if (dtype, queries) not in mask.made:
        bias = bias_of(mask, dtype)
        mask.made[dtype, queries] = bias.expand([*bias.shape[:2], queries, bias.shape[3]])
    rows: Tensor = mask.made[dtype, queries]
    return rows


Kernel = Callable[
    [Tensor, Tensor, Tensor, "Mask | None", nn.Dropout], tuple[Tensor, "Tensor | None"]
]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Mask | None,
    dropout: nn.Dropout,
    *,
    with_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Take the mean of the values, weighted by how well their keys fit the query.

    That is `softmax(query · key / √D + mask) · value` (arXiv 1706.03762, section 3.2.1).

    Args:
        query: float [B, Lq, A, D].
        key: float [B, L, A, D].
        value: float [B, L, A, D].
        mask: Which keys each query may attend to; all if None.
        dropout: Drops weights.
        with_weights: Return the weights too, which not every kernel has.

    Returns:
        The means, float [B, Lq, A, D]; the weights before dropout, float32 [B, A, Lq, L], if asked
        for.
    """
    kernel = explicit if with_weights else kernel_for(query)
    means, weights = kernel(query, key, value, mask, dropout)
    return means, weights if with_weights else None


def kernel_for(query: Tensor) -> Kernel:
    """Choose what computes attention: one operation where the device has it, else its parts.

    Not all runtimes that read an exported program know that operation.
    """
    fuses = HAS_FUSED and not is_traced() and devices.of(query).fuses_attention
    return fused if fuses else explicit


def explicit(
    query: Tensor, key: Tensor, value: Tensor, mask: Mask | None, dropout: nn.Dropout
) -> tuple[Tensor, Tensor]:
    """Compute the definition; the softmax runs in float32 whatever the precision of the rest."""
    query = swap(query) * query.shape[-1] ** -0.5
    scores = paddle.matmul(query, swap(key), transpose_y=True).astype("float32")  # [B, A, Lq, L]
    weights = F.softmax(scores if mask is None else add_mask(scores, bias_of(mask)))
    return swap(paddle.matmul(dropout(weights).astype(value.dtype), swap(value))), weights


def fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Mask | None, dropout: nn.Dropout
) -> tuple[Tensor, None]:
    """Leave it to Paddle, which takes flash attention where device, type and sizes allow that."""
    bias = None
    if mask is not None:
        # Of a boolean mask Paddle makes minus infinities. Not all of its kernels take one row for
        # all queries.
        bias = bias_of_queries(mask, query.dtype, query.shape[1])
    means = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias,
        dropout_p=dropout.p if dropout.training else 0.0,
        training=dropout.training,
    )
    return means, None


# PaddlePaddle 2.6's takes no float32, and knows no other kernel where flash attention cannot run.
HAS_FUSED = "scale" in inspect.signature(F.scaled_dot_product_attention).parameters


class Attention(nn.Layer):
    """Multi-head scaled dot-product attention (arXiv 1706.03762, section 3.2.2).

    Args:
        hidden_size: Width of the input and output, `H`.
        num_heads: Heads, `A`; must divide `hidden_size`.
        dropout: Dropout probability of the attention weights.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of {num_heads} heads")
        self.heads = [num_heads, hidden_size // num_heads]
        self.q_proj = Linear(hidden_size, hidden_size)
        self.k_proj = Linear(hidden_size, hidden_size)
        self.v_proj = Linear(hidden_size, hidden_size)
        self.out_proj = Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        hidden_states: Tensor,
        mask: Mask | None = None,
        positions: Positions | None = None,
        *,
        with_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `hidden_states` to themselves.

        Args:
            hidden_states: float [B, L, H].
            mask: Which positions each position may attend to.
            positions: Those that attend, `Lq` of them; all if None.
            with_weights: Return the weights too.

        Returns:
            Output, float [B, Lq, H]; attention weights, float32 [B, A, Lq, L], if asked for.
        """
        query = self.query(take(hidden_states, positions))
        mask = rows_of(mask, positions)
        return self.attend_to(query, self.key_value(hidden_states), mask, with_weights=with_weights)

    def query(self, hidden_states: Tensor) -> Tensor:
        """[B, Lq, H] -> [B, Lq, A, D]."""
        query: Tensor = self.q_proj(hidden_states).reshape([0, 0, *self.heads])
        return query

    def key_value(self, hidden_states: Tensor) -> KeyValue:
        """[B, L, H] -> two [B, L, A, D]."""
        key, value = self.k_proj(hidden_states), self.v_proj(hidden_states)
        return key.reshape([0, 0, *self.heads]), value.reshape([0, 0, *self.heads])

    def attend_to(  # not `attend`, which a traced program would take for the function
        self, query: Tensor, key_value: KeyValue, mask: Mask | None, *, with_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from queries to keys and values, both as the methods above give them."""
        means, weights = attend(query, *key_value, mask, self.dropout, with_weights=with_weights)
        return self.out_proj(means.flatten(2)), weights
