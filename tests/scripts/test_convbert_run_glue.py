"""The ConvBERT page's GLUE script on sample rows with tiny models of all four families."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import base_class
from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.transformers import AutoModelForSequenceClassification, AutoTokenizer
from tests.docs.test_readmes import script_of
from tests.scripts.refusals import refused

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/language_model/convbert/run_glue.py"
DATA = ROOT / "data/glue"
README = SCRIPT.with_name("README.md").read_text(encoding="utf-8")

NUMBER = r"-?\d+\.\d+"
# The page's sample lines, every number of which may be another one of the same form.
STEP = re.compile(
    r"global step \d+/\d+, epoch: \d+, batch: \d+, rank_id: 0, loss: \d+\.\d{6}, "
    r"lr: \d\.\d{10}, speed: \d+\.\d{4} step/s"
)
SPLIT = rf"eval loss: \d+\.\d{{6}}, ((acc|mcc|[a-z1 ]+): {NUMBER}, )+"
EVALUATION = re.compile(rf"({SPLIT})+eval done total : \d+\.\d+ s")

FAMILIES = {
    "bert": {},
    "electra": {"embedding_size": 11},
    "ernie": {},
    "convbert": {"embedding_size": 11, "conv_kernel_size": 3},
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each family, with a vocabulary of the sample rows' words; no dropout."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(DATA.rglob("dev*.tsv")))
    words = sorted(set(re.findall(r"[a-z]+|[^\w\s]", text.lower())))[:2000]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    folders = {}
    for family, sizes in FAMILIES.items():
        folders[family] = folder = tmp_path_factory.mktemp(family)
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        paddle.seed(5)
        model = base_class(family)
        model(
            model.config_class(
                vocab_size=len(pieces),
                hidden_size=24,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=37,
                max_position_embeddings=48,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                **sizes,
            )
        ).save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def encoder(encoders: dict[str, Path]) -> Path:
    return encoders["convbert"]


def arguments(encoder: Path, output: Path, **changes: Any) -> list[str]:
    flags: dict[str, Any] = {
        "model_type": "convbert",
        "model_name_or_path": encoder,
        "task_name": "RTE",
        "data_dir": DATA,
        "max_seq_length": 48,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_steps": 3,
        "output_dir": output,
        "device": "cpu",
    }
    return [part for name, value in (flags | changes).items() for part in (f"--{name}", str(value))]


def main(*args: Any, **changes: Any) -> dict[str, float]:
    return script_of(SCRIPT).main(arguments(*args, **changes))


def losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "split" not in row]


def test_the_page_s_own_lines_have_the_form() -> None:
    """The expressions, which the script's lines are held to, fit what the page shows."""
    lines = re.findall(r"^(?:global step.*step/s|eval loss.* s)$", README, re.MULTILINE)
    assert len(lines) == 16
    for line in lines:
        form = STEP if line.startswith("global") else EVALUATION
        assert form.fullmatch(line), line


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", GLUE)
def test_every_task_and_family(
    task: str,
    family: str,
    encoders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    scores = main(
        encoders[family],
        tmp_path,
        model_type=family,
        task_name=task,
        max_steps=1,
        max_eval_samples=9,
    )
    splits = list(GLUE[task].splits)[1:]
    assert {name.split(" ", maxsplit=1)[0] for name in scores} == set(splits)
    assert all(np.isfinite(value) for value in scores.values())
    line = capsys.readouterr().out.splitlines()[-1]
    assert EVALUATION.fullmatch(line), line
    assert line.count("eval loss: ") == len(splits)  # MNLI's two splits share a line
    shown = [float(value) for value in re.findall(rf"(?<!loss): ({NUMBER}), ", line)]
    assert shown == list(scores.values())
    assert (tmp_path / f"{task}_ft_model_1.pdparams/model_state.pdparams").is_file()


def test_log_lines_and_files(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scores = main(encoder, tmp_path, num_train_epochs=2, warmup_proportion=0.2, logging_steps=5)
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if line.startswith("global")]
    assert all(STEP.fullmatch(line) for line in steps)
    assert steps[0].startswith("global step 5/10, epoch: 0, batch: 4, rank_id: 0, loss: ")
    assert steps[1].startswith("global step 10/10, epoch: 1, batch: 4, rank_id: 0, loss: ")
    # The rate after the update, as the page's: 1e-3 · (10 - 5) / (10 - 2), and 0 at last.
    assert ", lr: 0.0006250000, " in steps[0]
    assert ", lr: 0.0000000000, " in steps[1]
    evaluations = [line for line in lines if line.startswith("eval")]
    assert len(evaluations) == 4  # after 3, 6, 9 and the last
    assert all(EVALUATION.fullmatch(line) for line in evaluations)
    assert f", acc: {scores['dev acc']}, " in evaluations[-1]
    folders = {f"rte_ft_model_{step}.pdparams" for step in (3, 6, 9, 10)}
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        *folders, "latest", "best", "history.jsonl", "results.jsonl", "curves.png",
        "record.json", "outcomes.json",
    }  # fmt: skip
    saved = {path.name for path in (tmp_path / "rte_ft_model_10.pdparams").iterdir()}
    assert saved >= {"config.json", "model_state.pdparams", "vocab.txt", "tokenizer_config.json"}


def test_defaults_are_the_page_s(tmp_path: Path) -> None:
    required = ["--model_type", "ConvBERT", "--model_name_or_path", "x", "--task_name", "SST-2"]
    args = script_of(SCRIPT).parse_args([*required, "--output_dir", str(tmp_path)])
    assert args.model_type == "convbert"
    for name, value in {
        "max_seq_length": 128, "batch_size": 32, "learning_rate": 1e-4, "num_train_epochs": 3,
        "logging_steps": 100, "save_steps": 100, "weight_decay": 0.0, "warmup_steps": 0,
        "warmup_proportion": 0.1, "adam_epsilon": 1e-6, "max_steps": -1, "seed": 42,
    }.items():  # fmt: skip
        assert getattr(args, name) == value, name


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_model_answers_as_trained(
    family: str, encoders: dict[str, Path], tmp_path: Path
) -> None:
    changes = {"num_train_epochs": 6, "save_steps": 30, "model_type": family}
    scores = main(encoders[family], tmp_path, **changes)
    folder = tmp_path / "rte_ft_model_30.pdparams"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.model_type == family
    assert model.config.label_names == ("entailment", "not_entailment")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [line.split("\t") for line in (DATA / "RTE/dev.tsv").read_text().splitlines()[1:]]
    right = []
    for at in range(0, len(rows), 8):  # the script's own batches: the convolution sees padding
        batch = rows[at : at + 8]
        encoded = tokenizer(
            [row[1] for row in batch], [row[2] for row in batch],
            truncation=True, max_length=48, padding=True, return_tensors="pd",
        )  # fmt: skip
        best = model(**encoded).logits.argmax(-1).numpy()
        right += [model.config.label_names[b] == row[3] for b, row in zip(best, batch, strict=True)]
    assert np.mean(right) == pytest.approx(scores["dev acc"])


def test_training_learns(encoder: Path, tmp_path: Path) -> None:
    """A model that sees the dev rows in training gets them right."""
    data = tmp_path / "RTE"
    data.mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (data / name).write_bytes((DATA / "RTE/dev.tsv").read_bytes())
    changes = {"data_dir": data, "num_train_epochs": 40, "learning_rate": 5e-3}
    changes |= {"save_steps": 1000, "logging_steps": 1000}
    assert main(encoder, tmp_path / "out", **changes)["dev acc"] == 1.0


def test_resumed_run_equals_the_unbroken_one(encoder: Path, tmp_path: Path) -> None:
    changes = {"num_train_epochs": 2, "max_steps": 7}
    main(encoder, tmp_path / "whole", **changes)
    main(encoder, tmp_path / "parts", **changes)
    for step in (6, 7):  # as if the run had been killed after step 3
        folder = tmp_path / f"parts/rte_ft_model_{step}.pdparams"
        for path in sorted(folder.iterdir()):
            path.unlink()
        folder.rmdir()
    main(encoder, tmp_path / "parts", **changes, resume_from_checkpoint="latest")
    for name in ("model_state.pdparams", "optimizer.safetensors"):
        whole, parts = (
            (tmp_path / run / "rte_ft_model_7.pdparams" / name).read_bytes()
            for run in ("whole", "parts")
        )
        assert parts == whole
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_two_processes_make_the_same_run(encoder: Path, tmp_path: Path) -> None:
    """Two launched processes x 4 equal one x 8 but for what ConvBERT's convolution sees of padding.

    With all rows cut to one length there is none, and the runs are the same.
    """
    changes = {"max_steps": 4, "max_seq_length": 12, "save_steps": 100}
    scores = main(encoder, tmp_path / "one", **changes)
    done = subprocess.run(
        [
            sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2",
            "--log_dir", str(tmp_path / "log"), str(SCRIPT),
            *arguments(encoder, tmp_path / "two", batch_size=4, **changes),
        ],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-5)
    row = json.loads((tmp_path / "two/results.jsonl").read_text())
    assert row["metrics"] == {"acc": scores["dev acc"]}
    assert "|cpu2|" in row["signature"]


BAD = {
    "family": ({"model_type": "ernie"}, r"convbert model.*of ernie"),
    "task": ({"task_name": "STS"}, r"STS.*did you mean 'STS-B'"),
    "device": ({"device": "gpu"}, r"--device gpu: this PaddlePaddle is a CPU build"),
    "model": ({"model_name_or_path": "convbert-smal"}, r"did you mean 'convbert-small'"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(case: str, encoder: Path, tmp_path: Path) -> None:
    changes, message = BAD[case]
    if case == "device" and paddle.is_compiled_with_cuda():
        pytest.skip("this PaddlePaddle has a GPU build")
    with refused(message) as error:
        main(encoder, tmp_path / "out", **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
