"""Keywords of PaddleNLP's and transformers' configs: obeyed, kept, or refused by name."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.auto import FAMILIES, AutoConfig, base_class
from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.config_keywords import FIXED, FORGOTTEN, KEPT
from paddlenlp_ext.models.ernie_m import ErnieMConfig
from tests.tiny import FAMILY_SIZES, SIZES, arrays, tensors

GIVEN: dict[str, Any] = {
    "num_choices": 5,
    "bos_token_id": 7,
    "sep_token_id": 11,
    "tokenizer_class": "Own",
    "task_specific_params": {"a": [1]},
}
OF_CALLS: dict[str, Any] = {"use_cache": True, "chunk_size_feed_forward": 3, "fuse": True}


def config_of(family: str, **keywords: Any) -> ModelConfig:
    config: ModelConfig = base_class(family).config_class(
        **SIZES, **FAMILY_SIZES[family], **keywords
    )
    return config


@pytest.mark.parametrize("family", FAMILIES)
def test_what_changes_no_number_is_kept(family: str, tmp_path: Path) -> None:
    config = config_of(family, **GIVEN)
    for name, value in (GIVEN | OF_CALLS).items():
        assert getattr(config_of(family, **{name: value}), name) == value
        assert getattr(config_of(family).replace(**{name: value}), name) == value
    config.save_pretrained(tmp_path)
    for again in (
        type(config).from_pretrained(tmp_path),
        AutoConfig.from_pretrained(tmp_path),
        type(config).from_json_file(tmp_path / "config.json"),
        config_of(family).replace(**GIVEN),
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
    ):
        assert again == config
        assert again.bos_token_id == 7
    changed = type(config).from_pretrained(tmp_path, use_cache=True, num_choices=None)
    assert (changed.use_cache, changed.num_choices, changed.sep_token_id) == (True, None, 11)
    assert changed.to_dict() == config.replace(num_choices=None).to_dict()
    assert json.loads((tmp_path / "config.json").read_text())["num_choices"] == 5


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_done_anyway_is_taken(family: str) -> None:
    """With what both libraries have without these keywords."""
    plain = config_of(family)
    defaults = {name: value for name, (value, _) in KEPT.items() if not hasattr(type(plain), name)}
    for name, value in (defaults | {name: values[0] for name, values in FIXED.items()}).items():
        assert config_of(family, **{name: value}) == plain
        assert getattr(plain, name) == value
    for name in FORGOTTEN:
        assert config_of(family, **{name: "something"}) == plain
    assert plain.to_dict().keys().isdisjoint({*KEPT} - {*inspect.signature(type(plain)).parameters})


def test_names_of_both_libraries() -> None:
    config = BertConfig(num_classes=3, dropout=0.25)
    assert (config.num_labels, config.classifier_dropout) == (3, 0.25)
    assert (config.num_classes, config.dropout) == (3, 0.25)
    for keywords in (
        {"label2id": {"no": 0, "yes": 1, "maybe": 2}},
        {"id2label": {"0": "no", "1": "yes", "2": "maybe"}},
        {"id2label": {0: "no", 1: "yes", 2: "maybe"}, "label2id": {"other": 0}},
    ):
        config = BertConfig(**keywords)
        assert config.num_labels == 3
        assert config.label_names == ("no", "yes", "maybe")
        assert config.label2id == {"no": 0, "yes": 1, "maybe": 2}
        assert BertConfig().replace(**keywords) == config
    assert config.replace(num_labels=2).label2id == {"LABEL_0": 0, "LABEL_1": 1}
    assert config.replace(num_labels=3) == config
    assert BertConfig(pad_token_id=None).pad_token_id == -1
    assert ErnieMConfig(type_vocab_size=2) == ErnieMConfig()  # it has no types
    assert not hasattr(ErnieMConfig(type_vocab_size=2), "type_vocab_size")
    assert [*inspect.signature(BertConfig).parameters][:2] == ["vocab_size", "hidden_size"]


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("pruned_heads", {1: [0]}, "pruned_heads {1: .0.} is not built here"),
        ("position_embedding_type", "relative_key", "position_embedding_type 'relative_key' is"),
        ("dtype", "float16", r"dtype 'float16' is not built here; `compute_in\(\)`"),
        ("output_attentions", True, "output_attentions True .* give it to each call"),
        ("gradient_checkpointing", True, r"call `enable_recompute\(\)`"),
        ("bos_token_id", "a", "bos_token_id must be of type int, not 'a'"),
        ("bos_token_id", True, "bos_token_id must be of type int, not True"),
        ("sep_token_id", -2, "sep_token_id must be of type int, not -2"),
        ("use_cache", 1, "use_cache must be of type bool, not 1"),
        ("num_lables", 3, "BertConfig has no field num_lables"),
        ("id2label", {"a": "b"}, "id2label must have whole numbers"),
        ("label2id", {"a": 1, "b": 2}, "id2label must name the labels 0 to 1"),
    ],
)
def test_what_is_not_built_is_refused_by_name(keyword: str, value: Any, said: str) -> None:
    for build in (BertConfig, BertConfig().replace):
        with pytest.raises(UserError, match=said):
            build(**{keyword: value})


def test_files_do_not_say_how_a_model_is_computed() -> None:
    """Nor what their values cannot be: transformers has lists of ids."""
    values = {"return_dict": False, "bos_token_id": [1, 2], "eos_token_id": 9, **OF_CALLS}
    config = BertConfig.from_dict(values)
    assert config == BertConfig(eos_token_id=9)
    assert (config.return_dict, config.use_cache) == (True, False)
    assert OF_CALLS.keys().isdisjoint(BertConfig(**OF_CALLS).to_dict())


def test_a_config_may_ask_for_values_alone(tmp_path: Path) -> None:
    model = BertForSequenceClassification(config_of("bert", return_dict=False))
    batch = tensors(arrays())
    assert type(model(**batch)) is tuple
    assert "logits" in model(**batch, return_dict=True)
    model.save_pretrained(tmp_path)
    cls = BertForSequenceClassification
    assert "logits" in cls.from_pretrained(tmp_path)(**batch)  # a file has no say in it
    assert type(cls.from_pretrained(tmp_path, return_dict=False)(**batch)) is tuple


def test_files_of_any_name(tmp_path: Path) -> None:
    config = BertConfig(**SIZES, num_labels=3)
    path = tmp_path / "deep" / "own.json"
    config.to_json_file(path)
    assert path.read_text() == config.to_json_string()
    assert BertConfig.from_json_file(path) == BertConfig.from_pretrained(path) == config
    assert BertConfig.from_pretrained(str(path), num_classes=5).num_labels == 5
    with pytest.raises(UserError, match="this is a bert model, and ErnieMConfig is of ernie_m"):
        ErnieMConfig.from_json_file(path)
    with pytest.raises(UserError, match=r"none\.json"):
        BertConfig.from_json_file(tmp_path / "none.json")
    path.write_text("[1]")
    with pytest.raises(UserError, match="expected a JSON object"):
        BertConfig.from_json_file(path)
