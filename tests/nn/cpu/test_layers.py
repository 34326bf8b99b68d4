"""What is computed otherwise on a CPU, against plain Paddle."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.distributed.fleet.utils import recompute
from paddle.nn import functional as F

from paddlenlp_ext.nn.attention import bias_of, mask_of
from paddlenlp_ext.nn.cpu import layers as cpu
from paddlenlp_ext.nn.cpu.layers import (
    Dropout,
    LayerNorm,
    add_mask,
    depthwise,
    embed,
    gelu,
    swap,
)
from paddlenlp_ext.nn.embeddings import look_up

random = np.random.default_rng(31)


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype("float32")


@pytest.fixture(params=["here", "elsewhere"])
def place(request, monkeypatch):
    """On this CPU, and as if on another device."""
    if request.param == "elsewhere":
        monkeypatch.setattr(cpu, "on_cpu", lambda tensor: False)
        for name in ("_Swap", "_Drop", "_AddBias", "_Gelu", "_Normalization", "_Depthwise"):
            monkeypatch.setattr(getattr(cpu, name), "apply", None)  # whoever calls it fails
    return request.param


@pytest.mark.parametrize("shape", [(3, 5, 2, 7), (1, 4, 6, 1), (2, 1, 5, 3), (2, 5, 1, 3)])
def test_swap_and_its_gradient(shape, place):
    values, weights = normal(*shape), normal(shape[0], shape[2], shape[1], shape[3])
    states = paddle.to_tensor(values, stop_gradient=False)
    swapped = swap(states)
    np.testing.assert_array_equal(swapped.numpy(), values.transpose(0, 2, 1, 3))
    (swapped * paddle.to_tensor(weights)).sum().backward()
    np.testing.assert_array_equal(states.grad.numpy(), weights.transpose(0, 2, 1, 3))


def test_swap_takes_views_and_frozen_tensors(place):
    values = normal(2, 7, 3, 5)
    view = paddle.to_tensor(values).transpose([3, 1, 2, 0])
    np.testing.assert_array_equal(swap(view).numpy(), values.transpose(3, 2, 1, 0))


@pytest.mark.parametrize("square", [False, True])
def test_masks_are_added_to_every_head(square, place):
    scores, allowed = normal(3, 2, 5, 7), random.random((3, 5, 7) if square else (3, 7)) < 0.5
    mask = bias_of(mask_of(paddle.to_tensor(allowed.astype("int64"))))
    given = paddle.to_tensor(scores, stop_gradient=False)
    total = add_mask(given, mask)
    np.testing.assert_array_equal(total.numpy(), scores + mask.numpy())
    total.sum().backward()
    assert (given.grad.numpy() == 1).all()


def test_dropout_drops_its_share_and_keeps_the_mean(place):
    """Of a million numbers the dropped share is off by 5 standard deviations at most."""
    layer, count = Dropout(0.3), 1_000_003
    paddle.seed(4)
    got = layer(paddle.ones([count])).numpy()
    dropped = (got == 0).mean()
    assert abs(dropped - 0.3) < 5 * np.sqrt(0.3 * 0.7 / count)
    np.testing.assert_allclose(got[got != 0], 1 / 0.7, rtol=3e-5)
    neighbours = ((got[1:] == 0) & (got[:-1] == 0)).mean()
    assert abs(neighbours - dropped**2) < 5e-3


def test_dropout_gives_gradients_to_what_it_kept(place):
    states = paddle.to_tensor(normal(3, 5, 7), stop_gradient=False)
    got, weights = Dropout(0.4)(states), normal(3, 5, 7)
    (got * paddle.to_tensor(weights)).sum().backward()
    scale = np.where(got.numpy() == 0, 0, got.numpy() / states.numpy())
    np.testing.assert_allclose(states.grad.numpy(), weights * scale, rtol=1e-6, atol=1e-7)


def test_dropout_follows_paddles_seed(place):
    layer, states = Dropout(0.5), paddle.ones([3, 67])

    def draw(seed: int) -> list[np.ndarray]:
        paddle.seed(seed)
        return [layer(states).numpy() for _ in range(2)]

    first, again, other = draw(1), draw(1), draw(2)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


def test_recomputation_drops_the_same(place):
    layer, values = Dropout(0.5), normal(3, 67)
    states = paddle.to_tensor(values, stop_gradient=False)
    got = recompute(lambda x: layer(x * 1), states)
    got.sum().backward()
    np.testing.assert_array_equal(got.numpy() == 0, states.grad.numpy() == 0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_dropout_of_nothing_and_of_all(share, place):
    values = normal(3, 5)
    got = Dropout(share)(paddle.to_tensor(values)).numpy()
    np.testing.assert_array_equal(got, values * (1 - share))


def test_dropout_is_idle_in_evaluation(place):
    layer, states = Dropout(0.5), paddle.to_tensor(normal(3, 5))
    layer.eval()
    assert layer(states) is states


@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (2, 31, 17)])
def test_gelu_and_its_gradient_are_paddles(shape, place):
    values, weights = 3 * normal(*shape), paddle.to_tensor(normal(*shape))
    found = []
    for function in (gelu, F.gelu):
        states = paddle.to_tensor(values, stop_gradient=False)
        activated = function(states)
        (activated * weights).sum().backward()
        found.append((activated.numpy(), states.grad.numpy()))
    for mine, paddles in zip(*found, strict=True):
        np.testing.assert_allclose(mine, paddles, atol=2e-6)


def test_gelu_takes_views_and_other_types(place):
    values = normal(5, 3, 7)
    states = paddle.to_tensor(values, stop_gradient=False)
    turned = gelu(states.transpose([2, 0, 1]))
    expected = F.gelu(paddle.to_tensor(values)).numpy().transpose(2, 0, 1)
    np.testing.assert_allclose(turned.numpy(), expected, atol=1e-6)
    turned.transpose([1, 2, 0])[:, 1].sum().backward()
    assert not states.grad.numpy()[:, 0].any()
    assert gelu(paddle.zeros([2, 0, 3])).shape == [2, 0, 3]
    precise = paddle.to_tensor(values.astype("float64"))
    np.testing.assert_array_equal(gelu(precise).numpy(), F.gelu(precise).numpy())


def test_gelu_does_without_the_library(monkeypatch):
    monkeypatch.setattr(cpu.onednn, "gelu", lambda: None)
    states = paddle.to_tensor(normal(3, 7))
    np.testing.assert_array_equal(gelu(states).numpy(), F.gelu(states).numpy())


FROZEN = [(), ("input",), ("weight",), ("bias",), ("weight", "bias"), ("input", "weight")]


@pytest.mark.parametrize("frozen", FROZEN, ids="-".join)
@pytest.mark.parametrize("shape", [(5, 13), (3, 5, 13)])
def test_gradients_of_layer_norm_are_its_slopes(shape, frozen, place):
    """Paddle's own are others where the weight is frozen."""
    places = normal(*shape)
    given = {"input": normal(*shape) * 3 + 1, "weight": normal(13), "bias": normal(13)}
    exact = {name: one.astype(np.float64) for name, one in given.items()}

    def normalised() -> np.ndarray:
        states = exact["input"]
        centered = states - states.mean(-1, keepdims=True)
        deviation = np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-3)
        return centered / deviation * exact["weight"] + exact["bias"]

    def slope(one: np.ndarray, at: tuple[int, ...]) -> float:
        was, ends = one[at], []
        for step in (1e-5, -1e-5):
            one[at] = was + step
            ends.append((normalised() * places).sum())
        one[at] = was
        return (ends[0] - ends[1]) / 2e-5

    layer = LayerNorm(13, epsilon=1e-3)
    tensors = {
        "input": paddle.to_tensor(given["input"]),
        "weight": layer.weight,
        "bias": layer.bias,
    }
    for name, tensor in tensors.items():
        tensor.set_value(paddle.to_tensor(given[name]))
        tensor.stop_gradient = name in frozen
    output = layer(tensors["input"])
    np.testing.assert_allclose(output.numpy(), normalised(), rtol=1e-5, atol=1e-5)
    (output * paddle.to_tensor(places)).sum().backward()
    for name, tensor in tensors.items():
        assert (tensor.grad is None) == (name in frozen)
        if tensor.grad is not None:
            slopes = np.zeros_like(exact[name])
            for at in np.ndindex(slopes.shape):
                slopes[at] = slope(exact[name], at)
            np.testing.assert_allclose(tensor.grad.numpy(), slopes, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("rows", [5, 4001])
def test_gradients_of_a_table_are_paddles(rows, dtype, kernels):
    """Rows that occur often, once and not at all; of which the last is one."""
    ids = paddle.to_tensor([[3, 0, rows - 1], [3, 3, 2]], dtype)
    values, weights = normal(rows, 13), paddle.to_tensor(normal(2, 3, 13))
    found = []
    for function in (embed, F.embedding):
        table = paddle.to_tensor(values, stop_gradient=False)
        output = function(ids, table)
        (output * weights).sum().backward()
        found.append((output, table.grad))
    for got, expected in zip(*found, strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)


def test_tables_of_models_are_looked_up_with_that_gradient(kernels, monkeypatch):
    """Others, and those that somebody looks at, are called."""
    found = []
    call = type(kernels).call
    monkeypatch.setattr(
        type(kernels), "call", lambda *args: (found.append(args[1]), call(*args))[1]
    )

    def gradient_of(table: nn.Layer) -> np.ndarray:
        look_up("ids", table, paddle.to_tensor([[5, 0, 5]])).sum().backward()
        return table.weight.grad.numpy()

    assert gradient_of(nn.Embedding(7, 3)).sum(axis=1).tolist() == [3, 0, 0, 0, 0, 6, 0]
    assert found == ["scatter"]
    assert gradient_of(nn.Embedding(7, 3, padding_idx=0)).sum(axis=1).tolist()[0] == 0
    gradient_of(nn.Embedding(7, 3, padding_idx=-1))
    looked_at, seen = nn.Embedding(7, 3), []
    looked_at.register_forward_post_hook(lambda *given: seen.append(given))
    gradient_of(looked_at)
    assert len(seen) == 1
    assert found == ["scatter"]


@pytest.mark.parametrize("frozen", ["nothing", "input", "weight"])
@pytest.mark.parametrize("length", [1, 5, 16, 17, 45])
@pytest.mark.parametrize("taps", [1, 3, 9, 15, 19])
def test_depthwise_convolution_is_paddles(taps, length, frozen, place):
    values, weights, upstream = normal(3, length, 7), normal(7, 1, taps), normal(3, length, 7)
    options = {"padding": taps // 2, "groups": 7, "data_format": "NLC"}
    found = []
    for convolve in (depthwise, lambda states, weight: F.conv1d(states, weight, **options)):
        tensors = {"input": paddle.to_tensor(values), "weight": paddle.to_tensor(weights)}
        for name, tensor in tensors.items():
            tensor.stop_gradient = name == frozen
        output = convolve(*tensors.values())
        (output * paddle.to_tensor(upstream)).sum().backward()
        assert (tensors["input"].grad is None) == (frozen == "input")
        assert (tensors["weight"].grad is None) == (frozen == "weight")
        found.append([output, *(t.grad for t in tensors.values() if t.grad is not None)])
    for got, expected in zip(*found, strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
