"""The transformer layer that all families but ConvBERT have, from a config's numbers."""

from __future__ import annotations

from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.nn.attention import Attention
from paddlenlp_ext.nn.cpu.layers import Linear
from paddlenlp_ext.nn.encoder import EncoderLayer


def make_layer(config: ModelConfig, *, activation_dropout: float = 0.0) -> EncoderLayer:
    """Build one layer; with attention to a memory if the config asks for it.

    Args:
        config: The sizes.
        activation_dropout: Dropped share of the activation between the two linear layers.
    """

    def attention() -> Attention:
        return Attention(
            config.hidden_size, config.num_attention_heads, config.attention_probs_dropout_prob
        )

    return EncoderLayer(
        attention(),
        Linear(config.hidden_size, config.intermediate_size),
        Linear(config.intermediate_size, config.hidden_size),
        hidden_act=config.hidden_act,
        hidden_size=config.hidden_size,
        layer_norm_eps=config.layer_norm_eps,
        dropout=config.hidden_dropout_prob,
        activation_dropout=activation_dropout,
        cross_attn=attention() if config.add_cross_attention else None,
    )
