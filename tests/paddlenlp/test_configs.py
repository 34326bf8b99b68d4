"""Configs of the room can be set, and take what PaddleNLP's take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from paddlenlp_ext import paddlenlp
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models import bert as library
from paddlenlp_ext.paddlenlp import transformers
from paddlenlp_ext.paddlenlp.transformers import (
    BertConfig,
    BertModel,
    ConvBertConfig,
    ElectraConfig,
)


def test_fields_can_be_set() -> None:
    config = BertConfig(num_classes=3, dropout=0.3)
    assert (config.num_labels, config.classifier_dropout) == (3, 0.3)
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    config.num_labels = 2
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    config.id2label = {"0": "no", "1": "yes", "2": "maybe"}
    assert (config.num_classes, config.label2id["maybe"]) == (3, 2)
    config.num_labels = 3
    assert config.id2label[2] == "maybe"  # as many as before: the names stay
    config["dropout"] = 0.4
    assert config["classifier_dropout"] == config.dropout == 0.4
    assert config["no_such_field"] is None
    assert config.get("no_such_field", 7) == 7
    config.label2id = {"a": 0, "b": 1}
    assert config.num_labels == 2
    with pytest.raises(AttributeError):
        _ = config.no_such_field


def test_unknown_keywords_are_kept_and_numbers_are_not_dropped(tmp_path: Path) -> None:
    config = BertConfig(num_choices=2, use_cache=False, fuse=True, my_field="x", label2id={"a": 0})
    assert (config.num_choices, config.my_field, config.id2label) == (2, "x", {0: "a"})
    config.save_pretrained(tmp_path)
    again = BertConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert again.my_field == "x"
    assert BertConfig.from_pretrained(tmp_path, my_field="y", num_classes=4).num_labels == 4
    read, unused = BertConfig.from_pretrained(tmp_path, other=1, return_unused_kwargs=True)
    assert (unused, read) == ({"other": 1}, again)
    with pytest.raises(UserError, match="other"):
        BertConfig.from_pretrained(tmp_path, other=1)
    file = tmp_path / "copy.json"
    config.to_json_file(file)
    assert BertConfig.from_json_file(file).to_json_string() == config.to_json_string()
    assert BertConfig.from_pretrained(file) == again
    config.update({"vocab_size": 99})
    assert config.vocab_size == 99


def test_defaults_are_paddlenlps_but_files_are_read_as_ever() -> None:
    assert BertConfig().type_vocab_size == 16
    assert BertConfig.from_dict({"hidden_size": 24, "num_attention_heads": 2}).type_vocab_size == 2
    assert (ConvBertConfig().pool_act, ElectraConfig().hidden_size) == ("tanh", 768)
    assert BertConfig(pad_token_id=None).pad_token_id == -1
    assert not BertConfig().use_return_dict


def test_a_config_of_the_library_becomes_one_of_the_room() -> None:
    config = BertConfig.of(library.BertConfig(num_labels=3, hidden_size=24, num_attention_heads=2))
    assert (config.num_labels, config.type_vocab_size, config.hidden_size) == (3, 2, 24)
    assert BertConfig.of(config) is config
    copy = config.replace(num_labels=5)
    assert (copy.num_labels, config.num_labels) == (5, 3)
    assert copy.replace(id2label={0: "a"}).num_labels == 1
    assert copy.replace(label2id={"a": 0, "b": 1}).id2label == {0: "a", 1: "b"}


def test_public_names_are_there() -> None:
    for name in transformers.__all__:
        module = getattr(transformers, name).__module__
        assert module.partition(".")[0] in {"paddlenlp_ext", "tokenizers"}  # where AddedToken is
    assert "BertModel" in dir(transformers)
    assert paddlenlp.__version__ == "2.8.1"
    with pytest.raises(AttributeError):
        _ = transformers.GPTModel


def test_what_no_model_has_is_refused_when_one_is_built() -> None:
    config = BertConfig(
        position_embedding_type="relative_key", hidden_size=0, pruned_heads={"a": 1}
    )
    with pytest.raises(UserError, match="position_embedding_type 'relative_key' is not built here"):
        BertModel(config)
    del config.position_embedding_type, config.pruned_heads
    with pytest.raises(UserError, match="hidden_size must be a whole number from 1"):
        BertModel(config)


def test_a_class_of_ones_own_has_other_names_for_fields(tmp_path: Path) -> None:
    class MyConfig(BertConfig):
        attribute_map: ClassVar[Mapping[str, str]] = {"width": "hidden_size"}

    config = MyConfig(width=24, num_attention_heads=3)
    assert (config.hidden_size, config.use_cache, config.num_choices) == (24, False, None)
    config.width = 36
    config.save_pretrained(tmp_path)
    assert MyConfig.from_pretrained(tmp_path).width == 36


def test_numbers_of_labels_stay_as_they_were_given() -> None:
    config = BertConfig(id2label={0: "label"}, label2id={"label": "0"})
    assert (config.label2id, config.num_labels) == ({"label": "0"}, 1)
    assert BertConfig.from_dict(config.to_dict()).label2id == {"label": 0}
    config.num_labels = 2
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}
    assert config.replace(num_labels=3).label2id["LABEL_2"] == 2
