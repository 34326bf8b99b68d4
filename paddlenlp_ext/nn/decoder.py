"""A stack of layers that goes on from a cache, and may attend to another model's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor

from paddlenlp_ext.nn.attention import Attention, KeyValue, Mask
from paddlenlp_ext.nn.cpu.layers import LayerNorm
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from paddlenlp_ext.nn.positions import Positions, take
from paddlenlp_ext.nn.tracing import is_given


@dataclass
class DecoderLayerOutput:
    """Output of one layer, and the keys and values to keep for the next call."""

    hidden_states: Tensor  # float [B, L, H]
    attentions: Tensor | None = None  # float32 [B, A, Lq, L], if asked for
    cross_attentions: Tensor | None = None  # float32 [B, A, L, Lm]
    key_values: tuple[KeyValue, ...] = ()  # of the self-attention, then of the cross-attention


@dataclass
class DecoderOutput:
    """Output of the stack; of each layer, what was asked for."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    key_values: tuple[tuple[KeyValue, ...], ...] | None = None


def attend_after(
    layer: EncoderLayer,
    states: Tensor,
    mask: Mask | None,
    past: KeyValue | None,
    with_weights: bool,
) -> tuple[Tensor, Tensor | None, KeyValue]:
    """Run the first part of a layer, for tokens that stand after those of earlier calls.

    Args:
        layer: Whose attention is `Attention`.
        states: float [B, L, H].
        mask: Which positions each position may attend to, those of `past` in front.
        past: Keys and values of earlier calls.
        with_weights: Return the weights too.

    Returns:
        The states, float [B, L, H]; the weights, if asked for; all keys and values.
    """
    attention = layer.self_attn
    query, key_value = attention.query(states), attention.key_value(states)
    if past is not None:
        key_value = tuple(paddle.concat(both, axis=1) for both in zip(past, key_value, strict=True))
    attended, weights = attention.attend_to(query, key_value, mask, with_weights=with_weights)
    return layer.norm1(states + layer.dropout(attended)), weights, key_value


def encode_after(
    encoder: Encoder,
    states: Tensor,
    mask: Mask | None,
    past: Sequence[Sequence[KeyValue]] | None,
    *,
    positions: Positions | None = None,
    output_hidden_states: bool = False,
    output_attentions: bool = False,
) -> DecoderOutput:
    """Run an encoder's layers for tokens that also attend to keys and values in front of them.

    Nothing is computed again in the backward pass, which the keys and values in front may have
    gradients of. Arguments as of `Decoder.forward`.
    """
    all_states, attentions, key_values = [states], [], []
    for index, layer in enumerate(encoder.layers):
        earlier = None if past is None else past[index][0]
        states, weights, key_value = attend_after(layer, states, mask, earlier, output_attentions)
        states = layer.feed_forward(states)
        if output_hidden_states:
            all_states.append(states)
        attentions.append(weights)
        key_values.append((key_value,))
    return DecoderOutput(
        take(states, positions),
        hidden_states=tuple(all_states) if output_hidden_states else None,
        attentions=tuple(attentions) if output_attentions else None,
        key_values=tuple(key_values),
    )


class DecoderLayer(EncoderLayer):
    """A layer that keeps keys and values, with attention to a memory between its two parts.

    Args:
        parts: As `EncoderLayer`.
        cross_attn: Attention to a memory, for a decoder that has one.
        options: As `EncoderLayer`.
    """

    def __init__(self, *parts: Any, cross_attn: Attention | None, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.cross_attn = cross_attn
        if cross_attn is not None:
            self.cross_norm = LayerNorm(options["hidden_size"], epsilon=options["layer_norm_eps"])

    def forward(  # type: ignore[override]  # never without padding
        self,
        hidden_states: Tensor,
        mask: Mask | None,
        with_weights: bool = False,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        past: Sequence[KeyValue] | None = None,
    ) -> DecoderLayerOutput:
        """Run the layer on [B, L, H]; see `Decoder.forward` for the arguments."""
        states, attentions, key_value = attend_after(
            self, hidden_states, mask, None if past is None else past[0], with_weights
        )
        cross_attentions = None
        key_values: tuple[KeyValue, ...] = (key_value,)
        if self.cross_attn is not None and is_given(memory):
            query = self.cross_attn.query(states)
            # Pairs of a caller's own hold none of a memory.
            of_memory = past[1] if past and len(past) > 1 else self.cross_attn.key_value(memory)
            attended, cross_attentions = self.cross_attn.attend_to(
                query, of_memory, memory_mask, with_weights=with_weights
            )
            states = self.cross_norm(states + self.dropout(attended))
            key_values = (key_value, of_memory)
        return DecoderLayerOutput(
            self.feed_forward(states), attentions, cross_attentions, key_values
        )


class Decoder(Encoder):
    """A stack of `DecoderLayer`."""

    def forward(  # type: ignore[override]  # with what a decoder has more
        self,
        hidden_states: Tensor,
        mask: Mask | None,
        *,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        past: Sequence[Sequence[KeyValue]] | None = None,
        use_cache: bool = False,
        positions: Positions | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> DecoderOutput:
        """Run all layers.

        Args:
            hidden_states: Embedded tokens; float [B, L, H].
            mask: Which positions each position may attend to, those of `past` in front.
            memory: Another model's output, for cross-attention; float [B, Lm, H].
            memory_mask: Which positions of it may be attended to.
            past: For each layer, keys and values of earlier calls.
            use_cache: Return the keys and values of every layer.
            positions: Which are read of the last hidden states; all if None. All are computed.
            output_hidden_states: Return the hidden states of every layer.
            output_attentions: Return the attention weights of every layer.
        """
        states, all_states = hidden_states, [hidden_states]
        attentions, crosses, key_values = [], [], []
        for index, layer in enumerate(self.layers):
            layer_past = None if past is None else past[index]
            output = self.run(
                layer, states, mask, output_attentions, memory, memory_mask, layer_past
            )
            states = output.hidden_states
            if output_hidden_states:
                all_states.append(states)
            # Of a layer that is computed again, only the hidden states are there.
            if is_given(output.attentions):
                attentions.append(output.attentions)
            if isinstance(output, DecoderLayerOutput):
                if is_given(output.cross_attentions):
                    crosses.append(output.cross_attentions)
                if use_cache:
                    key_values.append(output.key_values)
        return DecoderOutput(
            take(states, positions),
            tuple(all_states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
            tuple(crosses) or None,
            tuple(key_values) if use_cache else None,
        )
