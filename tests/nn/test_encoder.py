"""The stack of layers: what it returns, and where its layers' computation is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.transformer import make_stack
from paddlenlp_ext.nn.encoder import ACTIVATIONS, Encoder, EncoderLayer, LayerOutput

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
    encoder = make_stack(CONFIG)
    encoder.eval()
    return encoder


def gelu(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def tanh_gelu(x):
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMULAS = {
    "gelu": gelu,
    "gelu_10": lambda x: np.clip(gelu(x), -10, 10),
    **dict.fromkeys(
        ("gelu_accurate", "gelu_fast", "gelu_new", "gelu_python_tanh", "gelu_pytorch_tanh"),
        tanh_gelu,
    ),
    "gelu_python": gelu,
    "laplace": lambda x: np.vectorize(math.erf)((x - 0.707107) / (0.282095 * 2**0.5)) / 2 + 0.5,
    "leaky_relu": lambda x: np.where(x < 0, 0.01 * x, x),
    "linear": lambda x: x,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_formulas(name):
    values = np.linspace(-17, 17, 341)
    found = ACTIVATIONS[name](paddle.to_tensor(values.astype("float32"))).numpy()
    np.testing.assert_allclose(found, FORMULAS[name](values), rtol=1e-5, atol=2e-6)


def test_only_what_is_asked_for_is_returned(encoder):
    states = paddle.randn([B, L, H])
    plain = encoder(states, None)
    assert plain.hidden_states is plain.attentions is None
    full = encoder(states, None, output_hidden_states=True, output_attentions=True)
    found, expected = plain.last_hidden_state, full.last_hidden_state
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-5)
    assert [one.shape for one in full.hidden_states] == [[B, L, H]] * (LAYERS + 1)
    assert full.hidden_states[-1] is full.last_hidden_state
    assert [one.shape for one in full.attentions] == [[B, 2, L, L]] * LAYERS


@pytest.mark.parametrize("memory", [False, True])
def test_only_what_is_asked_of_a_decoder_is_returned(memory):
    config = CONFIG.replace(is_decoder=True, add_cross_attention=memory)
    decoder = make_stack(config)
    decoder.eval()
    states = paddle.randn([B, L, H])
    given = {"memory": paddle.randn([B, L + 2, H])} if memory else {}
    plain = decoder(states, None, **given)
    assert plain.hidden_states is plain.attentions is plain.key_values is None
    full = decoder(states, None, use_cache=True, output_attentions=True, **given)
    np.testing.assert_array_equal(plain.last_hidden_state.numpy(), full.last_hidden_state.numpy())
    assert [len(one) for one in full.key_values] == [1 + memory] * LAYERS
    assert full.key_values[0][0][0].shape == [B, L, 2, H // 2]
    crosses = [one.shape for one in full.cross_attentions or ()]
    assert crosses == ([[B, 2, L, L + 2]] * LAYERS if memory else [])


@pytest.mark.parametrize("asked", [False, True])
def test_weights_leave_a_layer_for_whoever_asks(encoder, asked):
    """An evaluation else holds all layers' weights, which nothing reads."""
    seen: list[bool] = []

    def look(layer: EncoderLayer, inputs: Any, output: LayerOutput) -> None:
        seen.append(output.attentions is not None)

    for layer in encoder.layers:
        layer.register_forward_post_hook(look)
    encoder(paddle.randn([B, L, H]), None, output_attentions=asked)
    assert seen == [asked] * LAYERS


def test_layers_are_computed_in_one_place(encoder, monkeypatch):
    """Another computation of a layer needs nothing but to take the place of its `forward`."""
    calls: list[int] = []

    def doubled(layer: EncoderLayer, hidden_states: paddle.Tensor, *_: Any) -> LayerOutput:
        calls.append(hidden_states.ndim)
        return LayerOutput(hidden_states * 2)

    monkeypatch.setattr(EncoderLayer, "forward", doubled)
    states = paddle.randn([B, L, H])
    output = encoder(states, None).last_hidden_state
    np.testing.assert_array_equal(output.numpy(), states.numpy() * 2**LAYERS)
    assert calls == [3] * LAYERS
