"""The stack of layers: what it answers, what it lets go, and where its layers' computation is."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.layers import make_layer
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer, LayerOutput

B, L, H, LAYERS = 3, 5, 6, 4
CONFIG = ModelConfig(
    vocab_size=11,
    hidden_size=H,
    num_hidden_layers=LAYERS,
    num_attention_heads=2,
    intermediate_size=7,
)


@pytest.fixture
def encoder() -> Encoder:
    paddle.seed(6)
    encoder = Encoder(make_layer(CONFIG) for _ in range(LAYERS))
    encoder.eval()
    return encoder


def test_only_what_is_asked_for_is_answered(encoder):
    states = paddle.randn([B, L, H])
    plain = encoder(states, None)
    assert plain.hidden_states is plain.attentions is plain.key_values is None
    full = encoder(states, None, use_cache=True, output_hidden_states=True, output_attentions=True)
    np.testing.assert_array_equal(plain.last_hidden_state.numpy(), full.last_hidden_state.numpy())
    assert [one.shape for one in full.hidden_states] == [[B, L, H]] * (LAYERS + 1)
    assert full.hidden_states[-1] is full.last_hidden_state
    assert [one.shape for one in full.attentions] == [[B, 2, L, L]] * LAYERS
    assert [len(one) for one in full.key_values] == [1] * LAYERS
    assert full.cross_attentions is None  # no layer attends to a memory


@pytest.mark.parametrize("kept", [False, True])
def test_weights_of_earlier_layers_are_let_go(encoder, kept):
    """An evaluation else holds all layers' weights, which no later step reads."""
    seen: list[Any] = []
    alive: list[int] = []

    def look(layer: EncoderLayer, inputs: Any, output: LayerOutput) -> None:
        alive.append(sum(one() is not None for one in seen))
        seen.append(weakref.ref(output.attentions))

    for layer in encoder.layers:
        layer.register_forward_post_hook(look)
    with paddle.no_grad():
        output = encoder(paddle.randn([B, L, H]), None, output_attentions=kept)
    assert alive == (list(range(LAYERS)) if kept else [0] + [1] * (LAYERS - 1))
    assert output.last_hidden_state.shape == [B, L, H]


def test_layers_are_computed_in_one_place(encoder, monkeypatch):
    """Another computation of a layer needs nothing but to take the place of its `forward`."""
    calls: list[int] = []

    def doubled(layer: EncoderLayer, hidden_states: paddle.Tensor, *_: Any) -> LayerOutput:
        calls.append(hidden_states.ndim)
        return LayerOutput(hidden_states * 2, None, None, ())

    monkeypatch.setattr(EncoderLayer, "forward", doubled)
    states = paddle.randn([B, L, H])
    output = encoder(states, None).last_hidden_state
    np.testing.assert_array_equal(output.numpy(), states.numpy() * 2**LAYERS)
    assert calls == [3] * LAYERS
