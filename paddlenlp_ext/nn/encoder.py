"""The post-LayerNorm transformer stack that all six model families stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.nn.attention import KeyValue
from paddlenlp_ext.nn.cpu.layers import Dropout, LayerNorm, gelu

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,  # the exact one, by erf
    "gelu_new": partial(F.gelu, approximate=True),
    "relu": F.relu,
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


@dataclass(frozen=True)
class LayerOutput:
    """What one layer answers; the keys and values are those a decoder keeps for the next step."""

    hidden_states: Tensor  # [B, L, H]
    attentions: Tensor | None  # [B, A, L, L]; none where the layer is computed again
    cross_attentions: Tensor | None  # [B, A, L, Lm]
    key_values: tuple[KeyValue, ...]  # of the self-attention, then of the cross-attention


@dataclass(frozen=True)
class EncoderOutput:
    """What the stack answers; `hidden_states` begins with the input of the first layer."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    key_values: tuple[tuple[KeyValue, ...], ...] | None = None


class EncoderLayer(nn.Layer):
    """Attention and feed-forward, each: sublayer, dropout, residual, LayerNorm.

    The parts are passed in, so that a model with attention or projections of its own (ConvBERT)
    uses the same layer. Parameter names are those of `paddle.nn.TransformerEncoderLayer`.

    Args:
        self_attn: `(hidden_states, bias, past=) -> (output, weights, key_value)`.
        linear1: `H` to `F`.
        linear2: `F` to `H`.
        hidden_act: Activation between them.
        hidden_size: `H`.
        layer_norm_eps: Added to the variance.
        dropout: Dropped share of each sublayer's output.
        activation_dropout: Dropped share of the activation's output.
        cross_attn: Attention to a memory, for a decoder that has one.
    """

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
        cross_attn: nn.Layer | None = None,
    ) -> None:
        super().__init__()
        self.self_attn = self_attn
        self.norm1 = LayerNorm(hidden_size, epsilon=layer_norm_eps)
        self.cross_attn = cross_attn
        if cross_attn is not None:
            self.cross_norm = LayerNorm(hidden_size, epsilon=layer_norm_eps)
        self.linear1 = linear1
        self.linear2 = linear2
        self.norm2 = LayerNorm(hidden_size, epsilon=layer_norm_eps)
        self.activation = activation(hidden_act)
        self.dropout = Dropout(dropout)
        self.activation_dropout = Dropout(activation_dropout)

    def forward(
        self,
        hidden_states: Tensor,
        bias: Tensor | None,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
        past: Sequence[KeyValue] | None = None,
    ) -> LayerOutput:
        """Run the layer on [B, L, H]; see `Encoder.forward` for the arguments."""
        attended, attentions, key_value = self.self_attn(
            hidden_states, bias, past=past[0] if past else None
        )
        states = self.norm1(hidden_states + self.dropout(attended))
        cross_attentions = None
        key_values: tuple[KeyValue, ...] = (key_value,)
        if self.cross_attn is not None and memory is not None:
            attended, cross_attentions, memory_key_value = self.cross_attn(
                states, memory_bias, memory=memory, past=past[1] if past else None
            )
            states = self.cross_norm(states + self.dropout(attended))
            key_values = (key_value, memory_key_value)
        inner = self.activation_dropout(self.activation(self.linear1(states)))
        states = self.norm2(states + self.dropout(self.linear2(inner)))
        return LayerOutput(states, attentions, cross_attentions, key_values)


class Encoder(nn.Layer):
    """A stack of layers.

    Attributes:
        recompute: Forget activations in the forward pass and compute them again in the backward
            pass: less memory for about a third more time.
    """

    def __init__(self, layers: Iterable[nn.Layer]) -> None:
        super().__init__()
        self.layers = nn.LayerList(list(layers))
        self.recompute = False

    def forward(
        self,
        hidden_states: Tensor,
        bias: Tensor | None,
        *,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
        past: Sequence[Sequence[KeyValue]] | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """Run all layers; what is not asked for is let go as soon as it has served.

        Args:
            hidden_states: Embedded tokens; float [B, L, H].
            bias: Added to the self-attention's scores; float32, broadcast to [B, A, L, L].
            memory: Another model's output, for cross-attention; float [B, Lm, H].
            memory_bias: Added to the cross-attention's scores.
            past: For each layer, keys and values of earlier calls.
            use_cache: Answer the keys and values of every layer.
            output_hidden_states: Answer the hidden states of every layer.
            output_attentions: Answer the attention weights of every layer.
        """
        states, all_states, outputs = hidden_states, [hidden_states], []
        for index, layer in enumerate(self.layers):
            inputs = (states, bias, memory, memory_bias, past[index] if past else None)
            output = self._recomputed(layer, inputs) if self._forgets() else layer(*inputs)
            states = output.hidden_states
            if output_hidden_states:
                all_states.append(states)
            if use_cache or output_attentions:
                outputs.append(output)
        answer = EncoderOutput(states, tuple(all_states) if output_hidden_states else None)
        if output_attentions:
            own = tuple(o.attentions for o in outputs if o.attentions is not None)
            crosses = tuple(o.cross_attentions for o in outputs if o.cross_attentions is not None)
            answer = replace(answer, attentions=own, cross_attentions=crosses or None)
        if use_cache:
            answer = replace(answer, key_values=tuple(o.key_values for o in outputs))
        return answer

    def _forgets(self) -> bool:
        return self.recompute and self.training and paddle.is_grad_enabled()

    @staticmethod
    def _recomputed(layer: nn.Layer, inputs: tuple[object, ...]) -> LayerOutput:
        from paddle.distributed.fleet.utils import recompute

        # Only the hidden states leave the layer, or the weights that they came from would be kept.
        states = recompute(lambda *tensors: layer(*tensors).hidden_states, *inputs)
        return LayerOutput(states, None, None, ())
