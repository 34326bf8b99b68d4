"""A layer as one unit, against its formulas in float64 and against the layer's parts."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.generator_discriminator import Discriminator
from paddlenlp_ext.models.heads import ForTokenClassification
from paddlenlp_ext.models.transformer import make_stack
from paddlenlp_ext.nn.attention import mask_of
from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.nn.cpu.texts import Keys
from paddlenlp_ext.nn.cpu.units import unit_for
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from tests import tiny
from tests.models import test_golden

pytestmark = pytest.mark.usefixtures("kernels")
ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_new": lambda states: F.gelu(states, approximate=True),
    "relu": F.relu,
}


def make(
    hidden: int, heads: int, inner: int, *, act: str = "gelu", layers: int = 1, dropout: float = 0.0
) -> Encoder:
    """Layers with biases and norms that are not those of new models."""
    config = ModelConfig(
        vocab_size=11,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        hidden_act=act,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    encoder, random = make_stack(config, activation_dropout=dropout), np.random.default_rng(3)
    for name, parameter in encoder.named_parameters():
        values = random.normal(0, 0.3 if parameter.ndim == 1 else hidden**-0.5, parameter.shape)
        values += name.endswith(("norm1.weight", "norm2.weight"))
        parameter.set_value(paddle.to_tensor(values.astype("float32")))
    return encoder


def masks(batch: int, length: int, kind: str) -> Tensor | None:
    """Padding at the end, in front or anywhere; a row of one token among them."""
    if kind == "none":
        return None
    random = np.random.default_rng(5)
    lengths = random.integers(1, length + 1, batch)
    lengths[0], lengths[-1] = length, 1
    mask = np.arange(length) < lengths[:, None]
    if kind == "front":
        mask = mask[:, ::-1]
    if kind == "holes":
        mask = random.random((batch, length)) < 0.6
        mask[:, length // 2] = True
    return paddle.to_tensor(mask.astype("int64"))


def formulas(layer: EncoderLayer, states: Tensor, tokens: Tensor | None, act: str) -> Tensor:
    """The layer in float64, of Paddle's own operations."""

    def linear(part: nn.Linear, given: Tensor) -> Tensor:
        return given @ part.weight.astype("float64") + part.bias.astype("float64")

    def norm(part: nn.LayerNorm, given: Tensor) -> Tensor:
        parameters = (part.weight.astype("float64"), part.bias.astype("float64"))
        return F.layer_norm(given, given.shape[-1:], *parameters, part._epsilon)

    attention = layer.self_attn
    query, key, value = (
        linear(part, states).reshape([0, 0, *attention.heads]).transpose([0, 2, 1, 3])
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores = query @ key.transpose([0, 1, 3, 2]) / attention.heads[1] ** 0.5
    if tokens is not None:
        scores = scores + (1 - tokens.astype("float64")).unsqueeze([1, 2]) * -1e300
    means = (F.softmax(scores) @ value).transpose([0, 2, 1, 3]).flatten(2)
    first = norm(layer.norm1, states + linear(attention.out_proj, means))
    inner = ACTIVATIONS[act](linear(layer.linear1, first))
    return norm(layer.norm2, first + linear(layer.linear2, inner))


def gradients(encoder: Encoder, output: Tensor, states: Tensor, weights: Any) -> dict[str, Any]:
    """The output, and the gradients of a weighted sum of it."""
    (output * paddle.to_tensor(weights, dtype=output.dtype)).sum().backward()
    found = {"output": output.numpy(), "states": states.grad.numpy()}
    for name, parameter in encoder.named_parameters():
        found[name] = None if parameter.grad is None else parameter.grad.numpy().copy()
        parameter.clear_gradient(False)
    return found


def assert_close(ours: dict[str, Any], expected: dict[str, Any], limit: float) -> None:
    """Compare by norms; a key's bias has no influence, so that its gradient is rounding only."""
    for name in expected.keys() - {name for name in expected if name.endswith("k_proj.bias")}:
        error = np.linalg.norm(ours[name] - expected[name])
        assert error <= limit * np.linalg.norm(expected[name]), name


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        ((3, 7, 24, 4, 37), "end"),
        ((3, 7, 24, 4, 37), "holes"),
        ((2, 130, 33, 3, 19), "front"),
        ((5, 67, 96, 3, 120), "end"),
        ((4, 1, 6, 2, 7), "none"),
        ((2, 33, 128, 2, 70), "none"),
    ],
)
def test_gradients_are_those_of_the_formulas(sizes, kind, act):
    batch, length, *widths = sizes
    encoder, random = make(*widths, act=act), np.random.default_rng(8)
    values, weights = random.normal(size=(2, batch, length, widths[0]))
    tokens = masks(batch, length, kind)
    found = []
    for dtype in ("float32", "float64"):
        states = paddle.to_tensor(values.astype("float32").astype(dtype), stop_gradient=False)
        if dtype == "float32":
            output = encoder(states, None if tokens is None else mask_of(tokens)).last_hidden_state
        else:
            output = formulas(encoder.layers[0], states, tokens, act)
        found.append(gradients(encoder, output, states, weights))
    assert_close(*found, 2e-6)


def run(encoder: Encoder, values: Any, weights: Any, tokens: Tensor | None) -> dict[str, Any]:
    states = paddle.to_tensor(values.astype("float32"), stop_gradient=False)
    paddle.seed(9)
    output = encoder(states, None if tokens is None else mask_of(tokens)).last_hidden_state
    return gradients(encoder, output, states, weights)


def test_a_stack_is_that_of_the_parts(monkeypatch):
    encoder, random = make(48, 4, 96, layers=3), np.random.default_rng(8)
    values, weights = random.normal(size=(2, 5, 19, 48))
    tokens = masks(5, 19, "end")
    ours = run(encoder, values, weights, tokens)
    monkeypatch.setattr(EncoderLayer, "is_compiled", False)
    parts = run(encoder, values, weights, tokens)
    assert (ours["output"] != parts["output"]).any(), "the same code has computed both"
    assert_close(ours, parts, 4e-6)


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_finite_differences_with_dropout(share):
    encoder, random = make(24, 4, 37, layers=2, dropout=share), np.random.default_rng(4)
    encoder.train()
    values, weights, direction = random.normal(size=(3, 3, 7, 24))
    tokens, step = masks(3, 7, "end"), 2e-3
    found = run(encoder, values, weights, tokens)
    slope = (found["states"] * direction).sum()
    moves = {}
    for name, parameter in encoder.named_parameters():
        moves[name] = random.normal(size=parameter.shape) * 0.3
        slope += (found[name] * moves[name]).sum()
    sums, begin = [], {name: p.numpy() for name, p in encoder.named_parameters()}
    for sign in (1, -1):
        for name, parameter in encoder.named_parameters():
            moved = begin[name] + sign * step * moves[name]
            parameter.set_value(paddle.to_tensor(moved.astype("float32")))
        moved = run(encoder, values + sign * step * direction, weights, tokens)
        sums.append((moved["output"].astype("float64") * weights).sum())
    assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(slope, rel=5e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_results_do_not_depend_on_threads_or_on_the_run(dropout):
    encoder, random = make(96, 3, 400, dropout=dropout), np.random.default_rng(4)
    encoder.train()
    values, weights = random.normal(size=(2, 5, 67, 96))
    gomp, found = ctypes.CDLL("libgomp.so.1"), []
    for threads in (1, 2, 1):
        gomp.omp_set_num_threads(threads)
        found.append(run(encoder, values, weights, masks(5, 67, "end")))
    for other in found[1:]:
        for name in other:
            np.testing.assert_array_equal(other[name], found[0][name], name)


def test_recomputation_finds_the_same():
    encoder, random = make(24, 4, 37, layers=2, dropout=0.3), np.random.default_rng(4)
    encoder.train()
    values, weights = random.normal(size=(2, 3, 7, 24))
    plain = run(encoder, values, weights, None)
    encoder.enable_recompute = True
    again = run(encoder, values, weights, None)
    for name in plain:
        np.testing.assert_array_equal(plain[name], again[name], name)


def test_dropout_follows_paddles_seed_and_differs_by_layer():
    encoder, states = make(24, 4, 37, layers=1, dropout=0.5), paddle.ones([2, 5, 24])
    encoder.train()

    def draw(seed: int) -> list[np.ndarray]:
        paddle.seed(seed)
        return [encoder(states, None).last_hidden_state.numpy() for _ in range(2)]

    first, again, other = draw(1), draw(1), draw(2)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_stay_so(value):
    encoder, random = make(24, 4, 37), np.random.default_rng(4)
    values, weights = random.normal(size=(2, 3, 7, 24))
    values[1, 2, 5] = value
    found = run(encoder, values, weights, None)
    assert not np.isfinite(found["output"][1]).any()
    assert np.isfinite(found["output"][[0, 2]]).all()
    assert not np.isfinite(found["layers.0.linear1.weight"]).any()


def test_evaluation_computes_the_same_and_keeps_nothing():
    encoder = make(24, 4, 37, dropout=0.3)
    encoder.eval()
    states = paddle.randn([3, 7, 24])
    kept = encoder(states, None).last_hidden_state
    with paddle.no_grad():
        free = encoder(states, None).last_hidden_state
        unit = unit_for(encoder.layers[0], states, None, False)
        assert unit.forward(states, None)[1] is None
    np.testing.assert_array_equal(kept.numpy(), free.numpy())
    assert free.stop_gradient


@pytest.mark.parametrize("frozen", ["weights", "states", "some"])
def test_frozen_tensors_get_no_gradient(frozen):
    encoder, random = make(24, 4, 37), np.random.default_rng(4)
    values, weights = random.normal(size=(2, 3, 7, 24))
    whole = run(encoder, values, weights, None)
    names = [name for name, _ in encoder.named_parameters()]
    stopped = {"weights": names, "states": [], "some": names[1::3]}[frozen]
    for name, parameter in encoder.named_parameters():
        parameter.stop_gradient = name in stopped
    states = paddle.to_tensor(values.astype("float32"), stop_gradient=frozen == "states")
    (encoder(states, None).last_hidden_state * paddle.to_tensor(weights)).sum().backward()
    assert (states.grad is None) == (frozen == "states")
    if states.grad is not None:
        np.testing.assert_array_equal(states.grad.numpy(), whole["states"])
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is None) == (name in stopped), name
        if name not in stopped:
            np.testing.assert_array_equal(parameter.grad.numpy(), whole[name])


def test_some_positions_are_computed_alone():
    """Queries of their own: what is read of the last layer."""
    encoder, random = make(24, 4, 37), np.random.default_rng(4)
    layer = encoder.layers[0]
    values, weights = random.normal(size=(2, 3, 7, 24)).astype("float32")
    mask, found = mask_of(masks(3, 7, "end")), []
    for alone in (False, True):
        states = paddle.to_tensor(values, stop_gradient=False)
        unit = unit_for(layer, states, mask, False)
        read = unit(states, states[:, 1:3]) if alone else unit(states)[:, 1:3]
        found.append(gradients(encoder, read, states, weights[:, 1:3]))
    assert_close(found[1], found[0], 2e-6)


def test_kernels_take_texts_one_behind_another(kernels):
    """Without padding between them, each of its own length."""
    lengths, heads, width = [5, 1, 18, 2], 3, 6
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype("int32")
    tokens, hidden = int(starts[-1]), heads * width
    random = np.random.default_rng(2)
    query, key, value = random.normal(size=(3, tokens, hidden)).astype("float32")
    bias, means = np.zeros(hidden, "float32"), np.empty((tokens, hidden), "float32")
    keys = Keys(np.arange(tokens, dtype="int32"), starts, max(lengths))
    parts = (query, key, value, bias, bias, bias, means, None, starts, starts, keys.tokens)
    places = [None if part is None else part.ctypes.data for part in parts]
    given = compiled.Attention(*places, len(lengths), tokens, heads, width, keys.most)
    kernels.call("attend", given)
    for begin, end in pairwise(starts):
        query_, key_, value_ = (
            part[begin:end].reshape(-1, heads, width).transpose(1, 0, 2)
            for part in (query, key, value)
        )
        scores = np.exp(query_ @ key_.transpose(0, 2, 1) / width**0.5)
        expected = (scores / scores.sum(-1, keepdims=True)) @ value_
        expected = expected.transpose(1, 0, 2).reshape(-1, hidden)
        np.testing.assert_allclose(means[begin:end], expected, rtol=2e-5, atol=2e-6)


def other_activation(layer: EncoderLayer) -> None:
    layer.activation = paddle.tanh


def other_linear(layer: EncoderLayer) -> None:
    class Lora(type(layer.linear1)):
        pass

    layer.linear1 = Lora(24, 37)


def looked_at(layer: EncoderLayer) -> None:
    layer.self_attn.v_proj.register_forward_post_hook(lambda *_: None)


def without_bias(layer: EncoderLayer) -> None:
    layer.self_attn.q_proj.bias = None


def dropping_all(layer: EncoderLayer) -> None:
    layer.dropout.p = 1.0


@pytest.mark.parametrize(
    "change", [other_activation, other_linear, looked_at, without_bias, dropping_all]
)
def test_other_layers_are_computed_by_their_parts(change):
    layer, states = make(24, 4, 37).layers[0], paddle.randn([2, 3, 24])
    assert unit_for(layer, states, None, False) is not None
    change(layer)
    assert unit_for(layer, states, None, False) is None


def test_other_inputs_are_computed_by_the_parts(monkeypatch):
    layer, states = make(24, 4, 37).layers[0], paddle.randn([2, 3, 24])
    square = mask_of(paddle.ones([2, 3, 3], "int64"))
    empty = mask_of(paddle.to_tensor([[1, 1, 0], [0, 0, 0]]))
    assert unit_for(layer, states, None, True) is None
    assert unit_for(layer, states, square, False) is None
    assert unit_for(layer, states, empty, False) is None
    assert unit_for(layer, states.astype("float64"), None, False) is None
    monkeypatch.setattr(EncoderLayer, "is_compiled", False)
    assert unit_for(layer, states, None, False) is None


def test_layers_are_computed_without_a_library(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(EncoderLayer, "is_compiled", True)
    monkeypatch.setattr(compiled, "LIBRARY", tmp_path / "none.so")
    compiled.kernels.cache_clear()
    try:
        layer, states = make(24, 4, 37).layers[0], paddle.randn([2, 3, 24])
        assert unit_for(layer, states, None, False) is None
        assert layer(states, None).hidden_states.shape == [2, 3, 24]
        model = model_class("bert", "ForSequenceClassification")
        with pytest.raises(UserError, match=r"`compiled_layers`: this installation .* has no kern"):
            model(model.config_class.from_dict(tiny.SIZES)).compile_layers()
    finally:
        compiled.kernels.cache_clear()


@pytest.mark.parametrize("family", sorted(tiny.FAMILY_SIZES))
def test_models_of_all_families_compute_the_same(family):
    cls = model_class(family, "ForSequenceClassification")
    sizes = tiny.SIZES | tiny.FAMILY_SIZES[family]
    paddle.seed(2)
    model = cls(cls.config_class.from_dict(sizes).replace(num_labels=3))
    model.eval()
    batch = tiny.tensors(tiny.arrays(pad=tiny.FAMILY_SIZES[family].get("pad_token_id", 0)))
    if family == "ernie_m":
        del batch["token_type_ids"]
    found = []
    for compiles in (True, False):
        model.compile_layers(compiles)
        output = model(**batch, labels=paddle.to_tensor([0, 2, 1]))
        output.loss.backward()
        found.append([output.logits, *(p.grad for p in model.parameters() if p.grad is not None)])
        found[-1] = [tensor.numpy().copy() for tensor in found[-1]]
        for parameter in model.parameters():
            parameter.clear_gradient(False)
    for ours, parts in zip(*found, strict=True):
        np.testing.assert_allclose(ours, parts, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(("family", "name"), test_golden.CASES)
def test_models_answer_as_those_of_transformers(family, name, tmp_path, monkeypatch):
    for head in (ForTokenClassification, Discriminator):
        monkeypatch.setattr(head, "reads", None)  # their answers at padding too
    test_golden.test_same_answers(family, name, tmp_path)
