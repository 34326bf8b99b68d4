"""Configs that no model can have: refused in one line, before memory is taken."""

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any, Optional

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models import bert, ernie
from paddlenlp_ext.models.auto import AutoConfig, AutoModelForSequenceClassification, base_class
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.xlm_r import XLMRobertaConfig
from paddlenlp_ext.presets.families import FAMILIES

TINY: dict[str, Any] = {
    "vocab_size": 53,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 17,
}

# What a file says, and what the refusal says of it.
WRONG: list[tuple[str, Any, str]] = [
    *(
        (name, value, f"{name} must be a whole number from 1 to")
        for name in TINY
        for value in (0, -1)
    ),
    ("hidden_size", None, "hidden_size must be a whole number"),
    ("hidden_size", 24.0, "hidden_size must be a whole number"),
    ("hidden_size", True, "hidden_size must be a whole number"),
    ("hidden_size", 33, "hidden_size 33 must be a multiple of num_attention_heads 4"),
    ("vocab_size", 10**11, "vocab_size must be a whole number from 1 to 2,147,483,647"),
    ("vocab_size", 10**40, "vocab_size must be a whole number from 1 to 2,147,483,647"),
    ("hidden_act", "gelo", "hidden_act must be one of gelu, .*, not 'gelo'"),
    ("hidden_act", ["gelu"], "hidden_act must be one of"),
    ("pool_act", "gelo", "pool_act must be one of"),
    ("layer_norm_eps", math.nan, "NaN is no number of JSON"),
    ("layer_norm_eps", 1, "layer_norm_eps must be a number from 0 to 0.001, not 1"),
    ("initializer_range", math.inf, "Infinity is no number of JSON"),
    ("hidden_dropout_prob", 5.0, "hidden_dropout_prob must be a number from 0 to 1, not 5.0"),
    ("dropout", -0.1, "classifier_dropout must be a number from 0 to 1, not -0.1"),
    ("pad_token_id", 53, "pad_token_id 53 must be below vocab_size 53"),
    ("pad_token_id", -2, "pad_token_id must be a whole number from -1"),
    ("hidden_act", "prelu", "hidden_act must be one of"),
    ("problem_type", "ranking", "problem_type must be one of regression"),
    ("is_decoder", "no", "is_decoder must be bool"),
    ("id2label", 5, "id2label must be an object of numbers and names, not 5"),
    ("id2label", ["a", "b"], "id2label must be an object of numbers and names"),
    ("id2label", {"a": "b"}, "id2label must have whole numbers"),
    ("id2label", {"0": "a", "00": "b"}, "id2label must have each number once"),
    ("id2label", {"-1": "a", "0": "b"}, "id2label must have numbers from 0 on"),
    ("init_args", 5, "init_args is int, not list"),
    ("architectures", 5, "architectures must be a list of names"),
]
# These are sizes that some model could have, but not that of the weights beside them.
OTHER_SIZES: list[tuple[str, int]] = [
    ("num_hidden_layers", 3_000_000),
    ("hidden_size", 1_000_000),
    ("vocab_size", 2_000_000_000),
    ("intermediate_size", 2_000_000_000),
    ("max_position_embeddings", 2_000_000_000),
    ("type_vocab_size", 2_000_000_000),
    ("num_labels", 2_000_000_000),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    bert.BertForSequenceClassification(bert.BertConfig(**TINY)).save_pretrained(folder)
    return folder


def change(saved: Path, name: str, value: Any) -> None:
    path = saved / "config.json"
    values = {**bert.BertConfig(**TINY).to_dict(), name: value}
    if name == "num_labels":  # which is read from the names where there are some
        del values["id2label"]
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_values_that_no_model_has(saved: Path, name: str, value: Any, said: str) -> None:
    change(saved, name, value)
    with pytest.raises(UserError, match=f"config.json: .*{said}") as caught:
        AutoModelForSequenceClassification.from_pretrained(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), OTHER_SIZES)
def test_sizes_far_beyond_those_of_the_weights(saved: Path, name: str, value: int) -> None:
    change(saved, name, value)
    start = time.perf_counter()
    with pytest.raises(
        UserError, match="more than twice the size of the weights, which have 11,092"
    ):
        AutoModelForSequenceClassification.from_pretrained(saved)
    assert time.perf_counter() - start < 1


def test_the_next_model_begins_at_random_again(saved: Path) -> None:
    change(saved, "num_hidden_layers", 3_000_000)
    with pytest.raises(UserError):
        AutoModelForSequenceClassification.from_pretrained(saved)
    weight = bert.BertModel(bert.BertConfig(**TINY)).get_input_embeddings().weight
    assert weight.numpy().std() > 0.01


def test_what_files_may_leave_open(saved: Path) -> None:
    for name, value in (("pad_token_id", None), ("pool_act", None), ("classifier_dropout", None)):
        change(saved, name, value)
        AutoModelForSequenceClassification.from_pretrained(saved)


@pytest.mark.parametrize("value", [-1, None])
def test_a_model_without_padding_attends_to_all_tokens(saved: Path, value: int | None) -> None:
    change(saved, "pad_token_id", value)
    model = AutoModelForSequenceClassification.from_pretrained(saved)
    assert model.config.pad_token_id == -1
    ids = paddle.to_tensor([[3, 0, 7, 0]])
    np.testing.assert_array_equal(
        model(ids).logits.numpy(), model(ids, attention_mask=paddle.ones_like(ids)).logits.numpy()
    )
    with pytest.raises(UserError, match=r"^pad_token_id must be a token's"):
        XLMRobertaConfig(pad_token_id=-1)


def test_sequences_that_ended_are_filled_without_a_padding_token() -> None:
    paddle.seed(3)
    model = bert.BertForCausalLM(bert.BertConfig(**TINY, pad_token_id=-1))
    model.eval()
    ids = paddle.to_tensor([[3, 7], [5, 9]])
    first = int(model.generate(ids, max_new_tokens=1)[0, -1])
    found = model.generate(ids, max_new_tokens=4, eos_token_id=first).numpy()
    assert found.min() >= 0
    assert {*found[0, 2:]} == {first}


def test_numbers_of_numpy_are_numbers() -> None:
    config = bert.BertConfig(num_labels=np.int64(3), hidden_dropout_prob=np.float32(0.5))
    assert config.num_labels == 3


def test_types_of_fields_may_be_written_in_any_way() -> None:
    """A file without `from __future__ import annotations` has types, one with it their text."""
    own = dataclasses.make_dataclass(
        "Own",
        [("kinds", int, 3), ("share", float | None, 0.5), ("names", Optional[str], None)],  # noqa: UP045
        bases=(ModelConfig,),
        frozen=True,
    )
    assert own(kinds=2, share=None).share is None
    with pytest.raises(UserError, match="kinds must be a whole number from 1 to"):
        own(kinds=0)
    with pytest.raises(UserError, match="share must be a number from 0, not 'half'"):
        own(share="half")
    with pytest.raises(UserError, match="names must be str, not 5"):
        own(names=5)
    with pytest.raises(UserError, match="hidden_act must be one of"):
        own(hidden_act=None)


def test_a_config_is_saved_and_read_alone(tmp_path: Path) -> None:
    config = bert.BertConfig(**TINY, id2label={0: "no", 1: "yes", 2: "maybe"}, num_labels=3)
    config.save_pretrained(tmp_path / "new")
    assert bert.BertConfig.from_pretrained(tmp_path / "new") == config
    changed = bert.BertConfig.from_pretrained(tmp_path / "new", num_labels=5, dropout=0.3)
    assert (changed.num_labels, changed.classifier_dropout) == (5, 0.3)
    with pytest.raises(UserError, match="a bert model, and ErnieConfig is of ernie"):
        ernie.ErnieConfig.from_pretrained(tmp_path / "new")


def test_a_preset_s_config_is_its_row() -> None:
    assert bert.BertConfig.from_pretrained("bert-base-cased").vocab_size == 28996
    assert AutoConfig.from_pretrained("rembert", num_labels=3).num_labels == 3
    with pytest.raises(UserError, match="a rembert model, and BertConfig is of bert"):
        bert.BertConfig.from_pretrained("rembert")


@pytest.mark.parametrize("family", FAMILIES)
def test_published_configs_are_read_as_they_are(family: str) -> None:
    for name, config in base_class(family).presets.items():
        values = json.loads(json.dumps(config.to_dict()))
        again = type(config).from_dict(values, origin=name)
        assert again.to_dict() == config.to_dict()
