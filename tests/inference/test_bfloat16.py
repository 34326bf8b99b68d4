"""Pipelines, files and evaluation with bfloat16 products on a CPU: close to float32's answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_ext import __main__ as console
from paddlenlp_ext.errors import DeviceError, UserError
from paddlenlp_ext.inference.export import export_logits
from paddlenlp_ext.inference.pipelines import pipeline
from paddlenlp_ext.inference.runners import ProgramRunner
from paddlenlp_ext.models.auto import AutoModelForSequenceClassification
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.nn.cpu import bfloat16
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.training.settings import RunSettings
from paddlenlp_ext.training.trained import load_trained
from tests.models.test_contract import build

pytestmark = pytest.mark.skipif(bool(bfloat16.lacking()), reason=bfloat16.lacking())
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg"]
TEXTS = ["a b c", "d", "g f e d c b a", "a a"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bfloat16, "FEWEST", 1)  # the model is tiny
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    sizes = {"vocab_size": len(WORDS), "num_labels": 3, "initializer_range": 0.5}
    model = build("bert", "ForSequenceClassification", **sizes)
    model.save_pretrained(tmp_path / "model")
    BertTokenizer(tmp_path / "vocab.txt").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def scores(model: Path | Model, **options: object) -> np.ndarray:
    answers = pipeline("text-classification", model, top_k=None, **options)(TEXTS)
    return np.array([[one["score"] for one in sorted(a, key=str)] for a in answers])


def test_a_pipeline(folder):
    exact, found = scores(folder), scores(folder, amp_dtype="bfloat16")
    assert 1e-5 < np.abs(found - exact).max() < 5e-2
    with pytest.raises(DeviceError, match=r"`amp_dtype`: PaddlePaddle has no mixed .* bfloat16"):
        scores(folder, amp_dtype="float16")


def test_a_model_that_is_trained_on(folder):
    """What its pipeline answers is never that of weights that it had before."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    classify = pipeline(
        "text-classification", model, tokenizer=folder, top_k=None, amp_dtype="bfloat16"
    )
    before = classify(TEXTS)
    model.train()
    with paddle.no_grad():
        for parameter in model.parameters():
            parameter.set_value(parameter * 2)
    model.eval()
    assert classify(TEXTS) != before
    model.save_pretrained(folder)
    np.testing.assert_array_equal(
        scores(folder, amp_dtype="bfloat16"), scores(model, tokenizer=folder)
    )
    model.compute_in(None)
    np.testing.assert_array_equal(scores(folder), scores(model, tokenizer=folder))


def test_a_program_computes_as_it_was_exported(folder, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    export_logits(model, tmp_path / "served")
    for name in (folder / "config.json", *folder.glob("*vocab*"), *folder.glob("token*")):
        (tmp_path / "served" / name.name).write_bytes(name.read_bytes())
    with pytest.raises(UserError, match="served/inference: `amp_dtype`: what was exported"):
        scores(tmp_path / "served", amp_dtype="bfloat16")
    model.compute_in("bfloat16")  # which a program does not take over
    export_logits(model, tmp_path / "again")
    inputs = {"input_ids": np.array([[2, 5, 6, 3]])}
    ours, theirs = (ProgramRunner(tmp_path / f"{one}/inference") for one in ("again", "served"))
    np.testing.assert_array_equal(ours(inputs)[0], theirs(inputs)[0])


def predict(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        console.main(words)
    return ended.value.code


def test_the_command_predicts_a_file(folder, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("\n".join(TEXTS) + "\n")
    words = ["predict", str(folder), str(tmp_path / "new.txt"), "--output"]
    tables = []
    for name, flags in (("exact", []), ("half", ["--amp_dtype", "bfloat16"])):
        assert predict(*words, str(tmp_path / name), *flags) == 0
        rows = (tmp_path / name / "predictions_new.tsv").read_text().splitlines()[1:]
        tables.append(np.array([[*map(float, row.split("\t")[2:])] for row in rows]))
    assert 1e-5 < np.abs(tables[0] - tables[1]).max() < 5e-2
    capsys.readouterr()
    assert predict(*words, str(tmp_path / "none"), "--amp_dtype", "float16") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --amp_dtype: PaddlePaddle has no mixed precision on a CPU; give")
    assert not (tmp_path / "none").exists()


def test_what_was_trained_so_is_evaluated_so(folder):
    given = {
        "model_name_or_path": str(folder), "output_dir": str(folder), "device": "cpu",
        "batch_size": 4, "learning_rate": 0.1, "num_train_epochs": 1, "logging_steps": 1,
        "save_steps": 1, "max_seq_length": 9,
    }  # fmt: skip
    found = []
    for changes in ({}, {"use_amp": True, "amp_dtype": "bfloat16"}):
        settings = RunSettings.from_flags(given, **changes)
        model = load_trained(AutoModelForSequenceClassification, folder, settings)
        model.eval()
        found.append(scores(model, tokenizer=folder))
    np.testing.assert_array_equal(found[0], scores(folder))
    np.testing.assert_array_equal(found[1], scores(folder, amp_dtype="bfloat16"))
    assert (found[0] != found[1]).any()
