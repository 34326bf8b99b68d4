"""What every class of every family keeps: one suite, a row for each class."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models import auto as auto_classes
from paddlenlp_ext.models.auto import FAMILIES, base_class, model_class
from paddlenlp_ext.models.base import Model
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, V, arrays, tensors

TASKS = (
    "Model",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForMaskedLM",
    "ForCausalLM",
    "ForNextSentencePrediction",
)


def has_class(family: str, task: str) -> bool:
    try:
        model_class(family, task)
    except UserError:
        return False
    return True


CLASSES = [(family, task) for family in FAMILIES for task in TASKS if has_class(family, task)]
HEADS = [(family, task) for family, task in CLASSES if task != "Model"]
each_class = pytest.mark.parametrize(("family", "task"), CLASSES)
each_head = pytest.mark.parametrize(("family", "task"), HEADS)


def build(family: str, task: str, **changes: Any) -> Model:
    paddle.seed(1)
    config_class = base_class(family).config_class
    config = config_class.from_dict(SIZES | FAMILY_SIZES[family]).replace(**changes)
    return model_class(family, task)(config)


def batch_for(model: Model, task: str, **options: Any) -> dict[str, Any]:
    batch = arrays(pad=model.config.pad_token_id, **options)
    if not hasattr(model.config, "type_vocab_size"):
        del batch["token_type_ids"]
    if task == "ForMultipleChoice":
        batch = {
            name: np.stack([np.roll(rows, i, 0) for i in range(CHOICES)], 1)
            for name, rows in batch.items()
        }
    return batch


def labels_for(model: Model, task: str) -> paddle.Tensor:
    mask = arrays()["attention_mask"]
    rows = {
        "ForSequenceClassification": np.array([1, 0, 1]),
        "ForNextSentencePrediction": np.array([1, 0, 1]),
        "ForMultipleChoice": np.array([4, 0, 2]),
        "ForQuestionAnswering": np.array([[1, 3], [0, 0], [2, 2]]),
    }
    every_token = np.where(mask == 1, arrays(seed=8)["input_ids"] % 2, -100)
    return paddle.to_tensor(rows.get(task, every_token))


def first(output: Any) -> np.ndarray:
    names = ("logits", "start_logits", "last_hidden_state")
    return next(getattr(output, name).numpy() for name in names if hasattr(output, name))


@each_class
def test_saved_and_loaded_is_the_same(family: str, task: str, tmp_path: Path) -> None:
    model = build(family, task)
    model.eval()
    batch = tensors(batch_for(model, task))
    expected = first(model(**batch))
    for layout in ("paddle", "huggingface"):
        if layout not in model.names:
            continue
        model.save_pretrained(tmp_path / layout, format=layout)
        loaded = type(model).from_pretrained(tmp_path / layout)
        assert loaded.config == model.config
        assert not loaded.load_report.missing
        assert not loaded.load_report.unexpected
        np.testing.assert_array_equal(first(loaded(**batch)), expected)


@each_class
def test_names_are_returned_or_values_alone(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    batch = tensors(batch_for(model, task))
    asked = {"output_hidden_states": True, "output_attentions": True}
    if task != "Model":
        asked["labels"] = labels_for(model, task)
    named, same = model(**batch, **asked), model(**batch, **asked, return_dict=True)
    values = model(**batch, **asked, return_dict=False)
    assert type(same) is type(named)
    assert type(values) is tuple
    assert len(values) == len(named)
    for value, expected in zip(values, named.to_tuple(), strict=True):
        pairs = zip(value, expected, strict=True) if type(value) is tuple else [(value, expected)]
        for one, other in pairs:
            np.testing.assert_array_equal(one.numpy(), other.numpy())


@each_head
def test_every_parameter_moves(family: str, task: str) -> None:
    """A parameter without a gradient is a part that is wired to nothing."""
    model = build(family, task, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for parameter in model.parameters():
        parameter.set_value(paddle.randn(parameter.shape) * 0.3)
    batch = tensors(batch_for(model, task))
    model(**batch, labels=labels_for(model, task)).loss.backward()
    # What shifts all scores of a softmax alike cannot matter: a bias of keys, one of choices.
    shifts = ("k_proj.bias",) + (("classifier.bias",) if task == "ForMultipleChoice" else ())
    still = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None
        or (float(parameter.grad.abs().max()) == 0.0 and not name.endswith(shifts))
    ]
    assert still == []


# ConvBERT's convolution reads padding, as the original's does; test_convbert.py has its own test.
@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert", "ForSequenceClassification"),
        ("electra", "ForSequenceClassification"),
        ("bert", "ForMultipleChoice"),
        ("bert", "ForNextSentencePrediction"),
        ("bert", "ForPreTraining"),
    ],
)
def test_texts_without_a_label_count_nowhere(family: str, task: str) -> None:
    """The loss is that of the other texts; of no text it is 0, where others have NaN."""
    model = build(family, task)
    model.eval()
    batch = batch_for(model, task)
    name = "next_sentence_label" if task == "ForPreTraining" else "labels"

    def loss(texts: list[int], kept: slice = slice(None)) -> paddle.Tensor:
        given = {one: rows[kept] for one, rows in batch.items()} | {name: np.array(texts[kept])}
        if task == "ForPreTraining":  # of its two losses one
            given["labels"] = np.full_like(given["input_ids"], -100)
        return model(**tensors(given)).loss

    np.testing.assert_allclose(
        float(loss([1, 0, -100])), float(loss([1, 0, 0], slice(2))), rtol=1e-6
    )
    nothing = loss([-100, -100, -100])
    nothing.backward()
    assert float(nothing) == 0.0
    assert not any(np.any(one.grad.numpy()) for one in model.parameters() if one.grad is not None)


@pytest.mark.parametrize(("family", "task"), [row for row in CLASSES if row[0] != "convbert"])
def test_padding_changes_nothing(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    short = batch_for(model, task)
    pad = {"input_ids": model.config.pad_token_id}
    long = {
        name: np.concatenate([rows, np.full_like(rows, pad.get(name, 0))], axis=-1)
        for name, rows in short.items()
    }
    a, b = first(model(**tensors(short))), first(model(**tensors(long)))
    b = b[:, : a.shape[1]]
    mask = short["attention_mask"].astype(bool)
    if a.shape[:2] == mask.shape:  # one answer a token: those of padding mean nothing
        a, b = a[mask], b[mask]
    np.testing.assert_allclose(a, b, atol=1e-6)


@each_class
def test_mask_is_found_by_padding(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    batch = batch_for(model, task)
    given = first(model(**tensors(batch)))
    del batch["attention_mask"]
    np.testing.assert_array_equal(first(model(**tensors(batch))), given)


@each_head
def test_new_head_is_reported(
    family: str, task: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = build(family, "Model")
    base.save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO):
        model = model_class(family, task).from_pretrained(tmp_path)
    assert model.load_report.missing
    assert all(not name.startswith("backbone.e") for name in model.load_report.missing)
    assert "newly initialized, not in the checkpoint" in caplog.text
    # Nobody expects a classifier there; what pretraining makes is missed.
    made_by_pretraining = task in ("ForMaskedLM", "ForCausalLM", "ForNextSentencePrediction")
    level = logging.WARNING if made_by_pretraining else logging.INFO
    assert [record.levelno for record in caplog.records] == [level]
    assert model.load_report.missing[0].split(".")[0] in caplog.text


@pytest.mark.parametrize("family", FAMILIES)
def test_another_number_of_labels_makes_a_new_classifier(
    family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = build(family, "ForSequenceClassification", num_labels=3)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, num_labels=5)
    assert loaded.load_report.mismatched
    assert "newly initialized, of another shape: classifier" in caplog.text
    batch = tensors(batch_for(loaded, "ForSequenceClassification"))
    assert loaded(**batch).logits.shape == [3, 5]


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_another_size_are_refused(family: str, tmp_path: Path) -> None:
    build(family, "Model").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not fit"):
        base_class(family).from_pretrained(tmp_path, intermediate_size=74)


@each_class
def test_attributes_of_both_libraries(family: str, task: str) -> None:
    model = build(family, task, num_labels=3)
    bare = getattr(model, model.base_model_prefix, model)
    assert model.base_model is bare
    assert isinstance(bare, base_class(family))
    if task != "Model":
        assert getattr(model, model.names["huggingface"].prefix[:-1]) is bare
    assert model.num_labels == 3
    assert model.dtype == paddle.float32
    assert model.tie_weights() is None
    scores_words = task in ("ForMaskedLM", "ForCausalLM")
    assert (model.get_output_embeddings() is not None) is scores_words
    table = model.get_input_embeddings()
    assert model.resize_token_embeddings() is table
    assert model.resize_token_embeddings(new_num_tokens=V + 2) is table
    assert table.weight.shape[0] == V + 2


@each_class
def test_another_table_of_words(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    batch = tensors(batch_for(model, task))
    before, old = first(model(**batch)), model.get_input_embeddings()
    table = paddle.nn.Embedding(*old.weight.shape)
    table.weight.set_value(-2 * old.weight)
    model.set_input_embeddings(table)
    assert model.get_input_embeddings() is table
    changed = first(model(**batch))
    assert np.abs(changed - before).max() > 1e-3
    old.weight.set_value(table.weight)
    model.set_input_embeddings(old)
    np.testing.assert_array_equal(first(model(**batch)), changed)


@each_class
def test_built_of_a_config_alone(family: str, task: str, tmp_path: Path) -> None:
    model = build(family, task)
    cls, config = type(model), model.config
    made = cls.from_config(config, num_labels=5)
    assert type(made) is cls
    assert made.config == config.replace(num_labels=5)
    model.save_pretrained(tmp_path)
    wider = config.replace(num_labels=7, hidden_dropout_prob=0.3)
    loaded = cls.from_pretrained(tmp_path, config=wider)
    assert loaded.config == wider
    name, values = next(iter(loaded.base_model.state_dict().items()))
    np.testing.assert_array_equal(values.numpy(), model.base_model.state_dict()[name].numpy())
    auto = getattr(auto_classes, f"Auto{task}" if task == "Model" else f"AutoModel{task}")
    assert type(auto.from_config(config)) is cls
    assert auto.from_pretrained(tmp_path, config=wider).config == wider
    other = base_class("ernie_m" if family == "bert" else "bert").config_class()
    for build_of in (cls.from_config, lambda one: cls.from_pretrained(tmp_path, config=one)):
        with pytest.raises(UserError, match="take the classes of that family"):
            build_of(other)


@each_class
def test_vocabulary_can_grow_and_shrink(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    before = model.get_input_embeddings().weight.numpy()
    model.resize_token_embeddings(V + 6)
    assert model.config.vocab_size == V + 6
    after = model.get_input_embeddings().weight
    np.testing.assert_array_equal(after.numpy()[:V], before)
    batch = batch_for(model, task)
    batch["input_ids"] = np.where(batch["input_ids"] == 9, V + 5, batch["input_ids"])
    output = first(model(**tensors(batch)))
    if task in ("ForMaskedLM", "ForCausalLM"):
        assert output.shape[-1] == V + 6
    model.resize_token_embeddings(V - 4)
    assert model.get_input_embeddings().weight.shape[0] == V - 4


@pytest.mark.parametrize("family", FAMILIES)
def test_new_weights_have_the_configured_spread(family: str) -> None:
    model = build(family, "Model", initializer_range=0.05)
    table = model.get_input_embeddings().weight.numpy()
    assert table[model.config.pad_token_id].any()
    spreads = [p.numpy().std() for n, p in model.named_parameters() if n.endswith("linear1.weight")]
    assert spreads
    assert all(abs(spread - 0.05) < 0.005 for spread in [*spreads, table.std()])


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputing_gives_the_same_gradients(family: str) -> None:
    gradients = []
    for recompute in (False, True):
        model = build(family, "ForSequenceClassification", hidden_dropout_prob=0.0)
        if recompute:
            model.enable_recompute()
        model.train()
        paddle.seed(3)
        batch = tensors(batch_for(model, "ForSequenceClassification"))
        model(**batch, labels=labels_for(model, "ForSequenceClassification")).loss.backward()
        gradients.append({name: p.grad.numpy() for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        np.testing.assert_array_equal(gradients[1][name], gradient, err_msg=name)


@each_class
def test_words_can_be_given_as_vectors(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    batch = batch_for(model, task)
    # Padding is known by its token alone: among vectors XLM-R counts it like any other.
    batch["input_ids"] = np.where(
        batch["input_ids"] == model.config.pad_token_id, 5, batch["input_ids"]
    )
    batch = tensors(batch)
    expected = first(model(**batch))
    words = model.get_input_embeddings()(batch.pop("input_ids"))
    np.testing.assert_allclose(first(model(**batch, inputs_embeds=words)), expected, atol=1e-6)


def test_unknown_family_class_and_field() -> None:
    with pytest.raises(UserError, match="no class BertForSpelling"):
        model_class("bert", "ForSpelling")
    with pytest.raises(UserError, match="no field hiden_size"):
        build("bert", "Model", hiden_size=3)
