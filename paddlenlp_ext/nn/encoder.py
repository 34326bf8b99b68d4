"""The post-LayerNorm transformer stack that all model families stand on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.nn.attention import Mask
from paddlenlp_ext.nn.cpu import bfloat16
from paddlenlp_ext.nn.cpu.layers import Dropout, LayerNorm, gelu, on_cpu, tanh_gelu
from paddlenlp_ext.nn.cpu.packed import Packed
from paddlenlp_ext.nn.cpu.stack import encode
from paddlenlp_ext.nn.cpu.units import unit_for
from paddlenlp_ext.nn.positions import TOKENS, Positions, take
from paddlenlp_ext.nn.tracing import is_given

# Those of transformers under its names, but the two that have parameters (prelu, xielu).
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,  # the exact one, by erf
    "gelu_10": lambda x: gelu(x).clip(-10.0, 10.0),
    "gelu_accurate": tanh_gelu,
    "gelu_fast": tanh_gelu,
    "gelu_new": tanh_gelu,
    "gelu_python": gelu,
    "gelu_python_tanh": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "laplace": lambda x: 0.5 * (1 + paddle.erf((x - 0.707107) / (0.282095 * math.sqrt(2)))),
    "leaky_relu": F.leaky_relu,
    "linear": lambda x: x,
    "mish": F.mish,
    "quick_gelu": lambda x: x * F.sigmoid(1.702 * x),
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
    "relu6": F.relu6,
    "sigmoid": F.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": paddle.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Look up an activation by its name in `config.json`.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]


@dataclass
class LayerOutput:
    """Output of one layer."""

    hidden_states: Tensor  # float [B, L, H], or [B, R, H] of some positions
    attentions: Tensor | None = None  # float32 [B, A, L, L], if asked for


@dataclass
class EncoderOutput:
    """Output of the stack; `hidden_states` begins with the input of the first layer."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class EncoderLayer(nn.Layer):
    """Attention and feed-forward, each: sublayer, dropout, residual, LayerNorm.

    The parts are passed in, so that a model with attention or projections of its own (ConvBERT)
    uses the same layer. Parameter names are those of `paddle.nn.TransformerEncoderLayer`.

    Args:
        self_attn: `(hidden_states, mask, positions, with_weights=) -> (output, weights or None)`.
        linear1: `H` to `F`.
        linear2: `F` to `H`.
        hidden_act: Activation between them.
        hidden_size: `H`.
        layer_norm_eps: Added to the variance.
        dropout: Dropout probability of each sublayer's output.
        activation_dropout: Dropout probability of the activation's output.

    Attributes:
        is_compiled: Compute it as one unit by kernels in C, where there are any and `unit_for`
            finds that they can.
    """

    is_compiled = True

    def __init__(
        self,
        self_attn: nn.Layer,
        linear1: nn.Layer,
        linear2: nn.Layer,
        *,
        hidden_act: str,
        hidden_size: int,
        layer_norm_eps: float,
        dropout: float,
        activation_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.self_attn = self_attn
        self.norm1 = LayerNorm(hidden_size, epsilon=layer_norm_eps)
        self.linear1 = linear1
        self.linear2 = linear2
        self.norm2 = LayerNorm(hidden_size, epsilon=layer_norm_eps)
        self.activation = activation(hidden_act)
        self.dropout = Dropout(dropout)
        self.activation_dropout = Dropout(activation_dropout)

    def forward(
        self,
        hidden_states: Tensor,
        mask: Mask | Packed | None,
        with_weights: bool = False,
        positions: Positions | None = None,
    ) -> LayerOutput:
        """Run the layer on [B, L, H], for some positions if they are given.

        See `Encoder.forward` for the arguments. Tokens without padding are [T, H], and positions
        places among them.
        """
        unit = unit_for(self, hidden_states, mask, with_weights, positions)
        if unit is not None:
            queries = None if positions is None else take(hidden_states, positions)
            return LayerOutput(unit(hidden_states, queries))
        attended, attentions = self.self_attn(
            hidden_states, mask, positions, with_weights=with_weights
        )
        states = self.norm1(take(hidden_states, positions) + self.dropout(attended))
        return LayerOutput(self.feed_forward(states), attentions)

    def feed_forward(self, states: Tensor) -> Tensor:
        """Run the second part: [B, L, H] -> [B, L, H]."""
        inner = self.activation_dropout(self.activation(self.linear1(states)))
        normed: Tensor = self.norm2(states + self.dropout(self.linear2(inner)))
        return normed


class Encoder(nn.Layer):
    """A stack of layers.

    Attributes:
        enable_recompute: Forget activations in the forward pass and compute them again in the
            backward pass: less memory for about a third more time.
        skips_unread: Compute the last layer for those positions only that are read.
    """

    def __init__(self, layers: Iterable[nn.Layer]) -> None:
        super().__init__()
        self.layers = nn.LayerList(list(layers))
        self.enable_recompute = False
        self.skips_unread = True

    def forward(
        self,
        hidden_states: Tensor,
        mask: Mask | None,
        *,
        positions: Positions | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """Run all layers; what is not asked for is freed as soon as it has served.

        Args:
            hidden_states: Embedded tokens; float [B, L, H].
            mask: Which positions each position may attend to; all if None.
            positions: Which are read of the last hidden states, float [B, R, H] then; all if None.
                Of the last layer, only they are computed where nothing else of it is asked for.
                And no layer computes padding where nothing of it is read and units compute them
                all; where padding stands, the last hidden states of `TOKENS` then are zeros.
            output_hidden_states: Return the hidden states of every layer.
            output_attentions: Return the attention weights of every layer.
        """
        if output_hidden_states or output_attentions or not on_cpu(hidden_states):
            read = None if positions is TOKENS else positions
            return self.by_layer(hidden_states, mask, read, output_hidden_states, output_attentions)
        return EncoderOutput(encode(self, hidden_states, mask, positions))

    def by_layer(
        self,
        states: Tensor,
        mask: Mask | Packed | None,
        read: Positions | None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """Run one layer after another; arguments as `forward`, or without padding [T, H]."""
        is_whole = output_hidden_states or output_attentions or not self.skips_unread
        all_states, attentions = [states], []
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            computed = None if is_whole or number < last else read
            output = self.run(layer, states, mask, output_attentions, computed)
            states = output.hidden_states
            if output_hidden_states:
                all_states.append(states)
            if is_given(output.attentions):
                attentions.append(output.attentions)
        return EncoderOutput(
            take(states, read) if is_whole else states,
            tuple(all_states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    def run(self, layer: nn.Layer, states: Tensor, *inputs: object) -> LayerOutput:
        """Run one layer, or have it computed again in the backward pass."""
        if not self._should_recompute(states):
            output: LayerOutput = layer(states, *inputs)
            return output
        from paddle.distributed.fleet.utils import recompute

        casts = bfloat16.current()

        def run_again(*same: object) -> Tensor:
            # Only the hidden states leave the layer, or the weights that they came from would be
            # kept.
            with bfloat16.bfloat16_products(casts):
                hidden_states: Tensor = layer(*same).hidden_states
            return hidden_states

        return LayerOutput(recompute(run_again, states, *inputs))

    def _should_recompute(self, states: Tensor) -> bool:
        # Above what is frozen: Paddle does not train a layer that it computes again from inputs
        # without a gradient.
        return (
            self.enable_recompute
            and self.training
            and paddle.is_grad_enabled()
            and not states.stop_gradient
        )
