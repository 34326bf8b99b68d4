"""The linear layer against Paddle's own, and where it is Paddle's own."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.distributed.fleet.utils import recompute
from paddle.static import InputSpec

from paddlenlp_ext.nn.cpu import layers as cpu
from paddlenlp_ext.nn.cpu.layers import Linear

IN, OUT = 13, 7
RANKS = {1: [IN], 2: [5, IN], 3: [3, 5, IN], 4: [2, 3, 5, IN]}
random = np.random.default_rng(29)


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype("float32")


def pair(dtype: str = "float32", **options: bool) -> tuple[Linear, nn.Linear]:
    """Ours and Paddle's, with the same weights."""
    ours, plain = Linear(IN, OUT, **options), nn.Linear(IN, OUT, **options)
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        values = normal(*one.shape)
        one.set_value(paddle.to_tensor(values))
        other.set_value(paddle.to_tensor(values))
    return ours.to(dtype=dtype), plain.to(dtype=dtype)


@pytest.fixture
def own_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ranks of what got its bias from here."""
    passes: list[int] = []
    apply = cpu._AddBias.apply

    def counted(states: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
        passes.append(states.ndim)
        return apply(states, bias)

    monkeypatch.setattr(cpu._AddBias, "apply", counted)
    return passes


def gradients(layer: nn.Layer, values: np.ndarray, weights: np.ndarray) -> list[np.ndarray | None]:
    """Output, and the gradients of a weighted sum of it: of the input and of the parameters."""
    dtype = layer.weight.dtype
    input = paddle.to_tensor(values, dtype=dtype, stop_gradient=False)
    output = layer(input)
    (output * paddle.to_tensor(weights, dtype=dtype)).sum().backward()
    found = [output, input.grad, *(parameter.grad for parameter in layer.parameters())]
    return [None if one is None else one.numpy() for one in found]


def assert_same(ours: list[np.ndarray | None], plain: list[np.ndarray | None], tol: float) -> None:
    for got, expected in zip(ours, plain, strict=True):
        if expected is None:
            assert got is None
        else:
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=tol, atol=tol)


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_gradients_are_paddles(rank, dtype, tolerance, own_passes):
    ours, plain = pair(dtype)
    values, weights = normal(*RANKS[rank]), normal(*RANKS[rank][:-1], OUT)
    found = [gradients(layer, values, weights) for layer in (ours, plain)]
    assert own_passes == [rank]
    assert found[0][3].any()
    assert_same(*found, tolerance)


def test_it_is_one_of_paddles_layers():
    """Loading, saving and drawing weights ask for `nn.Linear`."""
    ours, plain = pair()
    assert isinstance(ours, nn.Linear)
    assert list(ours.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("frozen", ["input", "weight", "both"])
def test_frozen_inputs_get_no_gradient(frozen, own_passes):
    found = []
    values = normal(3, IN)
    for layer in pair():
        layer.weight.stop_gradient = frozen != "input"
        input = paddle.to_tensor(values, stop_gradient=frozen != "weight")
        (layer(input) ** 2).sum().backward()
        assert (input.grad is None) is (frozen != "weight")
        assert (layer.weight.grad is None) is (frozen != "input")
        found.append(layer.bias.grad.numpy())
    assert own_passes == [2]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_layer_may_be_used_twice_and_gradients_add_up(own_passes):
    found = []
    first, second, weights = normal(5, IN), normal(2, 3, IN), normal(5, OUT)
    for layer in pair():
        inputs = [paddle.to_tensor(one, stop_gradient=False) for one in (first, second)]
        for _ in range(2):  # two backward passes, as when batches are accumulated
            once, again = (layer(one) for one in inputs)
            loss = (once * paddle.to_tensor(weights)).sum() + (again**2).sum()
            loss.backward()
        found.append([one.grad.numpy() for one in (*inputs, *layer.parameters())])
    assert own_passes == [2, 3] * 2
    assert_same(*found, 1e-5)


def test_transposed_inputs_are_taken(own_passes):
    """A view whose memory is in another order, as attention heads leave it."""
    found = []
    values = normal(IN, 5, 3)
    for layer in pair():
        input = paddle.to_tensor(values, stop_gradient=False)
        layer(input.transpose([2, 1, 0]))[:, 1:].transpose([1, 0, 2]).tanh().sum().backward()
        found.append([input.grad.numpy(), *(p.grad.numpy() for p in layer.parameters())])
    assert own_passes == [3]
    assert_same(*found, 1e-5)


def test_nothing_is_kept_for_a_gradient_that_nobody_wants(own_passes):
    ours, plain = pair()
    values = paddle.to_tensor(normal(3, IN))
    with paddle.no_grad():
        np.testing.assert_array_equal(ours(values).numpy(), plain(values).numpy())
    without, _ = pair(bias_attr=False)
    without(values).sum().backward()
    assert without.weight.grad is not None
    assert own_passes == []


def test_frozen_biases_get_no_gradient(own_passes):
    found = []
    values = normal(3, IN)
    for layer in pair():
        layer.bias.stop_gradient = True
        (layer(paddle.to_tensor(values)) ** 2).sum().backward()
        assert layer.bias.grad is None
        found.append(layer.weight.grad.numpy())
    assert own_passes == [2]
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("rank", RANKS)
def test_a_bias_is_not_changed_by_what_it_is_added_to(rank):
    ours, _ = pair()
    before = ours.bias.numpy()
    with paddle.no_grad():
        added = cpu.add_bias(paddle.ones([*RANKS[rank][:-1], OUT]), ours.bias)
    np.testing.assert_array_equal(ours.bias.numpy(), before)
    np.testing.assert_array_equal(
        added.numpy(), np.ones([*RANKS[rank][:-1], 1], "float32") + before
    )


def test_nothing_of_its_own_on_other_devices(monkeypatch, own_passes):
    monkeypatch.setattr(cpu, "on_cpu", lambda tensor: False)
    ours, plain = pair()
    values, weights = normal(5, IN), normal(5, OUT)
    found = [gradients(layer, values, weights) for layer in (ours, plain)]
    assert own_passes == []
    assert_same(*found, 0)


def test_programs_hold_paddles_operations(tmp_path, own_passes):
    ours, _ = pair()
    values = paddle.to_tensor(normal(3, IN))
    expected = ours(values).numpy()
    assert own_passes == [2]
    program = paddle.jit.to_static(ours, full_graph=True)
    np.testing.assert_allclose(program(values).numpy(), expected, rtol=1e-6)
    paddle.jit.save(ours, str(tmp_path / "program"), input_spec=[InputSpec([None, IN], "float32")])
    loaded = paddle.jit.load(str(tmp_path / "program"))
    np.testing.assert_allclose(loaded(values).numpy(), expected, rtol=1e-6)
    assert own_passes == [2]


def test_recomputed_gradients_are_paddles(own_passes):
    found = []
    values = normal(3, 5, IN)
    for layer in pair():
        input = paddle.to_tensor(values, stop_gradient=False)
        output = recompute(lambda x, f=layer: f(x).tanh(), input)
        output.sum().backward()
        found.append([input.grad.numpy(), *(p.grad.numpy() for p in layer.parameters())])
    assert own_passes == [3]  # not in the first pass, whose activations are forgotten
    assert_same(*found, 1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_autocast_changes_nothing_on_a_cpu(dtype):
    """Paddle leaves everything in float32 there; a layer of its own must not cast by itself."""
    found = []
    values, weights = normal(5, IN), normal(5, OUT)
    for layer in pair():
        with paddle.amp.auto_cast(level="O1", dtype=dtype):
            found.append(gradients(layer, values, weights))
    assert found[0][0].dtype == np.float32
    assert_same(*found, 1e-5)
