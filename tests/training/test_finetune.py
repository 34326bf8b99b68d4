"""The loop: what it yields and when, how batches add up, what it refuses."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from paddlenlp_ext.errors import DeviceError, UserError
from paddlenlp_ext.metrics import accuracy
from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated, Progress, StepDone
from paddlenlp_ext.training.finetune import evaluate, finetune
from paddlenlp_ext.training.losses import cross_entropy
from paddlenlp_ext.training.optimization import adamw, rate_schedule
from paddlenlp_ext.training.precision import LossScale, MixedPrecision, mixed_precision
from paddlenlp_ext.training.updates import NonFiniteLossError, UpdateSettings
from tests.training.tiny_run import (
    CLASSES,
    VOCABULARY,
    Output,
    TinyClassifier,
    digest,
    loaders,
    parse,
    tiny_model,
    train,
)


def events(steps: int = 9, **options: Any) -> list[Any]:
    model = tiny_model()
    train_loader, dev = loaders(37, 23, 8)
    optimizer = adamw(model, rate_schedule(0.01, steps, warmup_steps=2))
    defaults: dict[str, Any] = {"evaluate_on": {"dev": dev, "dev_2": dev}, "evaluate_every": 4}
    return list(
        finetune(
            model,
            train_loader,
            loss=cross_entropy,
            metric=accuracy,
            optimizer=optimizer,
            max_steps=steps,
            **(defaults | options),
        )
    )


def test_yields_every_update_and_evaluation_in_order():
    yielded = events()
    order = [(event.step, getattr(event, "split", "")) for event in yielded]
    after = {4: ["dev", "dev_2"], 8: ["dev", "dev_2"], 9: ["dev", "dev_2"]}
    expected = [(step, s) for step in range(1, 10) for s in ("", *after.get(step, []))]
    assert order == expected
    steps = [event for event in yielded if isinstance(event, StepDone)]
    assert [(s.epoch, s.batch) for s in steps] == [(k // 5, k % 5) for k in range(9)]
    assert [s.examples for s in steps] == [8, 8, 8, 8, 5, 8, 8, 8, 8]
    assert [s.progress for s in steps] == [Progress(k) for k in range(1, 10)]
    assert {s.total_steps for s in steps} == {9}
    # The rate shown is that of the next update: warm-up over 2, decay over 7.
    assert [s.learning_rate for s in steps[:3]] == pytest.approx([0.005, 0.01, 0.01 * 6 / 7])
    assert steps[-1].learning_rate == 0
    evaluations = [event for event in yielded if isinstance(event, Evaluated)]
    assert [e.progress.evaluations for e in evaluations] == [1, 2] * 3
    assert {e.examples for e in evaluations} == {23}


def test_evaluates_at_the_end_only_when_not_told_otherwise():
    yielded = events(evaluate_every=0)
    assert [e.step for e in yielded if isinstance(e, Evaluated)] == [9, 9]


def test_leaving_the_loop_ends_training():
    model = tiny_model()
    train_loader, dev = loaders(37, 23, 8)
    loop = finetune(
        model,
        train_loader,
        evaluate_on={"dev": dev},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=adamw(model, 0.01),
        max_steps=1000,
    )
    for event in loop:
        if event.step == 3:
            break
    loop.close()
    assert model.training


@pytest.mark.parametrize("split", [("4", "2"), ("2", "4"), ("3", "3"), ("1", "8")])
def test_accumulated_batches_are_one_batch(split):
    batch, accumulate = split
    size = int(batch) * int(accumulate)
    one = train(parse(["--batch", str(size), "--rows", "29"]))
    many = train(parse(["--batch", batch, "--accumulate", accumulate, "--rows", "29"]))
    assert many["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert many["examples"] == one["examples"]
    assert [e[1:] for e in many["evaluations"]] == [e[1:] for e in one["evaluations"]]


def test_learns_thirty_two_rows():
    model = TinyClassifier()
    data, _ = loaders(32, 1, 32)
    held_out = Loader(data.features, EvaluationOrder(32, 5), pad_token_id=0)
    *_, last = finetune(
        model,
        data,
        evaluate_on={"train": held_out},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=adamw(model, 0.05),
        max_steps=60,
    )
    assert last.metrics["acc"] == 1.0
    assert last.loss < 0.05


def test_dropout_follows_from_seed_and_step():
    first = train(parse(["--dropout", "0.5"]))
    paddle.seed(999)
    np.random.seed(999)
    assert train(parse(["--dropout", "0.5"])) == first
    assert first["losses"] != train(parse(["--dropout", "0.0"]))["losses"]


def test_a_parameter_without_gradient_is_not_decayed():
    model = tiny_model()
    before = model.unused.weight.numpy()
    optimizer = adamw(model, 0.01, weight_decay=0.5)
    list(
        finetune(
            model,
            loaders(9, 3, 4)[0],
            evaluate_on={},
            loss=cross_entropy,
            metric=accuracy,
            optimizer=optimizer,
            max_steps=3,
        )
    )
    assert np.array_equal(model.unused.weight.numpy(), before)


def bert_losses(recompute: bool) -> list[float]:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=19,
    ).replace(num_labels=CLASSES)
    paddle.seed(11)
    model = BertForSequenceClassification(config)
    if recompute:
        model.enable_recompute()
    loop = finetune(
        model,
        loaders(37, 3, 8)[0],
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=adamw(model, 0.01),
        max_steps=4,
    )
    return [event.loss for event in loop]


def test_a_real_model_learns_the_same_with_recomputed_activations():
    losses = bert_losses(recompute=False)
    assert len(set(losses)) == 4
    assert bert_losses(recompute=True) == losses


def poisoned(**settings: Any) -> tuple[TinyClassifier, Any, list[str]]:
    model = tiny_model()
    digests = []

    def spoil(layer: nn.Layer, inputs: Any, output: Output) -> Output | None:
        digests.append(digest(layer))
        if len(digests) != 3:
            return None
        factor = np.ones(output.logits.shape, np.float32)
        factor[1] = np.inf
        return Output(output.logits * paddle.to_tensor(factor))

    model.register_forward_post_hook(spoil)
    loop = finetune(
        model,
        loaders(37, 3, 8)[0],
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=adamw(model, rate_schedule(0.01, 5)),
        max_steps=5,
        settings=UpdateSettings(sources=[f"train.tsv:{k + 2}" for k in range(37)], **settings),
    )
    return model, loop, digests


def test_a_loss_that_is_not_finite_names_its_row_and_leaves_the_weights():
    model, loop, digests = poisoned()
    order = BatchOrder(37, 8, seed=5)
    row = list(order.rows())[2][1]
    with pytest.raises(NonFiniteLossError, match=rf"step 3: .*\(rank 0: train.tsv:{row + 2}\)"):
        list(loop)
    assert digest(model) == digests[2]


def test_an_update_whose_loss_is_not_finite_can_be_skipped():
    model, loop, digests = poisoned(on_non_finite="skip")
    steps = list(loop)
    assert [s.skipped for s in steps] == [False, False, True, False, False]
    assert digests[2] == digests[3]
    assert len(set(digests)) == 4
    assert steps[2].learning_rate == pytest.approx(0.01 * 2 / 5)
    assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


@pytest.mark.parametrize("is_training", [True, False])
def test_too_little_memory_names_the_batch_and_what_to_lower(is_training):
    def fail(layer: nn.Layer, inputs: Any) -> None:
        if layer.training == is_training:
            raise MemoryError("\n\nCannot allocate 3.0GB memory\n")

    model = tiny_model()
    model.register_forward_pre_hook(fail)
    train_loader, dev = loaders(37, 23, 8)
    loop = finetune(
        model,
        train_loader,
        evaluate_on={"dev": dev},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=adamw(model, 0.01),
        max_steps=2,
    )
    when, flag = ("step 1", "`batch_size`") if is_training else ("evaluation", "`eval_batch_size`")
    expected = rf"{when}: .* 8 rows of \d tokens \(Cannot allocate 3.0GB memory\); lower {flag}"
    with pytest.raises(UserError, match=expected):
        list(loop)


class Float32:
    """In `Autocast`'s place, which refuses float16 on a CPU."""

    level = "O1"

    def __call__(self) -> nullcontext[None]:
        return nullcontext()

    def forget(self) -> None:
        pass


def scaled(loss_scale: LossScale) -> MixedPrecision:
    return MixedPrecision(Float32(), loss_scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.05])
def test_a_loss_scale_goes_around_the_gradients_alone(max_grad_norm):
    plain = losses_of(None, max_grad_norm)
    assert losses_of(scaled(LossScale(2.0**10)), max_grad_norm) == plain
    assert losses_of(scaled(LossScale(2.0**-20)), max_grad_norm) == plain


def losses_of(precision: MixedPrecision | None, max_grad_norm: float) -> list[float]:
    model = tiny_model()
    optimizer = adamw(model, 0.01, max_grad_norm=max_grad_norm)
    steps = finetune(
        model,
        loaders(37, 3, 8)[0],
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=optimizer,
        max_steps=4,
        settings=UpdateSettings(precision=precision),
    )
    return [event.loss for event in steps]


def test_a_loss_scale_that_is_too_large_is_lowered_and_leaves_the_weights(capsys):
    model, kept = tiny_model(), []
    precision = scaled(LossScale(2.0**70))
    steps = finetune(
        model,
        loaders(37, 3, 8)[0],
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=adamw(model, 0.01),
        max_steps=40,
        settings=UpdateSettings(precision=precision),
    )
    before = digest(model)
    for event in steps:
        if not event.skipped:
            break
        assert digest(model) == before
        kept.append(precision.scale)
    assert len(kept) > 1
    assert kept == [2.0 ** (70 - k) for k in range(1, len(kept) + 1)]
    assert digest(model) != before
    assert capsys.readouterr().out.splitlines()[0] == (
        f"Found inf or nan, current scale is: {2.0**70}, decrease to: {2.0**70}*0.5"
    )


def test_a_loss_scale_goes_as_paddles():
    ours, theirs = LossScale(2.0**15), [2.0**15]
    fails = np.random.default_rng(3).random(9000) < 2e-4
    assert fails.sum() > 1
    good = 0  # as in AmpScaler._update, of which a CPU has none
    for failed in fails:
        good = 0 if failed else good + 1
        theirs.append(theirs[-1] * (0.5 if failed else 2.0 if good == 2000 else 1.0))
        good %= 2000
        ours.adapt(bool(failed))
        assert ours.value == theirs[-1]
    assert len(set(theirs)) > 2
    saved = scaled(ours).state()
    restored = scaled(LossScale())
    restored.restore(saved)
    assert restored.loss_scale == ours


def test_mixed_precision_on_a_cpu_is_refused():
    model = tiny_model()
    with pytest.raises(DeviceError, match="`use_amp`: PaddlePaddle has no mixed precision"):
        mixed_precision(model, adamw(model, 0.1))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "`device` gpu: this PaddlePaddle is a CPU build; install the one for GPU, or "),
        ("gpu:1", "`device` gpu:1: this PaddlePaddle is a CPU build"),
        ("xpu", "`device` xpu: this PaddlePaddle is a CPU build"),
        ("npu", "`device` npu: this PaddlePaddle is a CPU build"),
        ("tpu", "`device` tpu: unknown; known are cpu, gpu, xpu, npu"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(DeviceError, match=message):
        distributed.start(device)


def test_nothing_to_train_on_or_to_evaluate_on_is_refused():
    model = tiny_model()
    empty = Loader([], BatchOrder(0, 4), pad_token_id=0)
    with pytest.raises(UserError, match="no training examples"):
        next(
            finetune(
                model,
                empty,
                evaluate_on={},
                loss=cross_entropy,
                metric=accuracy,
                optimizer=adamw(model, 0.1),
                max_steps=1,
            )
        )
    empty = Loader([], EvaluationOrder(0, 4), pad_token_id=0)
    with pytest.raises(UserError, match="no examples to evaluate on"):
        evaluate(model, empty, loss=cross_entropy, metric=accuracy)
