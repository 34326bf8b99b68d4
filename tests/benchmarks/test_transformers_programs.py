"""The other sides of docs/results.md learn and score from the same weights as the scripts do."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from benchmarks import pawsx_lines, xcopa_split
from paddlenlp_ext.models.auto import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)
from paddlenlp_ext.tasks.choices import ChoiceColumns, read_choices
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.multilingual import DATA, ROOT, command_line, json_lines

SETTINGS = {"batch_size": 16, "learning_rate": 1e-3, "num_train_epochs": 2, "weight_decay": 0.1}
ONLY_OURS = {
    "group_by_length": True,
    "warmup_proportion": 0.1,
    "save_steps": 1000,
    "device": "cpu",
    "do_train": True,
    "do_eval": True,
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multilingual.xlm_r(tmp_path_factory.mktemp("encoder"))


def with_head(auto: Any, encoder: Path, folder: Path) -> Path:
    """Write the encoder, without dropout, with a head: the same one for both sides."""
    paddle.seed(7)
    auto.from_pretrained(encoder).save_pretrained(folder, format="huggingface")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


def train_both(
    program: Any, script: str, flags: dict[str, Any], own: dict[str, Any], tolerance: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """Train and evaluate on both sides, with the same losses; return theirs and ours."""
    own = own | ONLY_OURS
    return train_apart(program, f"tasks/{script}", flags, flags | own, tolerance)


def train_apart(
    program: Any, script: str, flags: dict[str, Any], own: dict[str, Any], tolerance: float
) -> tuple[dict[str, Any], Any]:
    """The same where the two have other flags."""
    output = Path(flags["model_name_or_path"]).with_name("ours")
    printed = io.StringIO()
    with redirect_stdout(printed):
        theirs = program.main(command_line(flags))
    expected = json.loads(printed.getvalue())["losses"]
    script_main = script_of(ROOT / f"examples/{script}.py").main
    ours = script_main(command_line(own | {"output_dir": output}))
    steps = [row for row in json_lines(output / "history.jsonl") if "learning_rate" in row]
    np.testing.assert_allclose([row["loss"] for row in steps], expected, atol=tolerance)
    assert np.mean(expected[-5:]) < np.mean(expected[:5])
    return theirs, ours


@pytest.mark.parity
def test_answers(encoder: Path, tmp_path: Path) -> None:
    program = pytest.importorskip("benchmarks.transformers_answers")
    content = json.loads((DATA / "qa/train.en.json").read_text())
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = [one for one in paragraph["qas"] if not one["is_impossible"]]
    (tmp_path / "train.en.json").write_text(json.dumps(content))
    flags = SETTINGS | {
        "model_name_or_path": with_head(AutoModelForQuestionAnswering, encoder, tmp_path / "model"),
        "train_file": tmp_path / "train.en.json",
        "validation_file": tmp_path / "train.en.json",
        "max_seq_length": 64,
        "doc_stride": 16,
    }
    # In ours padding is no answer that a loss could count; in theirs it is, where rows have some.
    own, tolerance = {"max_query_length": 40}, 0.15
    found = train_both(program, "run_question_answering", flags, own, tolerance)
    theirs, ours = found[0]["train.en"], found[1]
    assert 0 < theirs["f1"] < 1
    assert ours == {f"validation {name}": value for name, value in theirs.items()}


@pytest.mark.parity
def test_choices(encoder: Path, tmp_path: Path) -> None:
    program = pytest.importorskip("benchmarks.transformers_choices")
    flags = SETTINGS | {
        "model_name_or_path": with_head(AutoModelForMultipleChoice, encoder, tmp_path / "model"),
        "train_file": DATA / "choice/copa/val.*.jsonl",
        "validation_file": DATA / "choice/copa/val.*.jsonl",
        "max_seq_length": 48,
        "freeze_embeddings": True,
        "freeze_layers": 1,
        "batch_size": 4,
        "num_train_epochs": 4,
    }
    theirs, ours = train_both(program, "run_multiple_choice", flags, {}, 2e-4)
    assert ours == {f"validation_{language} acc": one for language, one in theirs.items()}
    assert theirs.keys() == {"de", "en", "zh"}


@pytest.mark.parity
def test_pairs_of_texts(encoder: Path, tmp_path: Path) -> None:
    program = pytest.importorskip("benchmarks.transformers_xnli")
    model = with_head(AutoModelForSequenceClassification, encoder, tmp_path / "model")
    pawsx_lines.write(ROOT / "data/pawsx", tmp_path / "lines")
    shared = {
        "model_name_or_path": model,
        "max_seq_length": 48,
        "batch_size": 4,
        "learning_rate": 2e-3,
        "layerwise_decay": 0.9,
        "warmup_proportion": 0.1,
        "num_train_epochs": 8,
    }
    own = {f"{split}_file": tmp_path / f"lines/{split}.jsonl" for split in ("train", "test")}
    own |= {
        "validation_file": tmp_path / "lines/dev.jsonl",
        "language_column_name": "language",
        "text_column_name": "sentence1",
        "text_pair_column_name": "sentence2",
        "label_column_name": "label",
        "group_by_length": "true",
        "trim_vocab": True,
        "save_steps": 1000,
        "device": "cpu",
    }
    peers = shared | {"task": "paws", "data_dir": ROOT / "data/pawsx"}
    script = "language_model/ernie_m/run_classifier"
    theirs, ours = train_apart(program, script, peers, shared | own, 2e-4)
    assert {language: ours[language] for language in theirs} == theirs
    assert theirs.keys() == {"de", "en", "es", "fr", "ja", "ko", "zh"}


def test_xcopa_is_split_by_premise(tmp_path: Path) -> None:
    source = DATA / "choice/copa"
    assert xcopa_split.split(source, tmp_path, held_out=4, seed=0)["test"] == 12
    tests = {}
    for language in ("de", "en", "zh"):
        parts = [
            read_choices([tmp_path / f"{name}.{language}.jsonl"], ChoiceColumns(), labelled=True)
            for name in ("train", "test")
        ]
        whole = read_choices([source / f"val.{language}.jsonl"], ChoiceColumns(), labelled=True)
        texts = [{one.text for one in part} for part in parts]
        assert not texts[0] & texts[1]
        assert sum(map(len, parts)) == len(whole)
        tests[language] = [[one.text for one in whole].index(one.text) for one in parts[1]]
        assert sorted(one.label for one in parts[1]) == [0, 0, 1, 1]
    assert tests["de"] == tests["en"] == tests["zh"]
