"""ConvBERT's layer as one unit, against its formulas in float64 and against the layer's parts."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.models.convbert import ConvBertConfig, ConvBertForMaskedLM, make_layer
from paddlenlp_ext.nn.attention import mask_of
from paddlenlp_ext.nn.cpu import bfloat16, compiled
from paddlenlp_ext.nn.cpu.units import unit_for
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from paddlenlp_ext.nn.positions import FIRST, LAST, Positions, take
from tests import tiny
from tests.nn.cpu.test_encoder_layer import ACTIVATIONS, assert_close, gradients, masks

pytestmark = pytest.mark.usefixtures("kernels")
SOME = paddle.to_tensor([[0, 3, 6], [2, 1, 5], [4, 0, 3]])  # of texts of 7 tokens


def make(
    hidden: int,
    heads: int,
    inner: int,
    *,
    taps: int = 5,
    masks_padding: bool = False,
    act: str = "gelu",
    layers: int = 1,
    dropout: float = 0.0,
    **others: int,
) -> Encoder:
    """Layers with biases and norms that are not those of new models."""
    config = ConvBertConfig(
        vocab_size=11,
        hidden_size=hidden,
        embedding_size=hidden,
        num_attention_heads=heads * 2,
        intermediate_size=inner,
        conv_kernel_size=taps,
        mask_convolution=masks_padding,
        hidden_act=act,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **others,
    )
    encoder = Encoder(make_layer(config) for _ in range(layers))
    random = np.random.default_rng(3)
    for name, parameter in encoder.named_parameters():
        spread = 0.3 if parameter.ndim == 1 else hidden**-0.5
        if "conv" in name:
            spread *= 2
        values = random.normal(0, spread, parameter.shape)
        values += name.endswith(("norm1.weight", "norm2.weight"))
        parameter.set_value(paddle.to_tensor(values.astype("float32")))
    return encoder


def around(states: Tensor, length: int, taps: int, tap: int) -> Tensor:
    """What tap `tap` of each position sees; float64 [B, L, ...], flattened behind."""
    padded = F.pad(states, [taps // 2, taps // 2], data_format="NLC")
    return padded[:, tap : tap + length]


def formulas(layer: EncoderLayer, states: Tensor, tokens: Tensor | None, act: str) -> Tensor:
    """The layer in float64, of Paddle's own operations."""

    def double(parameter: Tensor) -> Tensor:
        return parameter.astype("float64")

    def linear(part: nn.Linear, given: Tensor) -> Tensor:
        return given @ double(part.weight) + double(part.bias)

    def norm(part: nn.LayerNorm, given: Tensor) -> Tensor:
        parameters = (double(part.weight), double(part.bias))
        return F.layer_norm(given, given.shape[-1:], *parameters, part._epsilon)

    attention, length = layer.self_attn, states.shape[1]
    projected = [linear(p, states) for p in (attention.q_proj, attention.k_proj, attention.v_proj)]
    query, key, value = (
        one.reshape([0, 0, *attention.heads]).transpose([0, 2, 1, 3]) for one in projected
    )
    scores = query @ key.transpose([0, 1, 3, 2]) / attention.heads[1] ** 0.5
    if tokens is not None:
        scores = scores + (1 - tokens.astype("float64")).unsqueeze([1, 2]) * -1e300
    means = (F.softmax(scores) @ value).transpose([0, 2, 1, 3]).flatten(2)

    values, seen = linear(attention.conv_out_layer, states), states
    if attention.mask_padding and tokens is not None:
        real = tokens.astype("float64").unsqueeze(2)
        values, seen = values * real, seen * real
    taps, spans = attention.kernel_size, attention.key_conv_attn_layer
    weight = double(spans.depthwise.weight)
    sums = sum(around(seen, length, taps, j) * weight[:, 0, j] for j in range(taps))
    sums = sums @ double(spans.pointwise.weight)[:, :, 0].t() + double(spans.bias)
    kernel = linear(attention.conv_kernel_layer, sums * projected[0])
    kernel = F.softmax(kernel.reshape([0, 0, attention.heads[0], taps]))
    convolved = sum(
        around(values, length, taps, j).reshape([0, 0, *attention.heads]) * kernel[..., j : j + 1]
        for j in range(taps)
    )
    mixed = paddle.concat([means, convolved.flatten(2)], axis=2)
    first = norm(layer.norm1, states + linear(attention.out_proj, mixed))
    inner = ACTIVATIONS[act](linear(layer.linear1, first))
    return norm(layer.norm2, first + linear(layer.linear2, inner))


def run(
    encoder: Encoder,
    values: Any,
    weights: Any,
    tokens: Tensor | None,
    positions: Positions | None = None,
) -> dict[str, Any]:
    states = paddle.to_tensor(values.astype("float32"), stop_gradient=False)
    paddle.seed(9)
    mask = None if tokens is None else mask_of(tokens)
    output = encoder(states, mask, positions=positions).last_hidden_state
    return gradients(encoder, output, states, weights)


@pytest.mark.parametrize("masks_padding", [False, True])
@pytest.mark.parametrize(
    ("sizes", "taps", "kind", "act"),
    [
        ((3, 7, 24, 2, 37), 5, "end", "gelu"),
        ((3, 7, 24, 2, 37), 9, "holes", "relu"),
        ((2, 130, 66, 3, 19), 9, "front", "gelu_new"),
        ((5, 67, 192, 3, 120), 3, "end", "gelu"),
        ((4, 1, 12, 2, 7), 9, "none", "gelu"),
        ((2, 33, 128, 1, 70), 17, "none", "gelu"),
        ((3, 7, 24, 2, 37), 1, "end", "gelu"),
    ],
)
def test_gradients_are_those_of_the_formulas(sizes, taps, kind, act, masks_padding):
    batch, length, *widths = sizes
    encoder = make(*widths, taps=taps, act=act, masks_padding=masks_padding)
    values, weights = np.random.default_rng(8).normal(size=(2, batch, length, widths[0]))
    tokens = masks(batch, length, kind)
    ours = run(encoder, values, weights, tokens)
    states = paddle.to_tensor(values.astype("float32").astype("float64"), stop_gradient=False)
    output = formulas(encoder.layers[0], states, tokens, act)
    assert_close(ours, gradients(encoder, output, states, weights), 2e-6)


@pytest.mark.parametrize("masks_padding", [False, True])
@pytest.mark.parametrize("positions", [FIRST, LAST, slice(1, 4), SOME], ids=str)
def test_positions_that_are_read(positions, masks_padding):
    """Their gradients are those of the formulas, where nothing else has one."""
    encoder = make(24, 2, 37, masks_padding=masks_padding)
    values = np.random.default_rng(8).normal(size=(3, 7, 24))
    tokens = masks(3, 7, "end")
    states = paddle.to_tensor(values.astype("float32").astype("float64"), stop_gradient=False)
    output = take(formulas(encoder.layers[0], states, tokens, "gelu"), positions)
    weights = np.random.default_rng(9).normal(size=output.shape)
    expected = gradients(encoder, output, states, weights)
    assert_close(run(encoder, values, weights, tokens, positions), expected, 2e-6)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_stack_is_that_of_the_parts(groups, monkeypatch):
    encoder = make(48, 2, 96, layers=3, num_groups=groups)
    values, weights = np.random.default_rng(8).normal(size=(2, 5, 19, 48))
    tokens = masks(5, 19, "end")
    ours = run(encoder, values, weights, tokens)
    monkeypatch.setattr(EncoderLayer, "is_compiled", False)
    parts = run(encoder, values, weights, tokens)
    assert (ours["output"] != parts["output"]).any(), "the same code has computed both"
    assert_close(ours, parts, 4e-6)


@pytest.mark.parametrize(("share", "positions"), [(0.1, None), (0.6, None), (0.3, SOME)])
def test_finite_differences_with_dropout(share, positions):
    encoder, random = (
        make(24, 2, 36, layers=2, dropout=share, num_groups=2),
        np.random.default_rng(4),
    )
    encoder.train()
    values, direction = random.normal(size=(2, 3, 7, 24))
    weights = random.normal(size=(3, 7 if positions is None else 3, 24))
    tokens, step = masks(3, 7, "end"), 2e-3
    found = run(encoder, values, weights, tokens, positions)
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
        moved = run(encoder, values + sign * step * direction, weights, tokens, positions)
        sums.append((moved["output"].astype("float64") * weights).sum())
    assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(slope, rel=5e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_results_do_not_depend_on_threads_or_on_the_run(dropout):
    encoder, random = make(192, 3, 400, dropout=dropout), np.random.default_rng(4)
    encoder.train()
    values, weights = random.normal(size=(2, 5, 67, 192))
    gomp, found = ctypes.CDLL("libgomp.so.1"), []
    for threads in (1, 2, 1):
        gomp.omp_set_num_threads(threads)
        found.append(run(encoder, values, weights, masks(5, 67, "end")))
    for other in found[1:]:
        for name in other:
            np.testing.assert_array_equal(other[name], found[0][name], name)


def test_recomputation_finds_the_same():
    encoder, random = make(24, 2, 37, layers=2, dropout=0.3), np.random.default_rng(4)
    encoder.train()
    values, weights = random.normal(size=(2, 3, 7, 24))
    plain = run(encoder, values, weights, None)
    encoder.enable_recompute = True
    again = run(encoder, values, weights, None)
    for name in plain:
        np.testing.assert_array_equal(plain[name], again[name], name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_stay_so(value):
    encoder, random = make(24, 2, 37), np.random.default_rng(4)
    values, weights = random.normal(size=(2, 3, 7, 24))
    values[1, 2, 5] = value
    found = run(encoder, values, weights, None)
    assert not np.isfinite(found["output"][1]).any()
    assert np.isfinite(found["output"][[0, 2]]).all()
    for part in ("linear1", "self_attn.conv_out_layer", "self_attn.key_conv_attn_layer.depthwise"):
        assert not np.isfinite(found[f"layers.0.{part}.weight"]).any(), part


def test_evaluation_computes_the_same():
    encoder = make(24, 2, 37, dropout=0.3)
    encoder.eval()
    states = paddle.randn([3, 7, 24])
    kept = encoder(states, None).last_hidden_state
    with paddle.no_grad():
        free = encoder(states, None).last_hidden_state
    np.testing.assert_array_equal(kept.numpy(), free.numpy())
    assert free.stop_gradient


def test_frozen_tensors_get_no_gradient():
    encoder, random = make(24, 2, 37), np.random.default_rng(4)
    values, weights = random.normal(size=(2, 3, 7, 24))
    whole = run(encoder, values, weights, None)
    names = [name for name, _ in encoder.named_parameters()]
    for stopped in (names, names[::2], names[1::2]):
        for name, parameter in encoder.named_parameters():
            parameter.stop_gradient = name in stopped
        found = run(encoder, values, weights, None)
        for name in found:
            assert (found[name] is None) == (name in stopped), name
            if name not in stopped:
                np.testing.assert_array_equal(found[name], whole[name])


def looked_at(layer: EncoderLayer) -> None:
    layer.self_attn.key_conv_attn_layer.register_forward_post_hook(lambda *_: None)


def other_linear(layer: EncoderLayer) -> None:
    class Lora(type(layer.linear1)):
        pass

    layer.self_attn.conv_out_layer = Lora(24, 12)


def without_bias(layer: EncoderLayer) -> None:
    layer.self_attn.conv_kernel_layer.bias = None


@pytest.mark.parametrize("change", [looked_at, other_linear, without_bias])
def test_other_layers_are_computed_by_their_parts(change):
    layer, states = make(24, 2, 37).layers[0], paddle.randn([2, 3, 24])
    assert unit_for(layer, states, None, False) is not None
    change(layer)
    assert unit_for(layer, states, None, False) is None
    assert layer(states, None).hidden_states.shape == [2, 3, 24]


def test_masked_positions_of_a_model(kernels: compiled.Kernels, monkeypatch):
    """What a masked language model reads, in rows that have different numbers of them."""
    config = ConvBertConfig.from_dict(tiny.SIZES | tiny.FAMILY_SIZES["convbert"])
    paddle.seed(2)
    model, batch = ConvBertForMaskedLM(config), tiny.tensors(tiny.arrays())
    model.eval()
    places = paddle.to_tensor([0, 2, 3, batch["input_ids"].shape[1] + 1])
    found = []
    for is_compiled in (True, False):
        monkeypatch.setattr(EncoderLayer, "is_compiled", is_compiled)
        logits = model.run(**batch, masked_positions=places).logits
        found.append(logits.numpy())
    np.testing.assert_allclose(*found, rtol=1e-4, atol=2e-6)


@pytest.mark.skipif(bool(bfloat16.lacking()), reason=bfloat16.lacking())
def test_products_may_be_bfloat16():
    encoder, random = make(40, 2, 56), np.random.default_rng(8)
    encoder.train()
    values, weights = random.normal(size=(2, 3, 11, 40))
    tokens = masks(3, 11, "end")
    exact = run(encoder, values, weights, tokens)
    with bfloat16.bfloat16_products(bfloat16.Casts()):
        assert unit_for(encoder.layers[0], paddle.ones([3, 11, 40]), None, False) is not None
        found = run(encoder, values, weights, tokens)
    assert_close(found, exact, 2e-2)
    for name in ("conv_kernel_layer", "conv_out_layer", "key_conv_attn_layer.pointwise"):
        of_weight = f"layers.0.self_attn.{name}.weight"
        error = np.linalg.norm(found[of_weight] - exact[of_weight])
        assert error > 5e-4 * np.linalg.norm(exact[of_weight]), f"{name} was computed in float32"


def test_groups_are_not_computed_in_bfloat16():
    layer, states = make(16, 2, 24, num_groups=2).layers[0], paddle.ones([2, 3, 16])
    assert unit_for(layer, states, None, False) is not None
    with bfloat16.bfloat16_products(bfloat16.Casts()):
        assert unit_for(layer, states, None, False) is None
