"""A stack of layers that goes on from a cache, and may attend to another model's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor

from paddlenlp_ext.nn.attention import Attention, KeyValue, Mask
from paddlenlp_ext.nn.cpu.layers import LayerNorm
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer, EncoderOutput, LayerOutput
from paddlenlp_ext.nn.positions import Positions, take


@dataclass(frozen=True)
class DecoderLayerOutput(LayerOutput):
    """Output of one layer, and the keys and values to keep for the next call."""

    cross_attentions: Tensor | None = None  # float32 [B, A, L, Lm]
    key_values: tuple[KeyValue, ...] = ()  # of the self-attention, then of the cross-attention


@dataclass(frozen=True)
class DecoderOutput(EncoderOutput):
    """Output of the stack; of each layer, what was asked for."""

    cross_attentions: tuple[Tensor, ...] | None = None
    key_values: tuple[tuple[KeyValue, ...], ...] | None = None


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
        query = self.self_attn.query(hidden_states)
        key_value = self.self_attn.key_value(hidden_states)
        if past is not None:
            old_key, old_value = past[0]
            key_value = (
                paddle.concat([old_key, key_value[0]], axis=1),
                paddle.concat([old_value, key_value[1]], axis=1),
            )
        attended, attentions = self.self_attn.attend_to(
            query, key_value, mask, with_weights=with_weights
        )
        states = self.norm1(hidden_states + self.dropout(attended))
        cross_attentions = None
        key_values: tuple[KeyValue, ...] = (key_value,)
        if self.cross_attn is not None and memory is not None:
            query = self.cross_attn.query(states)
            of_memory = self.cross_attn.key_value(memory) if past is None else past[1]
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

    def forward(
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
        states, kept = [hidden_states], []
        for index, layer in enumerate(self.layers):
            layer_past = None if past is None else past[index]
            output = self.run(
                layer, states[-1], mask, output_attentions, memory, memory_mask, layer_past
            )
            states = [*(states if output_hidden_states else ()), output.hidden_states]
            # Of a layer that is computed again, only the hidden states are there.
            if isinstance(output, DecoderLayerOutput) and (use_cache or output_attentions):
                kept.append(output)
        crosses = tuple(o.cross_attentions for o in kept if o.cross_attentions is not None)
        return DecoderOutput(
            take(states[-1], positions),
            tuple(states) if output_hidden_states else None,
            tuple(o.attentions for o in kept if o.attentions is not None)
            if output_attentions
            else None,
            crosses or None,
            tuple(o.key_values for o in kept) if use_cache else None,
        )
