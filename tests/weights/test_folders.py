from __future__ import annotations

import json
from pathlib import Path

import pytest

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.files import WEIGHT_FILES
from paddlenlp_ext.weights.folders import flatten_config, read_config, read_model, write_model
from paddlenlp_ext.weights.formats.safe_tensors import read_metadata, write_safetensors
from tests.weights.arrays import assert_equal
from tests.weights.test_files import PARTS, WHOLE, write_shards

CONFIG = {"model_type": "bert", "hidden_size": 24, "id2label": {"0": "不好", "1": "好"}}
# As PaddleNLP 2.3 wrote it.
OLD = {
    "init_args": [
        {"vocab_size": 53, "hidden_size": 24, "num_classes": 7, "init_class": "BertModel"},
        "not a model",
    ],
    "num_classes": 3,
    "dropout": None,
    "init_class": "BertForSequenceClassification",
}
FLAT = {
    "vocab_size": 53,
    "hidden_size": 24,
    "num_classes": 3,
    "dropout": None,
    "architectures": ["BertForSequenceClassification"],
}


@pytest.mark.parametrize(
    ("layout", "file"), [("paddle", "model_state.pdparams"), ("huggingface", "model.safetensors")]
)
def test_writes_and_reads_a_folder(layout: str, file: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "model_100"
    for tensors in (PARTS[0], WHOLE):  # a second time over the first
        write_model(folder, tensors, CONFIG, layout)
        found, found_layout = read_model(str(folder))
        assert_equal(found, tensors)
        assert found_layout == layout
    assert {path.name for path in folder.iterdir()} == {"config.json", file}
    assert read_config(str(folder)) == CONFIG
    assert "不好" in (folder / "config.json").read_text(encoding="utf-8")
    if layout == "huggingface":  # without it transformers refuses the file
        assert read_metadata(folder / file) == {"format": "pt"}


def test_reads_shards(tmp_path: Path) -> None:
    write_shards(tmp_path, "model", ".safetensors", write_safetensors)
    found, layout = read_model(str(tmp_path))
    assert_equal(found, WHOLE)
    assert layout == "huggingface"


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, "model", ".safetensors", write_safetensors)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"expected model-00002-of-00002\.safetensors in this"):
        read_model(str(tmp_path))


def test_weights_are_not_saved_behind_others(tmp_path: Path) -> None:
    write_model(tmp_path, WHOLE, CONFIG, "huggingface")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WeightsError, match=r"holds model\.safetensors, which would be read"):
        write_model(tmp_path, PARTS[0], {}, "paddle")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_without_weights_names_all_that_would_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        read_model(str(tmp_path))
    whole = [name for name in WEIGHT_FILES if not name.endswith(".index.json")]
    assert f"expected {' or '.join(whole)} in this folder" in str(caught.value)


def test_old_configs_are_flattened(tmp_path: Path) -> None:
    (tmp_path / "model_config.json").write_text(json.dumps(OLD))
    assert read_config(str(tmp_path)) == FLAT
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert read_config(str(tmp_path)) == CONFIG  # the newer one wins


def test_nested_and_flat_configs() -> None:
    assert flatten_config(CONFIG) == CONFIG
    inner = {"hidden_size": 24, "pad_token_id": 1}
    nested = {"init_args": [{"init_args": [inner], "pad_token_id": 0}], "num_classes": 3}
    assert flatten_config(nested) == {"hidden_size": 24, "pad_token_id": 0, "num_classes": 3}
    assert flatten_config({"init_args": None}) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_broken_configs_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json: expected"):
        read_config(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"expected config\.json or model_config\.json"):
        read_config(str(tmp_path))


def test_a_place_that_cannot_hold_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file.model: cannot be made: Not a directory"):
        write_model(tmp_path / "file" / "model", WHOLE, CONFIG, "paddle")
