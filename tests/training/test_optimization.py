"""Decay groups, layer-wise rates, clipping and the schedule, by numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.process import devices
from paddlenlp_ext.training import optimization
from paddlenlp_ext.training.losses import IGNORED, count_labels, cross_entropy, squared_error
from paddlenlp_ext.training.optimization import (
    GlobalNormClip,
    NonFiniteNormError,
    adamw,
    decayed_parameters,
    layerwise_ratios,
    learning_rate_of,
    rate_schedule,
    schedule_of,
    update_at_once,
    updates_at_once,
)


def rates(steps: int, **options: float) -> list[float]:
    """The rate that the log shows at each step: the one after the schedule has moved."""
    schedule = rate_schedule(1e-4, steps, **options)
    shown = []
    for _ in range(steps):
        schedule.step()
        shown.append(schedule())
    return shown


def test_schedule_is_that_of_the_published_log():
    # SST-2 with ConvBERT-small: 792 steps, proportion 0.1, so a warm-up of floor(79.2) = 79.
    shown = rates(792, warmup_proportion=0.1)
    assert f"{shown[100 - 1]:.10f}" == "0.0000970547"
    assert shown[79 - 1] == pytest.approx(1e-4)
    assert shown[78 - 1] < 1e-4
    assert shown[80 - 1] < 1e-4
    assert shown[-1] == 0


def test_warmup_steps_win_over_the_proportion():
    assert rates(10, warmup_steps=2, warmup_proportion=0.5) == rates(10, warmup_steps=2)
    assert rates(10, warmup_steps=2)[:3] == pytest.approx([5e-5, 1e-4, 1e-4 * 7 / 8])


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_runs_have_a_schedule(steps):
    assert all(0 <= rate <= 1e-4 for rate in rates(steps, warmup_proportion=1.0))
    assert rates(steps)[-1] == 0


class Layered(nn.Layer):
    """Names as models have them, with a normalisation whose weight is not called so."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(5, 4)
        self.layers = nn.LayerList([nn.Linear(4, 4) for _ in range(3)])
        self.last = nn.LayerNorm(4)
        self.classifier = nn.Linear(4, 2)
        self.decoder_bias = self.create_parameter([2], is_bias=True)

    def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
        hidden = self.embeddings(ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.classifier(self.last(hidden)).sum(1) + self.decoder_bias


def test_biases_and_normalisations_are_not_decayed():
    assert decayed_parameters(Layered()) == {
        "embeddings.weight",
        "layers.0.weight",
        "layers.1.weight",
        "layers.2.weight",
        "classifier.weight",
    }


def update(model: nn.Layer, gradient: float, **options: float) -> dict[str, np.ndarray]:
    """Make one update with the same gradient everywhere; return what changed."""
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    optimizer = adamw(model, 0.1, **options)
    for parameter in model.parameters():
        parameter.grad = paddle.full(parameter.shape, gradient)
    optimizer.step()
    return {name: p.numpy() - before[name] for name, p in model.named_parameters()}


def test_an_update_decays_the_right_weights_by_the_right_amount():
    model = Layered()
    weights = {name: p.numpy().copy() for name, p in model.named_parameters()}
    changes = update(model, 0.0, weight_decay=0.3)
    decayed = decayed_parameters(model)
    for name, change in changes.items():
        expected = -0.1 * 0.3 * weights[name] if name in decayed else np.zeros_like(change)
        np.testing.assert_allclose(change, expected, atol=1e-7)


def test_layers_learn_by_their_ratio():
    model = Layered()
    ratios = layerwise_ratios(model, 0.8)
    assert ratios["layers.2.weight"] == pytest.approx(0.8)
    assert ratios["layers.0.bias"] == pytest.approx(0.8**3)
    assert ratios["embeddings.weight"] == pytest.approx(0.8**4)
    assert ratios["classifier.weight"] == 1
    assert ratios["last.weight"] == 1
    # The first step of Adam moves every weight by the learning rate.
    for name, change in update(model, 0.5, layerwise_decay=0.8).items():
        np.testing.assert_allclose(change, -0.1 * ratios[name], rtol=1e-4)


def test_names_of_head_models_count_as_layers_too():
    class Head(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Layered()

    assert layerwise_ratios(Head(), 0.5)["encoder.layers.1.weight"] == 0.25


def test_the_norm_of_all_gradients_together_is_clipped():
    model = Layered()
    optimizer = adamw(model, 0.1, max_grad_norm=2.0, epsilon=1e3)
    count = sum(int(np.prod(p.shape)) for p in model.parameters())
    before = model.classifier.weight.numpy().copy()
    for parameter in model.parameters():
        parameter.grad = paddle.full(parameter.shape, 7.0)
    optimizer.step()
    # With such an epsilon the step is rate * gradient / epsilon, so it shows the clipped gradient.
    change = model.classifier.weight.numpy() - before
    np.testing.assert_allclose(change, -0.1 * (2.0 / count**0.5) / 1e3, rtol=2e-2)


def gradients(*arrays: np.ndarray) -> list[tuple[paddle.Tensor, paddle.Tensor]]:
    return [(paddle.zeros(array.shape), paddle.to_tensor(array)) for array in arrays]


@pytest.mark.parametrize("limit", [0.3, 1e6])
def test_clipped_gradients_are_paddles(limit):
    random = np.random.default_rng(3)
    arrays = [random.standard_normal(shape).astype(np.float32) for shape in ((5, 7), (11,), (1,))]
    theirs = nn.ClipGradByGlobalNorm(limit)(gradients(*arrays))
    ours = GlobalNormClip(limit)([*gradients(*arrays), (paddle.zeros([2]), None)])
    assert ours[-1][1] is None
    for (_, mine), (_, wanted) in zip(ours[:-1], theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), wanted.numpy(), rtol=1e-6)


def test_gradients_with_a_small_norm_are_left_alone():
    array = np.array([0.1, -0.7], np.float32)
    ((_, clipped),) = GlobalNormClip(1.0)(gradients(array))
    assert np.array_equal(clipped.numpy(), array)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_not_hidden(bad):
    for limit in (1.0, np.inf):
        with pytest.raises(NonFiniteNormError):
            GlobalNormClip(limit)(gradients(np.array([bad, 1.0], np.float32)))


def test_frozen_parameters_are_left_out():
    model = Layered()
    model.embeddings.weight.stop_gradient = True
    optimizer = adamw(model, 0.1, weight_decay=0.5)
    before = model.embeddings.weight.numpy().copy()
    model(paddle.to_tensor([[1, 2]])).sum().backward()
    optimizer.step()
    assert np.array_equal(model.embeddings.weight.numpy(), before)
    assert learning_rate_of(optimizer) == 0.1


def test_losses_are_one_a_label():
    logits = paddle.to_tensor([[[0.0, np.log(3.0)], [5.0, 5.0]], [[1.0, 2.0], [np.log(4.0), 0.0]]])
    labels = paddle.to_tensor([[1, IGNORED], [IGNORED, 1]])
    losses = cross_entropy(logits.astype("float32"), labels).numpy()
    np.testing.assert_allclose(losses, [np.log(4 / 3), 0, 0, np.log(5)], rtol=1e-6)
    assert count_labels(labels) == 2
    scores = paddle.to_tensor([[1.5], [4.0], [-2.0]])
    wanted = paddle.to_tensor([1.0, 4.0, 1.0])
    assert squared_error(scores, wanted).tolist() == [0.25, 0.0, 9.0]
    assert squared_error(scores[:1], wanted[:1]).tolist() == [0.25]
    assert count_labels(wanted) == 3


def updated(steps: int) -> dict[str, np.ndarray]:
    """Weights and state after some updates, with rates by layer, decay and gradients that lack."""
    paddle.seed(5)
    model = Layered()
    optimizer = adamw(
        model, rate_schedule(0.1, steps + 1), weight_decay=0.3, layerwise_decay=0.5, max_grad_norm=2
    )
    random = np.random.default_rng(7)
    for _ in range(steps):
        for number, parameter in enumerate(model.parameters()):
            if number != 2:
                values = random.standard_normal(parameter.shape).astype(np.float32)
                parameter.grad = paddle.to_tensor(values)
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        schedule_of(optimizer).step()
    found = {name: parameter.numpy() for name, parameter in model.named_parameters()}
    state = optimizer.state_dict()
    names = [parameter.name for parameter in model.parameters()]
    for key, value in state.items():
        if isinstance(value, paddle.Tensor):
            number = next(n for n, name in enumerate(names) if key.startswith(name))
            found[f"{number} {key[len(names[number]) :]}"] = value.numpy()
    return found


@pytest.mark.skipif(not updates_at_once(), reason="this Paddle has no such kernel")
def test_parameters_that_are_updated_at_once_are_those_updated_alone(monkeypatch):
    monkeypatch.setattr(compiled, "kernels", lambda: None)
    alone = updated(4)
    monkeypatch.setattr(devices, "of", lambda tensor: devices.KINDS["gpu"])
    calls = []

    def count(*args, **options):
        calls.append(len(args[0]))
        return update_at_once(*args, **options)

    monkeypatch.setattr(optimization, "update_at_once", count)
    together = updated(4)
    assert alone.keys() == together.keys()
    assert len(alone) > 3 * len(list(Layered().parameters()))
    for name, expected in alone.items():
        np.testing.assert_allclose(together[name], expected, rtol=1e-6, atol=1e-7, err_msg=name)
    assert sum(calls) == 4 * (len(list(Layered().parameters())) - 1)
    assert len(calls) < sum(calls)


def test_a_kernel_that_computes_otherwise_is_not_taken(monkeypatch):
    def wrong(parameters, gradients, rate, *rest, **options):
        return update_at_once(parameters, gradients, rate * 1.001, *rest, **options)

    monkeypatch.setattr(optimization, "update_at_once", wrong)
    assert not updates_at_once.__wrapped__()


@pytest.mark.skipif(compiled.kernels() is None, reason="the installation has no kernels")
def test_on_a_cpu_the_kernel_in_c_updates_as_paddle_does(monkeypatch):
    calls = []
    call = compiled.Kernels.call
    monkeypatch.setattr(
        compiled.Kernels, "call", lambda *args: (calls.append(args[1]), call(*args))[1]
    )
    found = updated(4)
    assert calls.count("update") == 4
    monkeypatch.setattr(compiled, "kernels", lambda: None)
    monkeypatch.setattr(optimization, "update_at_once", None)
    expected = updated(4)
    assert calls.count("update") == 4
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.skipif(compiled.kernels() is None, reason="the installation has no kernels")
def test_what_the_kernel_in_c_does_not_update_is_clipped_too(monkeypatch):
    everything = updated(3)
    monkeypatch.setattr(optimization, "is_compiled", lambda parameter, _: parameter.ndim == 1)
    biases_alone = updated(3)
    for name, value in everything.items():
        np.testing.assert_allclose(biases_alone[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
