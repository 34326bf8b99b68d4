"""`tie_word_embeddings: false`: words are scored by a table of the head's own, in every family."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.models.auto import FAMILIES, model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.weights.files import read_weights
from paddlenlp_ext.weights.formats.safe_tensors import read_safetensors, write_safetensors
from paddlenlp_ext.weights.states import LoadReport
from tests.models.test_contract import batch_for, build, has_class
from tests.tiny import V, tensors

TASKS = ("ForMaskedLM", "ForCausalLM", "ForPreTraining")
CLASSES = [(f, task) for f in FAMILIES for task in TASKS if has_class(f, task)]
JOINT = [
    row
    for row in CLASSES
    if row == (row[0], "ForPreTraining") and row[0] in ("electra", "convbert")
]
SINGLE = [row for row in CLASSES if row not in JOINT]
# What transformers calls the table of a head.
NAMES = {
    "bert": "cls.predictions.decoder.weight",
    "ernie": "cls.predictions.decoder.weight",
    "ernie_m": "cls.predictions.decoder.weight",
    "rembert": "cls.predictions.decoder.weight",
    "electra": "generator_lm_head.weight",
    "convbert": "generator_lm_head.weight",
    "xlm-roberta": "lm_head.decoder.weight",
}


def scores(model: Model, batch: dict[str, Any]) -> np.ndarray:
    output = model(**tensors(batch))
    return (output.logits if hasattr(output, "logits") else output.prediction_logits).numpy()


def with_zero_table(model: Model) -> None:
    table = model.get_output_embeddings().weight
    table.set_value(np.zeros(table.shape, "float32"))


@pytest.mark.parametrize(("family", "task"), SINGLE)
def test_words_are_scored_by_a_table_of_the_head(family: str, task: str, tmp_path: Path) -> None:
    model = build(family, task, tie_word_embeddings=False)
    model.eval()
    assert model.get_output_embeddings() is not model.get_input_embeddings()
    batch = batch_for(model, task)
    expected = scores(model, batch)
    for layout in ("paddle", "huggingface"):
        folder = tmp_path / layout
        model.save_pretrained(folder, format=layout)
        assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False
        again = type(model).from_pretrained(folder)
        assert again.load_report == LoadReport()
        np.testing.assert_array_equal(scores(again, batch), expected)
    assert NAMES[family] in read_weights(tmp_path / "huggingface")
    model.resize_token_embeddings(V + 4)
    assert scores(model, batch).shape[-1] == V + 4
    with_zero_table(model)
    assert (scores(model, batch) == model.lm_head.bias.numpy()).all()


@pytest.mark.parametrize(("family", "task"), SINGLE)
def test_a_file_of_another_maker_keeps_its_own_table(
    family: str, task: str, tmp_path: Path
) -> None:
    """As transformers writes it: the model, its config, and one tensor more."""
    model = build(family, task)
    model.save_pretrained(tmp_path, format="huggingface")
    file, name = tmp_path / "model.safetensors", NAMES[family]
    arrays = {key: np.array(value) for key, value in read_safetensors(file).items()}
    shape = model.get_output_embeddings().weight.shape
    arrays[name] = np.random.default_rng(2).normal(0, 0.3, shape).astype("float32")
    write_safetensors(file, arrays, {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    loaded = type(model).from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.get_output_embeddings().weight.numpy(), arrays[name])


@pytest.mark.parametrize("family", ["electra", "convbert"])
def test_the_generator_of_a_joint_pretraining_has_one_too(family: str, tmp_path: Path) -> None:
    changes = {"generator": {"hidden_size": 24}, "tie_word_embeddings": False}
    model = build(family, "ForPreTraining", **changes)
    for layout in ("paddle", "huggingface"):
        model.save_pretrained(tmp_path / layout, format=layout)
        again = type(model).from_pretrained(tmp_path / layout)
        for name, parameter in again.named_parameters():
            np.testing.assert_array_equal(
                parameter.numpy(), dict(model.named_parameters())[name].numpy()
            )
    assert "generator.lm_head.decoder.weight" in dict(model.named_parameters())


@pytest.mark.parametrize("family", ["bert", "ernie", "electra", "convbert"])
def test_a_tied_model_says_that_a_file_has_another_table(
    family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = build(family, "ForMaskedLM")
    model.save_pretrained(tmp_path, format="huggingface")
    file, name = tmp_path / "model.safetensors", NAMES[family]
    arrays = {key: np.array(value) for key, value in read_safetensors(file).items()}
    other = np.ones(model.get_output_embeddings().weight.shape, "float32")
    write_safetensors(file, arrays | {name: other}, {"format": "pt"})
    with caplog.at_level(logging.WARNING):
        model_class(family, "ForMaskedLM").from_pretrained(tmp_path)
    assert f"not equal to what they repeat: {name}" in caplog.text
