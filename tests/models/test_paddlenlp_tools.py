"""What PaddleNLP's tools ask of a model, without PaddleNLP; with it: `tests/parity`."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertForCausalLM, BertForSequenceClassification, BertModel
from paddlenlp_ext.models.electra import ElectraDiscriminator
from paddlenlp_ext.models.ernie_m import ErnieMForTokenClassification
from paddlenlp_ext.models.paddlenlp_tools import THEIRS
from paddlenlp_ext.weights.states import export_state
from tests.tiny import FAMILY_SIZES, SIZES, arrays, tensors

CLASSES = (BertForSequenceClassification, ErnieMForTokenClassification, BertModel)


def make(cls: type[Model] = BertForSequenceClassification) -> Model:
    return cls(cls.config_class(**SIZES | FAMILY_SIZES[cls.config_class.model_type]))


def weights(model: Model) -> dict[str, np.ndarray]:
    return {name: one.numpy() for name, one in model.state_dict().items()}


def theirs(model: Model) -> dict[str, np.ndarray]:
    return export_state(weights(model), model.name_table("paddle"))


@pytest.mark.parametrize("cls", CLASSES)
def test_weights_under_paddlenlps_names(cls: type[Model]) -> None:
    first, second = make(cls), make(cls)
    named = theirs(first)
    assert second.set_state_dict(dict(named)) == ([], [])
    for name, expected in weights(first).items():
        np.testing.assert_array_equal(weights(second)[name], expected)
    assert (cls is BertModel) == (named.keys() == weights(first).keys())


def test_tensors_under_paddlenlps_names_with_gaps() -> None:
    first, second = make(), make()
    named = {name: paddle.to_tensor(one) for name, one in theirs(first).items()}
    named["bert.another"] = named.pop("classifier.bias")
    missing, unexpected = second.set_dict(named)
    assert (missing, unexpected) == (["classifier.bias"], ["bert.another"])
    np.testing.assert_array_equal(
        weights(second)["backbone.pooler.dense.weight"],
        weights(first)["backbone.pooler.dense.weight"],
    )


def test_our_names_stay_paddles_business() -> None:
    first, second = make(), make()
    state = weights(first) | {"lora_A": np.zeros(3)}
    assert second.set_state_dict(state) == ([], ["lora_A"])
    for name, expected in weights(first).items():
        np.testing.assert_array_equal(weights(second)[name], expected)


def test_is_an_instance_where_paddlenlp_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class PretrainedModel:
        pass

    model = make()
    assert not isinstance(model, PretrainedModel)
    module = ModuleType(THEIRS)
    module.PretrainedModel = PretrainedModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, THEIRS, module)
    assert isinstance(model, PretrainedModel)
    assert isinstance(model, BertForSequenceClassification)
    assert isinstance(model.backbone, PretrainedModel)
    assert not isinstance(model.classifier, PretrainedModel)
    assert model.__class__.__name__ == "BertForSequenceClassification"
    assert type(model) is BertForSequenceClassification
    assert type(copy.deepcopy(model)) is BertForSequenceClassification
    assert not model.constructed_from_pretrained_config()


def test_saves_as_a_trainer_asks(tmp_path: Path) -> None:
    model = make()
    options = {"save_function": paddle.save, "max_shard_size": "1024GB", "variant": None}
    model.save_pretrained(tmp_path / "no", is_main_process=False, **options)
    assert not (tmp_path / "no").exists()
    model.save_pretrained(tmp_path, merge_tensor_parallel=False, is_main_process=True, **options)
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.classifier.weight, model.classifier.weight)
    with pytest.raises(UserError, match="variant='tp00' is not offered"):
        model.save_pretrained(tmp_path, variant="tp00")


def test_recomputes_by_either_name() -> None:
    model = make()
    encoder = model.backbone.encoder
    assert encoder.enable_recompute is False  # what PaddleNLP's Trainer looks for
    model.recompute_enable()
    assert encoder.enable_recompute is True
    model.recompute_disable()
    assert encoder.enable_recompute is False
    model.gradient_checkpointing_enable()
    assert encoder.enable_recompute is True
    model.gradient_checkpointing_disable()
    assert encoder.enable_recompute is False
    model.enable_recompute()
    assert encoder.enable_recompute is True


def make_prefix(model: Model, batch: int) -> tuple[tuple[paddle.Tensor, ...], ...]:
    """Draw keys and values of two places for each layer, [B, A, 2, D]."""
    sizes = model.config
    width = sizes.hidden_size // sizes.num_attention_heads
    shape = [batch, sizes.num_attention_heads, 2, width]
    paddle.seed(7)
    return tuple((paddle.randn(shape), paddle.randn(shape)) for _ in range(sizes.num_hidden_layers))


def with_prefix(model: Model) -> None:
    """Do what PaddleNLP's `PrefixModelForCausalLM.generate` does."""

    def prepare(input_ids: paddle.Tensor, **inputs: Any) -> dict[str, Any]:
        mask, past = inputs["attention_mask"], inputs["past_key_values"]
        inputs["attention_mask"] = paddle.concat([paddle.ones_like(mask[:, :2]), mask], axis=-1)
        inputs["past_key_values"] = past or make_prefix(model, input_ids.shape[0])
        return {"input_ids": input_ids, **inputs}

    model.prepare_inputs_for_generation = prepare


def test_generates_behind_a_prefix() -> None:
    model = make(BertForCausalLM)
    model.eval()
    ids = paddle.to_tensor(arrays()["input_ids"][:1])
    plain = model.generate(ids, max_new_tokens=4)
    with_prefix(model)
    found = model.generate(ids, max_new_tokens=4)
    expected = ids
    for _ in range(4):  # all at once each time, without a cache
        mask = paddle.ones([1, 2 + expected.shape[1]], dtype="int64")
        past = make_prefix(model, 1)
        logits = model(expected, attention_mask=mask, past_key_values=past).logits
        expected = paddle.concat([expected, logits[:, -1:].argmax(axis=-1)], axis=1)
    np.testing.assert_array_equal(found, expected)
    assert (found != plain).any()
    with pytest.raises(UserError, match="has 9 tokens, and the model has 19 positions"):
        model.generate(ids, max_new_tokens=12)


def test_labels_behind_a_prefix() -> None:
    """The mask begins with the prefix, or leaves it out, and then all attend to it."""
    model = make(ElectraDiscriminator)
    model.eval()
    batch = tensors(arrays())
    labels = (batch["input_ids"] % 2) * 1
    past = make_prefix(model, 3)
    short = model(**batch, labels=labels, past_key_values=past).loss
    mask = batch["attention_mask"]
    batch["attention_mask"] = paddle.concat([paddle.ones_like(mask[:, :2]), mask], axis=1)
    assert float(model(**batch, labels=labels, past_key_values=past).loss) == float(short)
