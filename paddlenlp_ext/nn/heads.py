"""What is put on top of an encoder: plain layers, without losses."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.nn.cpu.layers import LayerNorm, Linear, multiply
from paddlenlp_ext.nn.encoder import activation
from paddlenlp_ext.nn.tracing import is_given, is_traced


class Pooler(nn.Layer):
    """Summary of a sequence: a dense layer and tanh on its first token.

    Args:
        hidden_size: `H`.
        hidden_act: `tanh`; or another activation's name, or "" for none, as PaddleNLP's `pool_act`.
    """

    def __init__(self, hidden_size: int, hidden_act: str = "tanh") -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.activation = activation(hidden_act) if hidden_act else None

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[B, L, H] -> [B, H]."""
        pooled = self.dense(hidden_states[:, 0])
        return pooled if self.activation is None else self.activation(pooled)


class TiedLMHead(nn.Layer):
    """Scores over the vocabulary by the word embeddings or a table of its own, plus a bias.

    Args:
        hidden_size: Width of the encoder's output, `H`.
        width: Width of the table, `E`.
        vocab_size: `V`.
        hidden_act: Activation after the dense layer.
        layer_norm_eps: Added to the variance.
        tied: Whether the table is the word embeddings.

    Attributes:
        decoder: The head's own table; float [V, E]; None if it is the word embeddings.
    """

    def __init__(
        self,
        hidden_size: int,
        width: int,
        vocab_size: int,
        *,
        hidden_act: str,
        layer_norm_eps: float,
        tied: bool = True,
    ) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, width)
        self.activation = activation(hidden_act)
        self.layer_norm = LayerNorm(width, epsilon=layer_norm_eps)
        self.decoder = None if tied else nn.Embedding(vocab_size, width)
        self.bias = self.create_parameter([vocab_size], is_bias=True)

    def forward(self, hidden_states: Tensor, table: Tensor, words: Tensor | None = None) -> Tensor:
        """Score tokens.

        Args:
            hidden_states: float [..., H].
            table: A row for each token; float [V, E].
            words: Ids of the tokens where the table has rows for some only; int64 [U].

        Returns:
            float [..., V], or [..., U].
        """
        transformed = self.layer_norm(self.activation(self.dense(hidden_states)))
        bias = paddle.gather(self.bias, words) if is_given(words) else self.bias
        return multiply(transformed, table, turned=True) + bias


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of each position's prediction of the next token.

    Args:
        logits: float [B, L, V].
        labels: The sequence itself, -100 where nothing is to be predicted; int64 [B, L].
    """
    return token_loss(logits[:, :-1], labels[:, 1:])


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over the positions whose label is not -100; 0 if there are none.

    Paddle's own mean divides by all positions where the ignored label is a negative number.

    Args:
        logits: float [..., V].
        labels: int64 [...].
    """
    if not is_traced():  # a program would write the softmax to where what is reshaped lies
        logits, labels = logits.reshape([-1, logits.shape[-1]]), labels.reshape([-1])
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).astype(total.dtype).sum().clip(min=1.0)
