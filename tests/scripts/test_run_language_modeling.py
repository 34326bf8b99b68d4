"""Language modelling with tiny models: all families, resume, held-out rows, losses of rows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import base_class
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.refusals import refused
from tests.tiny import FAMILY_SIZES

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/tasks/run_language_modeling.py"
TEXT = ROOT / "data/pretraining/sample_text_held_out.txt"
STEP = re.compile(
    r"global step \d+/\d+, epoch: \d+, loss: \d+\.\d{6}, lr: \d\.\d{10}, speed: \d+\.\d\d step/s"
)
EVALUATION = re.compile(
    r"(validation|test) loss: \d+\.\d{6}, acc: [01]\.\d{6}, perplexity: \d+\.\d{6}"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model without a head, and its vocabulary, of each family."""
    made = {"rembert": multilingual.rembert, "ernie_m": multilingual.ernie_m,
            "xlm-roberta": multilingual.xlm_r}  # fmt: skip
    folders = {name: make(tmp_path_factory.mktemp(name)) for name, make in made.items()}
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    for family in ("bert", "electra", "ernie", "convbert"):
        folder = folders[family] = tmp_path_factory.mktemp(family)
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
        cls = base_class(family)
        sizes = multilingual.SIZES | FAMILY_SIZES[family] | {"vocab_size": len(tokens)}
        paddle.seed(5)
        cls(cls.config_class(**sizes)).save_pretrained(folder)
    return folders


def main(model: Path, output: Path, *switches: str, **changes: Any) -> dict[str, float]:
    flags = {
        "model_name_or_path": model,
        "train_file": TEXT,
        "validation_share": 0.1,
        "output_dir": output,
        "max_seq_length": 48,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "max_steps": 3,
        "save_steps": 2,
        "logging_steps": 2,
        "max_train_samples": 50,
        "device": "cpu",
    }
    given = (flags | changes).items()
    words = [word for name, value in given if value for word in (f"--{name}", str(value))]
    return script_of(SCRIPT).main([*words, *(switches or ("--do_train",))])


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("family", "objective"),
    [
        *((name, "masked") for name in ("bert", "rembert", "convbert", "ernie_m", "electra")),
        *((name, "masked") for name in ("ernie", "xlm-roberta")),
        *((name, "causal") for name in ("bert", "rembert", "electra", "ernie", "xlm-roberta")),
    ],
)
def test_every_family_with_the_head(
    family: str, objective: str, models: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    scores = main(models[family], tmp_path, objective=objective, max_eval_samples=7)
    steps, evaluations = (
        [line for line in capsys.readouterr().out.splitlines() if "step" in line],
        [row for row in history(tmp_path) if "split" in row],
    )
    assert all(STEP.fullmatch(line) for line in steps)
    assert len(steps) == 2
    assert [row["step"] for row in evaluations] == [2, 3]
    assert scores["validation perplexity"] == pytest.approx(np.exp(evaluations[-1]["loss"]))
    assert (tmp_path / "model_3/model_state.pdparams").is_file()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == family


def test_training_then_evaluation_and_losses_of_rows(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A decoder learns; the best model is evaluated alone as it was in training."""
    test = tmp_path / "test.txt"
    test.write_text("one line\n\nanother line that is longer than what a row holds here, by far\n")
    given = {"objective": "causal", "test_file": test, "line_by_line": True}
    switches = ("--do_train", "--do_eval", "--do_predict")
    scores = main(models["bert"], tmp_path / "run", *switches, max_steps=30, save_steps=10, **given)
    evaluations = [row for row in history(tmp_path / "run") if row.get("split") == "validation"]
    assert evaluations[-1]["loss"] < 0.95 * evaluations[0]["loss"]
    best = min(evaluations, key=lambda row: row["loss"])
    assert scores["validation perplexity"] == pytest.approx(best["metrics"]["perplexity"])
    printed, said = capsys.readouterr()
    assert EVALUATION.fullmatch(printed.splitlines()[-2])
    (hint,) = re.findall(r"use it: +paddlenlp-ext train language-modeling (.*)\n", said)
    words = hint.replace("FILE", str(test)).replace("DIR", str(tmp_path / "said")).split()
    scored = script_of(SCRIPT).main([*words, "--line_by_line", "--max_seq_length", "48"])
    assert scored["test perplexity"] == scores["test perplexity"]
    rows = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").open()]
    assert [row["predicted_tokens"] for row in rows] == [8, 47, 5]
    total = sum(row["loss"] * row["predicted_tokens"] for row in rows)
    assert np.exp(total / 60) == pytest.approx(scores["test perplexity"])
    assert rows[0]["text"].replace(" ", "") == "oneline"
    alone = main(
        tmp_path / "run", tmp_path / "alone", "--do_predict", "--do_eval", train_file=None,
        validation_file=test, **given,
    )  # fmt: skip
    assert alone["test perplexity"] == scores["test perplexity"] == alone["validation perplexity"]


def test_resumed_run_equals_the_unbroken_one(models: dict[str, Path], tmp_path: Path) -> None:
    """As if it had been killed after step 2, with new masks in each epoch, whole words, dropout."""
    model = tmp_path / "model"
    shutil.copytree(models["rembert"], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.1}))
    changes = {"max_train_samples": 13, "max_steps": 8, "whole_word_mask": True,
               "gradient_accumulation_steps": 2, "max_eval_samples": 5}  # fmt: skip
    for run in ("whole", "parts"):
        main(model, tmp_path / run, **changes)
    for step in (4, 6, 8):
        shutil.rmtree(tmp_path / f"parts/model_{step}")
    main(model, tmp_path / "parts", **changes, resume_from_checkpoint="latest")
    for name in ("model_state.pdparams", "optimizer.safetensors"):
        one, other = (tmp_path / run / "model_8" / name for run in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes(), name
    losses = [[row["loss"] for row in history(tmp_path / run)] for run in ("whole", "parts")]
    assert losses[0] == losses[1]
    with refused("--whole_word_mask True .now False."):
        changes |= {"whole_word_mask": None, "resume_from_checkpoint": "latest"}
        main(model, tmp_path / "parts", **changes)


def test_what_cannot_be(models: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    with refused("--objective causal: convbert has no ForCausalLM; .* bert, rembert, electra"):
        main(models["convbert"], tmp_path / "a", objective="causal")
    with refused("--max_seq_length 99: the model has 66 positions"):
        main(models["bert"], tmp_path / "b", max_seq_length=99)
    with refused("/nowhere/.*.txt: no such file .--train_file."):
        main(models["bert"], tmp_path / "c", train_file="/nowhere/*.txt")
    with refused("expected a model that was trained on the task, it has no lm_head"):
        main(models["bert"], tmp_path / "b", "--do_eval", validation_file=TEXT)
    (tmp_path / "bad.txt").write_bytes(b"fine\nnot \xff fine\n")
    with refused(r"bad\.txt:2: is not UTF-8"):
        main(models["bert"], tmp_path / "d", train_file=tmp_path / "bad.txt")
    assert not (tmp_path / "d/rows").exists() or not [*(tmp_path / "d/rows").iterdir()]
    for switches, changes, message in (
        (("--do_predict",), {}, "--do_predict needs --test_file"),
        (("--do_eval",), {}, "--do_eval needs --validation_file, or --do_train with"),
        (("--do_train",), {"train_file": None}, "--do_train needs --train_file"),
        (("--verbose",), {}, "there is nothing to do"),
        (("--do_train",), {"max_seq_length": 2}, "expected at least 3"),
        (("--do_train",), {"validation_share": 1}, "below 1"),
    ):
        with pytest.raises(SystemExit) as exit_code:
            main(models["bert"], tmp_path / "e", *switches, **changes)
        assert exit_code.value.code == 2
        assert message in capsys.readouterr().err
