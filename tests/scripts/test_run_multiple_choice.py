"""Multiple choice with tiny models: all families, by language, resume, predictions."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.tasks.batches import Batch, collate
from paddlenlp_ext.tasks.choices import ChoiceExample, grouped, pairs
from paddlenlp_ext.tasks.features import make_features
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.training.losses import logits_of
from tests.docs.test_readmes import script_of
from tests.scripts.refusals import refused
from tests.scripts.test_run_language_modeling import history, models

__all__ = ["models"]  # a fixture

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/tasks/run_multiple_choice.py"
SWAG = ROOT / "data/choice/swag"
COPA = ROOT / "data/choice/copa"
EVALUATION = re.compile(r"(validation|test)(_\w\w)?: loss \d+\.\d{6}, accuracy [01]\.\d{4}")


def main(model: Path, output: Path, *switches: str, **changes: Any) -> dict[str, float]:
    flags = {
        "model_name_or_path": model,
        "train_file": SWAG / "train.csv",
        "output_dir": output,
        "max_seq_length": 48,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "max_steps": 3,
        "save_steps": 2,
        "logging_steps": 2,
        "device": "cpu",
    }
    given = (flags | changes).items()
    words = [word for name, value in given if value for word in (f"--{name}", str(value))]
    return script_of(SCRIPT).main([*words, *(switches or ("--do_train",))])


@pytest.mark.parametrize(
    "family", ["bert", "rembert", "convbert", "ernie_m", "electra", "ernie", "xlm-roberta"]
)
def test_every_family(
    family: str, models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scores = main(models[family], tmp_path, validation_share=0.2)
    printed, said = capsys.readouterr()
    lines = printed.splitlines()
    assert re.search(rf"use it: +paddlenlp-ext predict {tmp_path}/model_[23] FILE\n", said)
    assert lines[0].startswith("train: 22 rows of train.csv (text sent1; choices ending0, ending1")
    assert lines[1] == "validation: 4 of these rows (`validation_share`)"
    assert [row["step"] for row in history(tmp_path) if "split" in row] == [2, 3]
    assert 0 <= scores["validation acc"] <= 1
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == family


def test_languages_and_predictions(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    copa = str(COPA / "val.*.jsonl")
    unlabelled = tmp_path / "test.jsonl"
    rows = [{"context": "c", "choices": ["x", "y"]}, {"context": "d", "choices": ["x", "y", "z"]}]
    unlabelled.write_text("\n".join(map(json.dumps, rows)))
    files = {"train_file": copa, "validation_file": copa}
    switches = ("--do_train", "--do_eval", "--do_predict")
    run = tmp_path / "run"
    scores = main(models["xlm-roberta"], run, *switches, **files, test_file=copa)
    said = capsys.readouterr().out.splitlines()
    splits = [line.split(":")[0] for line in said if EVALUATION.fullmatch(line)]
    assert splits[-6:] == [
        "validation_de",
        "validation_en",
        "validation_zh",
        "test_de",
        "test_en",
        "test_zh",
    ]
    assert "| Model | de | en | zh | Avg |" in said
    assert scores["test_en acc"] == scores["validation_en acc"]
    table = list(csv.reader((run / "predictions_zh.tsv").open(), delimiter="\t"))
    assert table[0] == ["id", "label", "probability_0", "probability_1"]
    found = [json.loads(line) for line in (run / "predictions_zh.jsonl").open()]
    gold = [json.loads(line)["label"] for line in (COPA / "val.zh.jsonl").open()]
    right = [int(row[1]) == label for row, label in zip(table[1:], gold, strict=True)]
    assert np.mean(right) == pytest.approx(scores["test_zh acc"])
    assert [row["id"] for row in found] == [f"val.zh.jsonl:{line}" for line in range(1, 7)]
    # The trained model alone, on rows without labels, of two and three choices.
    alone = main(run, tmp_path / "alone", "--do_predict", train_file=None, test_file=unlabelled)
    assert alone == {}
    found = [json.loads(line) for line in (tmp_path / "alone/predictions.jsonl").open()]
    assert [len(row["probabilities"]) for row in found] == [2, 3]
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5) for row in found)


def test_resumed_run_equals_the_unbroken_one(models: dict[str, Path], tmp_path: Path) -> None:
    for run in ("whole", "parts"):
        main(models["bert"], tmp_path / run, max_steps=8, group_by_length=True)
    for step in (4, 6, 8):  # as if it had been killed after step 2
        shutil.rmtree(tmp_path / f"parts/model_{step}")
    main(models["bert"], tmp_path / "parts", max_steps=8, group_by_length=True,
         resume_from_checkpoint="latest")  # fmt: skip
    for name in ("model_state.pdparams", "optimizer.safetensors"):
        one, other = (tmp_path / run / "model_8" / name for run in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes(), name
    assert [row["loss"] for row in history(tmp_path / "whole")] == [
        row["loss"] for row in history(tmp_path / "parts")
    ]


# Not ConvBERT, whose convolution sees padding, here as in transformers.
@pytest.mark.parametrize("family", ["bert", "rembert", "ernie_m", "xlm-roberta"])
def test_scores_do_not_depend_on_what_is_padded(family: str, models: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models[family])
    paddle.seed(3)
    model = model_class(family, "ForMultipleChoice").from_pretrained(models[family])
    model.eval()
    examples = [
        ChoiceExample("the road was wet", ("it had rained", "a bus stopped here"), 0, "a:1"),
        ChoiceExample("a much longer text of many words", ("x", "y", "z z z", "w"), 3, "a:2"),
    ]

    def scores(some: list[ChoiceExample]) -> np.ndarray:
        features = grouped(some, make_features(pairs(some), tokenizer, 48))
        batch = Batch(collate(features, tokenizer.pad_token_id), np.arange(len(some)))
        return logits_of(model(**batch.inputs), batch).numpy()

    together, alone = scores(examples), scores(examples[:1])
    assert together.shape == (2, 4)
    np.testing.assert_allclose(together[0, :2], alone[0], atol=2e-5)
    assert (together[0, 2:] == -1e4).all()
    assert (together[1] > -1e3).all()


def test_what_cannot_be(models: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("context,ending0,ending1,label\nc,x,y,0\nc,x,y,5\n")
    with refused(r"bad\.csv:3: expected the number of a choice .* --on_bad_row skip"):
        main(models["bert"], tmp_path / "a", train_file=bad)
    with refused("has no column 'q' .--question_column_name., but 'context'"):
        main(models["bert"], tmp_path / "a", train_file=bad, question_column_name="q")
    with refused("no such file .--train_file."):
        main(models["bert"], tmp_path / "a", train_file="/nowhere.csv")
    assert not (tmp_path / "a").exists()
    with refused("expected a model that was trained on the task, it has no classifier"):
        main(models["bert"], tmp_path / "b", "--do_eval", validation_file=SWAG / "val.csv")
    for switches, changes, message in (
        (("--do_predict",), {}, "--do_predict needs --test_file"),
        (("--do_eval",), {}, "--do_eval needs --validation_file, or --do_train with"),
        (("--verbose",), {}, "there is nothing to do"),
    ):
        with pytest.raises(SystemExit) as exit_code:
            main(models["bert"], tmp_path / "e", *switches, **changes)
        assert exit_code.value.code == 2
        assert message in capsys.readouterr().err
