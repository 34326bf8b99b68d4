"""The last layer is computed for those positions that a head reads, to the same result."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertForSequenceClassification
from paddlenlp_ext.models.heads import HeadModel
from tests.models.test_contract import HEADS, batch_for, build, first
from tests.tiny import CHOICES, B, L, square_mask, tensors

OF_ONE_POSITION = (
    "ForSequenceClassification", "ForMultipleChoice", "ForNextSentencePrediction",
)  # fmt: skip
READERS = [row for row in HEADS if row[1] in OF_ONE_POSITION]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def pair(family: str, task: str, **changes: Any) -> tuple[Model, Model]:
    """A model, and the same one that computes all positions; weights with which all matters."""
    found = []
    for _ in range(2):
        model = build(family, task, **NO_DROPOUT, **changes)
        random = np.random.default_rng(5)
        for parameter in model.parameters():
            noise = random.normal(0, 0.1, parameter.shape).astype("float32")
            parameter.set_value(parameter.numpy() + noise)
        model.eval()
        found.append(model)
    found[1].compute_unread()
    return found[0], found[1]


def gradients(model: Model, logits: paddle.Tensor) -> dict[str, np.ndarray]:
    """Of a sum of the logits with weights in which nothing cancels."""
    weights = np.random.default_rng(6).normal(size=logits.shape).astype("float32")
    (logits * paddle.to_tensor(weights)).sum().backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters()}


def assert_same(models: tuple[Model, Model], batch: dict[str, Any], name: str = "logits") -> None:
    """Compare what two models answer, and the gradients of all their parameters."""
    found, expected = (model(**tensors(batch))[name] for model in models)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6, rtol=0)
    found, expected = (gradients(*both) for both in zip(models, (found, expected), strict=True))
    for parameter, gradient in expected.items():
        if parameter.endswith("k_proj.bias"):  # which shifts all scores of a softmax alike
            continue
        error = np.linalg.norm(found[parameter] - gradient)
        assert error <= 2e-6 * np.linalg.norm(gradient), parameter


def rows_of_last_layer(model: Model) -> list[list[int]]:
    """Note the shape of what the last feed-forward layer of each encoder computes."""
    shapes: list[list[int]] = []
    for name, layer in model.named_sublayers():
        if name.endswith(f"layers.{model.config.num_hidden_layers - 1}.linear2"):
            layer.register_forward_post_hook(lambda _, __, output: shapes.append(output.shape))
    return shapes


@pytest.mark.parametrize(("family", "task"), READERS)
def test_one_position_is_as_good_as_all(family: str, task: str) -> None:
    models = pair(family, task)
    shapes = [rows_of_last_layer(model) for model in models]
    assert_same(models, batch_for(models[0], task))
    rows, width = (B * CHOICES if "Choice" in task else B), models[0].config.hidden_size
    assert shapes == [[[rows, 1, width]], [[rows, L, width]]]


@pytest.mark.parametrize("length", [1, 2, 13])
def test_of_any_length(length: int) -> None:
    for family in ("bert", "convbert"):
        models = pair(family, "ForSequenceClassification")
        options = {"batch": 2, "length": length}
        assert_same(models, batch_for(models[0], "ForSequenceClassification", **options))


@pytest.mark.parametrize("family", ["bert", "convbert"])
def test_a_mask_with_a_row_for_each_query(family: str) -> None:
    models = pair(family, "ForSequenceClassification")
    batch = batch_for(models[0], "ForSequenceClassification")
    assert_same(models, batch | {"attention_mask": square_mask()})


@pytest.mark.parametrize("task", ["ForSequenceClassification", "ForMultipleChoice"])
@pytest.mark.parametrize(
    "changes",
    [
        {"mask_convolution": True},
        {"pool_act": "tanh"},
        {"num_groups": 2, "intermediate_size": 38},
        {"conv_kernel_size": 9},
        {"num_attention_heads": 1, "one_head_convolution": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_convbert(task: str, changes: dict[str, Any]) -> None:
    models = pair("convbert", task, **changes)
    assert_same(models, batch_for(models[0], task))


def test_a_decoder_that_classifies() -> None:
    models = pair("bert", "ForSequenceClassification", is_decoder=True)
    assert_same(models, batch_for(models[0], "ForSequenceClassification"))


@pytest.mark.parametrize("asked", ["output_hidden_states", "output_attentions"])
def test_what_is_asked_for_is_whole(asked: str) -> None:
    for family in ("bert", "convbert"):
        models = pair(family, "ForSequenceClassification")
        batch = tensors(batch_for(models[0], "ForSequenceClassification"))
        found, expected = (model(**batch, **{asked: True}) for model in models)
        layers = getattr(found, asked.removeprefix("output_"))
        for one, other in zip(layers, expected[asked.removeprefix("output_")], strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())
        np.testing.assert_array_equal(found.logits.numpy(), expected.logits.numpy())


@pytest.mark.parametrize(("family", "task"), [row for row in HEADS if row not in READERS])
def test_heads_of_all_tokens_read_all(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    shapes = rows_of_last_layer(model)
    first(model(**tensors(batch_for(model, task))))
    assert [shape[:2] for shape in shapes] == [[B, L]]


def test_a_head_of_ones_own_reads_all_unless_it_says_what() -> None:
    class Mean(BertForSequenceClassification):
        def apply_head(self, outputs: Any, labels: Any) -> Any:
            return outputs.last_hidden_state.mean(axis=1)

    class Last(Mean):
        reads = slice(-1, None)

    assert HeadModel.reads is Mean.reads is None
    states = []
    for cls in (Mean, Last):
        model = cls(build("bert", "Model").config)
        model.eval()
        model.backbone.encoder.register_forward_post_hook(
            lambda _, __, output: states.append(output.last_hidden_state)
        )
        model(**tensors(batch_for(model, "ForSequenceClassification")))
    assert [one.shape[1] for one in states] == [L, 1]


@pytest.mark.parametrize("family", ["bert", "convbert"])
def test_recomputing_gives_the_same_gradients(family: str) -> None:
    found = []
    for recompute in (False, True):
        model = build(family, "ForSequenceClassification")
        model.train()
        if recompute:
            model.enable_recompute()
        paddle.seed(3)
        batch = tensors(batch_for(model, "ForSequenceClassification"))
        found.append(gradients(model, model(**batch).logits))
    for name, gradient in found[0].items():
        np.testing.assert_array_equal(found[1][name], gradient, err_msg=name)
