"""The last layer is computed for those positions that a head reads, to the same result."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertForPreTraining, BertForSequenceClassification
from paddlenlp_ext.models.convbert import ConvBertForPreTraining
from paddlenlp_ext.models.electra import ElectraForPreTraining
from paddlenlp_ext.models.ernie import ErnieForPreTraining
from paddlenlp_ext.models.heads import HeadModel
from paddlenlp_ext.nn.positions import by_row
from tests.models.test_contract import HEADS, batch_for, build, first
from tests.tiny import CHOICES, B, L, square_mask, tensors

OF_ONE_POSITION = (
    "ForSequenceClassification", "ForMultipleChoice", "ForNextSentencePrediction",
)  # fmt: skip
READERS = [row for row in HEADS if row[1] in OF_ONE_POSITION]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def pair(family: str, task: str | type[Model], **changes: Any) -> tuple[Model, Model]:
    """A model, and the same one that computes all positions; weights with which all matters."""
    found = []
    for _ in range(2):
        if isinstance(task, str):
            model = build(family, task, **NO_DROPOUT, **changes)
        else:
            model = task(build(family, "Model", **NO_DROPOUT, **changes).config)
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


def assert_same(models: tuple[Model, Model], batch: dict[str, Any]) -> None:
    """Compare what two models answer, and the gradients of all their parameters."""
    assert_same_answers(models, *(model(**tensors(batch)) for model in models))


def assert_same_answers(models: tuple[Model, Model], found: Any, expected: Any) -> None:
    assert [*found] == [*expected]
    for name, one in found.items():
        np.testing.assert_allclose(one.numpy(), expected[name].numpy(), atol=1e-6, rtol=0)
    answers = [paddle.concat([*map(paddle.flatten, one.values())]) for one in (found, expected)]
    assert_same_gradients(*map(gradients, models, answers))


def assert_same_gradients(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, gradient in expected.items():
        if not name.endswith("k_proj.bias"):  # which shifts all scores of a softmax alike
            error = np.linalg.norm(found[name] - gradient)
            assert error <= 2e-6 * np.linalg.norm(gradient), name


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


MASKED = [
    *((family, model_class(family, task)) for family, task in HEADS if task == "ForMaskedLM"),
    ("bert", BertForPreTraining),
    ("ernie", ErnieForPreTraining),
]
# Of [3, 7]: in no order, one twice, none of the second row, the first and the last of all, padding.
PLACES = np.array([19, 0, 4, 15, 6, 4, 20])


def run_masked(model: Any, batch: dict[str, Any], **more: Any) -> dict[str, paddle.Tensor]:
    return model.run(**tensors(batch), masked_positions=paddle.to_tensor(PLACES), **more)


@pytest.mark.parametrize(("family", "cls"), MASKED, ids=[cls.__name__ for _, cls in MASKED])
def test_masked_tokens_are_as_good_as_all(family: str, cls: type[Model]) -> None:
    models = pair(family, cls)
    shapes = [rows_of_last_layer(model) for model in models]
    batch = batch_for(models[0], "ForMaskedLM")
    outputs = [run_masked(model, batch) for model in models]
    whole = models[0](**tensors(batch))
    assert [*outputs[0]] == [*whole]
    assert whole[0].shape[:2] == [B, L]
    assert outputs[0][0].shape == [len(PLACES), whole[0].shape[-1]]
    np.testing.assert_allclose(
        outputs[0][0].numpy(), whole[0].flatten(0, 1).numpy()[PLACES], atol=1e-6, rtol=0
    )
    assert_same_answers(models, *outputs)
    pooled, width = hasattr(models[0], "next_sentence"), models[0].config.hidden_size
    assert shapes == [[[B, 3 + pooled, width], [B, L, width]], [[B, L, width]]]


@pytest.mark.parametrize("asked", ["output_hidden_states", "output_attentions"])
def test_masked_tokens_where_more_is_asked_for(asked: str) -> None:
    models = pair("bert", BertForPreTraining)
    batch = batch_for(models[0], "ForMaskedLM")
    outputs = [run_masked(model, batch, **{asked: True}) for model in models]
    assert outputs[0][asked.removeprefix("output_")][-1].shape[-2] == L
    for one, other in zip(outputs[0].values(), outputs[1].values(), strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))


@pytest.mark.parametrize("family", ["convbert", "electra"])
def test_a_generator_fills_as_one_of_all_tokens(family: str) -> None:
    cls = {"convbert": ConvBertForPreTraining, "electra": ElectraForPreTraining}[family]
    models = pair(family, cls)
    shapes = [rows_of_last_layer(model) for model in models]
    batch = batch_for(models[0], "ForMaskedLM")
    labels = np.full([B * L], -100)
    labels[PLACES] = batch["input_ids"].reshape(-1)[PLACES]
    batch["generator_labels"] = labels.reshape(B, L)
    outputs = []
    for model in models:
        paddle.seed(4)
        outputs.append(model(**tensors(batch)))
    words = [output.discriminator_input_ids.numpy() for output in outputs]
    np.testing.assert_array_equal(*words)
    losses = [output.loss for output in outputs]
    np.testing.assert_allclose(*(loss.numpy() for loss in losses), rtol=1e-6)
    width = models[0].config.hidden_size
    assert shapes == [[[B, 3, width], [B, L, width]], [[B, L, width]] * 2]
    assert_same_gradients(*map(gradients, models, losses))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_first", [False, True])
def test_places_are_found_by_row(seed: int, with_first: bool) -> None:
    random = np.random.default_rng(seed)
    batch, length = random.integers(1, 9, 2)
    places = random.integers(0, batch * length, random.integers(1, 2 * batch * length))
    positions, again = by_row(
        paddle.to_tensor(places), int(batch), int(length), with_first=with_first
    )
    flat = np.arange(batch)[:, None] * length + positions.numpy()
    np.testing.assert_array_equal(flat.reshape(-1)[again.numpy()], places)
    wanted = {*places.tolist()} | ({*range(0, batch * length, length)} if with_first else set())
    assert positions.shape[1] == np.bincount([one // length for one in wanted]).max()
    assert not with_first or not positions.numpy()[:, 0].any()
    for number, row in enumerate(positions.numpy()):  # what fills it up is its first position
        of_row = sorted(one % length for one in wanted if one // length == number)
        assert row.tolist() == of_row + [0] * (len(row) - len(of_row))


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
