"""Converting folders there and back: every family, every kind of head, nothing lost or changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import FAMILIES, model_class
from paddlenlp_ext.weights.files import read_weights
from tests.docs.test_readmes import script_of
from tests.scripts.refusals import refused
from tests.tiny import FAMILY_SIZES, SIZES

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/language_model/convbert/convert.py"
BERT_LIKE = ("bert", "convbert", "electra", "ernie")
CASES = [
    *((family, "Model") for family in FAMILIES),
    *((family, "ForSequenceClassification") for family in FAMILIES),
    *((family, "ForQuestionAnswering") for family in ("convbert", "ernie")),
    *((family, "ForMaskedLM") for family in ("bert", "convbert", "electra")),
    *((family, "Discriminator") for family in ("convbert", "electra")),
    *((family, "ForPreTraining") for family in BERT_LIKE),
]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]


def build(family: str, task: str, **sizes: Any) -> paddle.nn.Layer:
    paddle.seed(3)
    cls = model_class(family, task)
    model = cls(cls.config_class(**SIZES | FAMILY_SIZES[family] | sizes))
    for parameter in model.parameters():  # ones and zeros would hide an exchange
        parameter.set_value(paddle.randn(parameter.shape))
    return model


def folder_with(path: Path, model: paddle.nn.Layer, **options: Any) -> Path:
    model.save_pretrained(path, **options)
    if model.config.model_type in BERT_LIKE:
        (path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def convert(*arguments: object) -> Path:
    return script_of(SCRIPT).main([str(argument) for argument in arguments])


def assert_same(one: Path, other: Path) -> None:
    expected, found = read_weights(one), read_weights(other)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (one, other)]
    assert configs[0] == configs[1]


@pytest.mark.parametrize(("family", "task"), CASES)
def test_there_and_back(family: str, task: str, tmp_path: Path) -> None:
    first = folder_with(tmp_path / "paddle", build(family, task))
    there = convert("--input_dir", first, "--output_dir", tmp_path / "huggingface")
    assert there == tmp_path / "huggingface/model.safetensors"
    back = convert("--input_dir", there.parent, "--output_dir", tmp_path / "back")
    assert back == tmp_path / "back/model_state.pdparams"
    assert_same(first, back.parent)
    for folder in (there.parent, back.parent):
        if family in BERT_LIKE:
            vocabulary = (folder / "vocab.txt").read_bytes()
            assert vocabulary == (first / "vocab.txt").read_bytes()
            assert (folder / "tokenizer_config.json").is_file()


def test_names_and_layouts_are_transformers_own(tmp_path: Path) -> None:
    """A file has transformers' names, with linear weights turned and others not."""
    model = build("convbert", "ForSequenceClassification", num_groups=1)
    folder = folder_with(tmp_path / "paddle", model)
    written = read_weights(convert("--input_dir", folder, "--output_dir", tmp_path / "hf"))
    layer, theirs = model.backbone.encoder.layers[1], "convbert.encoder.layer.1."
    for name, expected in {
        "attention.self.query.weight": layer.self_attn.q_proj.weight.numpy().T,
        "intermediate.dense.weight": layer.linear1.weight.numpy().T,
        "attention.self.key_conv_attn_layer.depthwise.weight": (
            layer.self_attn.key_conv_attn_layer.depthwise.weight.numpy()
        ),
        "attention.self.key_conv_attn_layer.bias": (
            layer.self_attn.key_conv_attn_layer.bias.numpy()[:, None]
        ),
    }.items():
        np.testing.assert_array_equal(written[theirs + name], expected, err_msg=name)
    words = model.get_input_embeddings().weight.numpy()
    np.testing.assert_array_equal(written["convbert.embeddings.word_embeddings.weight"], words)
    assert written.keys() >= {"classifier.dense.weight", "classifier.out_proj.bias"}


def test_what_has_no_place_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """bert-base-uncased is such a file: its config names a class with fewer heads than it has."""
    folder = folder_with(tmp_path / "model", build("bert", "ForPreTraining"))
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(config))
    convert("--input_dir", folder, "--output_dir", tmp_path / "less")
    assert "left out, since BertForMaskedLM has no place for it" in capsys.readouterr().out
    flags = ("--input_dir", folder, "--model_class", "BertForPreTraining")
    convert(*flags, "--output_dir", tmp_path / "all")
    assert "left out" not in capsys.readouterr().out
    less, everything = read_weights(tmp_path / "less"), read_weights(tmp_path / "all")
    assert {*everything} - {*less} == {
        "bert.pooler.dense.weight", "bert.pooler.dense.bias",
        "cls.seq_relationship.weight", "cls.seq_relationship.bias",
    }  # fmt: skip


def mistakes(folder: Path, output: Path) -> dict[str, tuple[list[object], str]]:
    to = ["--input_dir", folder, "--output_dir", output]
    page = ["--pytorch_checkpoint_path", folder / "pytorch_model.bin", "--paddle_dump_path"]
    return {
        "same folder": (["--input_dir", folder, "--output_dir", folder], "give another one"),
        "class": ([*to, "--model_class", "BertForAll"], "bert has .*BertForPreTraining"),
        "holes": ([*to, "--model_class", "BertForMaskedLM"], "not in the file: lm_head"),
        "other file": ([*page, output / "model_state.pdparams"], "expected .*model_state.pdparams"),
        "no folder": (["--input_dir", "./x/y/z", "--output_dir", output], "no such folder"),
    }


@pytest.mark.parametrize("case", ["same folder", "class", "holes", "other file", "no folder"])
def test_mistakes_are_named(case: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model", build("bert", "Model"))
    arguments, message = mistakes(folder, tmp_path / "out")[case]
    with refused(message) as error:
        convert(*arguments)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_neither_torch_nor_transformers_is_needed(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model", build("electra", "Model"))
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    (tmp_path / "transformers.py").write_text("raise ImportError('no transformers here')")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--input_dir", folder, "--output_dir", tmp_path / "out"],
        capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.safetensors").is_file()
