"""A step waits for the device once, and sums gradients while the backward pass goes on.

A CPU has nothing to wait for; what would wait on a GPU is counted: reads of tensors that a batch
does not have on the host. Models take the way of a GPU (`on_gpu_way`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn

from paddlenlp_ext.metrics import accuracy
from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.process import devices
from paddlenlp_ext.tasks import batches
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training import distributed, updates
from paddlenlp_ext.training.events import StepDone
from paddlenlp_ext.training.finetune import finetune
from paddlenlp_ext.training.losses import Emphasis, cross_entropy
from paddlenlp_ext.training.objectives import MaskedLM
from paddlenlp_ext.training.optimization import adamw, rate_schedule, updates_at_once
from paddlenlp_ext.training.precision import LossScale
from paddlenlp_ext.training.updates import Updater, UpdateSettings
from tests.training import gradient_run
from tests.training.test_finetune import scaled
from tests.training.tiny_run import CLASSES, VOCABULARY, loaders, tiny_model

READS = ("numpy", "item", "tolist", "__array__", "__bool__", "__float__", "__int__", "__index__")


class Reads:
    """Counts reads of tensors, but of those of the host."""

    def __init__(self) -> None:
        self.count = 0
        self.of_host: dict[int, Tensor] = {}
        self._depth = 0

    def counted(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(tensor: Tensor, *args: Any, **options: Any) -> Any:
            self.count += self._depth == 0 and id(tensor) not in self.of_host
            self._depth += 1  # `tolist` calls `numpy`
            try:
                return read(tensor, *args, **options)
            finally:
                self._depth -= 1

        return wrapped

    def keep(self, tensor: Tensor) -> Tensor:
        return self.of_host.setdefault(id(tensor), tensor)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    found = Reads()
    for name in READS:
        monkeypatch.setattr(Tensor, name, found.counted(getattr(Tensor, name)))
    monkeypatch.setattr(devices, "pinned", found.keep)
    monkeypatch.setattr(devices, "on_current", lambda tensor: tensor.clone())
    return found


@pytest.fixture
def on_gpu_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have models and optimizers compute as on a GPU."""
    updates_at_once()  # reads what it tries, once a process
    monkeypatch.setattr(devices, "of", lambda tensor: devices.KINDS["gpu"])


def bert() -> nn.Layer:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=19,
    ).replace(num_labels=CLASSES)
    paddle.seed(11)
    model = BertForSequenceClassification(config)
    model.compile_layers(False)
    return model


def steps(model: nn.Layer, loss: Any = cross_entropy, **settings: Any) -> Iterator[StepDone]:
    yield from finetune(
        model,
        loaders(37, 3, 8)[0],
        evaluate_on={},
        loss=loss,
        metric=accuracy,
        optimizer=adamw(model, rate_schedule(0.01, 7), weight_decay=0.1, max_grad_norm=0.5),
        max_steps=7,
        settings=UpdateSettings(**settings),
    )


def reads_of_steps(reads: Reads, run: Iterator[StepDone]) -> list[int]:
    """Count those of each step but the first, in which PaddlePaddle 2.6 makes its AdamW's state."""
    next(run)
    counts, reads.count = [], 0
    for _ in run:
        counts.append(reads.count)
        reads.count = 0
    return counts


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    "precision", [None, scaled(LossScale(2.0**10)), scaled(LossScale(2.0**65))]
)
def test_a_step_reads_once(on_gpu_way, reads, accumulate, precision):
    run = steps(bert(), accumulate=accumulate, precision=precision, on_non_finite="skip")
    assert reads_of_steps(reads, run) == [1] * 6


def test_a_step_with_weighted_labels_reads_once(on_gpu_way, reads):
    emphasis = Emphasis(0.1, paddle.to_tensor([0.5, 2.0, 1.0]))
    reads.count = 0
    assert reads_of_steps(reads, steps(tiny_model(0.1), emphasis=emphasis)) == [1] * 6


def test_a_read_that_is_added_is_found(on_gpu_way, reads):
    def curious(logits: Tensor, labels: Tensor) -> Tensor:
        losses = cross_entropy(logits, labels)
        assert losses.mean() > 0
        return losses

    assert reads_of_steps(reads, steps(tiny_model(), curious)) == [2] * 6
    assert reads_of_steps(reads, steps(tiny_model(), accumulate=2)) == [1] * 6


def test_a_step_of_pretraining_reads_once(on_gpu_way, reads):
    model = gradient_run.model()
    updater = Updater(model, adamw(model, 0.1), MaskedLM(), UpdateSettings())
    parts = [gradient_run.batch(0, 4), gradient_run.batch(4, 4)]
    reads.count = 0
    updater.update(1, parts, updater.count(parts))
    assert reads.count == 1


class Network:
    """In the place of several processes: notes what is summed, and gives back what it got."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def all_reduce(self, tensor: Tensor, **options: Any) -> Network:
        self.log.append((tensor.size, tensor.dtype))
        return self

    def wait(self) -> None:
        self.log.append("wait")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed.dist, "all_reduce", found.all_reduce)
    return found


class Stack(nn.Layer):
    """Seven layers of 12 numbers, of which the fourth takes no part; notes its backward pass."""

    def __init__(self, log: list[Any], dtype: str = "float32") -> None:
        super().__init__()
        self.layers = nn.LayerList([nn.Linear(3, 3) for _ in range(7)])
        self.to(dtype=dtype)
        self.log = log

    def forward(self, states: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            if number == 3:
                continue
            states = layer(states)
            states.register_hook(lambda gradient, number=number: self.log.append(number))
        return states


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "BUCKET", 24)  # two layers'


BUCKETS = [(24, paddle.float32)] * 3 + [(12, paddle.float32)]


def test_gradients_are_summed_while_the_backward_pass_goes_on(network, small_buckets):
    stack = Stack(network.log)
    states = paddle.randn([5, 3])
    stack(states).square().sum().backward()
    own = {name: p.grad.numpy() for name, p in stack.named_parameters() if p.grad is not None}
    stack.clear_gradients()
    network.log.clear()
    total = distributed.GradientSum(stack.parameters())
    loss = stack(states).square().sum()
    total.backward(loss, is_last=True)
    # The first bucket is of the last layers. That with the layer without a gradient comes at the
    # end, and all that follow wait for it.
    assert network.log == [6, 5, (24, paddle.float32), 4, 2, 1, 0]
    total.give(total.finish(), [True] * 14)
    assert network.log[7:] == [*BUCKETS[1:], *["wait"] * 4]
    for name, parameter in stack.named_parameters():
        assert np.array_equal(parameter.grad.numpy(), own.get(name, 0 * parameter.numpy())), name


def test_a_process_without_rows_sums_the_same_buckets(network, small_buckets):
    stack = Stack(network.log)
    total = distributed.GradientSum(stack.parameters())
    total.give(total.finish(), [True] * 13 + [False])
    assert network.log == [*BUCKETS, *["wait"] * 4]
    *others, last = stack.parameters()
    assert all(not p.grad.numpy().any() for p in others)
    assert last.grad is None


def test_accumulated_gradients_are_summed_once(network, small_buckets):
    stack = Stack(network.log)
    states = paddle.randn([6, 3])
    stack(states).square().sum().backward()
    whole = {name: p.grad.numpy() for name, p in stack.named_parameters() if p.grad is not None}
    stack.clear_gradients()
    network.log.clear()
    total = distributed.GradientSum(stack.parameters())
    for part in (0, 1, 2):
        loss = stack(states[2 * part : 2 * part + 2]).square().sum()
        total.backward(loss, is_last=part == 2)
    total.give(total.finish(), [True] * 14)
    assert [one for one in network.log if isinstance(one, tuple)] == BUCKETS
    for name, expected in whole.items():
        found = dict(stack.named_parameters())[name].grad.numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize(
    ("dtype", "result", "summed", "returned"),
    [
        (None, None, paddle.float64, paddle.float64),
        (None, "float32", paddle.float64, paddle.float32),
        ("float32", "float32", paddle.float32, paddle.float32),
    ],
)
def test_gradients_are_summed_in_their_own_type(network, dtype, result, summed, returned):
    stack = Stack(network.log, "float64")
    total = distributed.GradientSum(stack.parameters(), dtype=dtype, result=result)
    total.backward(stack(paddle.ones([1, 3], "float64")).sum(), is_last=True)
    assert {one.dtype for one in total.finish() if one is not None} == {returned}
    assert [one for one in network.log if isinstance(one, tuple)] == [(7 * 12, summed)]


def test_a_step_of_several_processes_brings_numbers_together_twice(
    network, small_buckets, monkeypatch
):
    sums = []

    def all_reduce(values: Any, operation: str = "sum") -> list[float]:
        sums.append(len(values))
        return [float(value) for value in values]

    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    model = tiny_model()
    sizes = sum(int(np.prod(p.shape)) > 0 for p in model.parameters())
    steps_made = sum(1 for _ in steps(model, accumulate=2))
    assert steps_made == 7
    # Signals and counts; losses, and who has which gradient.
    assert len(sums) == 2 * 7
    assert set(sums[1::2]) == {2 + sizes}
    assert len([one for one in network.log if isinstance(one, tuple)]) == 7 * len(
        distributed._buckets(model.parameters()[::-1])
    )


def test_the_next_batch_is_made_while_a_device_computes(on_gpu_way, reads, monkeypatch):
    log: list[str] = []
    monkeypatch.setattr(devices, "current", lambda: devices.KINDS["gpu"])
    monkeypatch.setattr(updates, "_read", noted(log, "read", updates._read))
    monkeypatch.setattr(Batch, "__init__", noted(log, "made", Batch.__init__))
    on_device = [event.loss for event in steps(tiny_model())]
    assert log == ["made", *["made", "read"] * 6, "read"]
    log.clear()
    monkeypatch.setattr(devices, "current", lambda: devices.KINDS["cpu"])
    assert [event.loss for event in steps(tiny_model())] == on_device
    assert log == ["made", "read"] * 7


def noted(log: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        log.append(name)
        return function(*args, **options)

    return wrapped


def test_what_goes_wrong_ahead_comes_in_its_turn():
    def numbers() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("no more")

    upcoming = batches.Ahead(numbers())
    assert next(upcoming) == 1
    upcoming.make()
    assert next(upcoming) == 2
    upcoming.make()
    with pytest.raises(ValueError, match="no more"):
        next(upcoming)
    upcoming = batches.Ahead(iter([1]))
    upcoming.make()
    upcoming.make()
    assert list(upcoming) == [1]


def test_batches_keep_what_they_were_made_of():
    batch = Batch({"labels": paddle.to_tensor([1, 2])}, np.arange(2))
    assert batch.host["labels"].tolist() == batch["labels"].tolist() == [1, 2]
