"""The BERT script on sample rows with a tiny model: files, log lines, mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.process.signals import Terminated
from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.report import Report
from paddlenlp_ext.transformers import AutoModelForSequenceClassification, AutoTokenizer
from tests.docs.test_readmes import script_of
from tests.scripts.refusals import refused

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/language_model/bert/run_glue.py"
DATA = ROOT / "data/glue"
STEP = re.compile(
    r"global step \d+, epoch: \d+, batch: \d+, loss: \d+\.\d{6}, speed: \d+\.\d{2} step/s"
)
EVALUATION = re.compile(r"eval loss: \d+\.\d{6}, accu: \d\.\d{6}")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoder"))


def tiny_bert(folder: Path, dropout: float = 0.0) -> Path:
    """A tiny BERT with a vocabulary of the sample rows' words."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(DATA.rglob("dev*.tsv")))
    words = sorted(set(re.findall(r"[a-z]+|[^\w\s]", text.lower())))[:2000]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    paddle.seed(5)
    BertModel(
        BertConfig(
            vocab_size=len(pieces),
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=37,
            max_position_embeddings=48,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    ).save_pretrained(folder)
    return folder


def arguments(encoder: Path, output: Path, **changes: Any) -> list[str]:
    flags: dict[str, Any] = {
        "model_type": "bert",
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
        "n_gpu": 0,
    }
    return [part for name, value in (flags | changes).items() for part in (f"--{name}", str(value))]


def main(*args: Any, **changes: Any) -> dict[str, float]:
    return script_of(SCRIPT).main(arguments(*args, **changes))


def launch(arguments: list[str], *prefix: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *prefix, str(SCRIPT), *arguments],
        capture_output=True, text=True, timeout=240, env=environment, check=False,
    )  # fmt: skip


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in history(folder) if "split" not in row]


@pytest.mark.parametrize("task", GLUE)
def test_every_task(
    task: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scores = main(encoder, tmp_path, task_name=task, max_steps=2, save_steps=2)
    splits = list(GLUE[task].splits)[1:]
    assert {name.split(" ", maxsplit=1)[0] for name in scores} == set(splits)
    assert all(np.isfinite(value) for value in scores.values())
    assert capsys.readouterr().out.count("eval loss: ") == len(splits)


def test_log_lines_and_files(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scores = main(encoder, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [bool(STEP.fullmatch(line)) for line in lines if line.startswith("global")] == [True] * 5
    assert [bool(EVALUATION.fullmatch(line)) for line in lines if line.startswith("eval")] == [
        True
    ] * 2
    assert lines[-1].endswith(f"accu: {scores['dev acc']:f}")
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        "model_3", "model_5", "latest", "best", "history.jsonl", "results.jsonl", "curves.png",
        "record.json", "outcomes.json",
    }  # fmt: skip
    saved = {path.name for path in (tmp_path / "model_5").iterdir()}
    assert saved >= {"config.json", "model_state.pdparams", "vocab.txt", "tokenizer_config.json"}
    row = json.loads((tmp_path / "results.jsonl").read_text())
    assert row["metrics"] == {"acc": scores["dev acc"]}
    assert "|glue/rte|dev|acc|bs8|lr1e-3|ep1|len48|seed42|cpu1|paddle" in row["signature"]


def test_eager_run_is_accepted(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    main(encoder, tmp_path, max_steps=1, eager_run="True")
    assert capsys.readouterr().err.count("note: --eager_run is accepted and has no effect\n") == 1


def test_saved_model_answers_as_trained(encoder: Path, tmp_path: Path) -> None:
    scores = main(encoder, tmp_path, num_train_epochs=6, save_steps=30)
    folder = tmp_path / "model_30"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.label_names == ("entailment", "not_entailment")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [line.split("\t") for line in (DATA / "RTE/dev.tsv").read_text().splitlines()[1:]]
    encoded = tokenizer(
        [row[1] for row in rows], [row[2] for row in rows],
        truncation=True, max_length=48, padding=True, return_tensors="pd",
    )  # fmt: skip
    best = model(**encoded).logits.argmax(-1).numpy()
    right = [model.config.label_names[b] == row[3] for b, row in zip(best, rows, strict=True)]
    assert np.mean(right) == pytest.approx(scores["dev acc"])


def test_training_learns(encoder: Path, tmp_path: Path) -> None:
    """A model that sees the dev rows in training gets them right."""
    data = tmp_path / "RTE"
    data.mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (data / name).write_bytes((DATA / "RTE/dev.tsv").read_bytes())
    changes = {"data_dir": data, "num_train_epochs": 60, "save_steps": 1000, "logging_steps": 1000}
    assert main(encoder, tmp_path / "out", **changes)["dev acc"] == 1.0


def test_resumed_run_equals_the_unbroken_one(encoder: Path, tmp_path: Path) -> None:
    main(encoder, tmp_path / "whole", num_train_epochs=2, max_steps=9)
    main(encoder, tmp_path / "parts", num_train_epochs=2, max_steps=9)
    for name in ("model_6", "model_9"):  # as if the run had been killed after step 3
        for path in sorted((tmp_path / "parts" / name).iterdir()):
            path.unlink()
        (tmp_path / "parts" / name).rmdir()
    main(
        encoder,
        tmp_path / "parts",
        num_train_epochs=2,
        max_steps=9,
        resume_from_checkpoint="latest",
    )
    for name in ("model_state.pdparams", "optimizer.safetensors"):
        whole = (tmp_path / "whole/model_9" / name).read_bytes()
        assert (tmp_path / "parts/model_9" / name).read_bytes() == whole
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_processes_and_accumulation_change_nothing(encoder: Path, tmp_path: Path) -> None:
    """1 x 8, 2 x 4 accumulated, 2 launched and 2 spawned processes x 4: one and the same run."""
    scores = {"one": main(encoder, tmp_path / "one", max_steps=6)}
    half = {"batch_size": 4, "max_steps": 6}
    scores["accumulated"] = main(
        encoder, tmp_path / "accumulated", gradient_accumulation_steps=2, **half
    )
    launched = arguments(encoder, tmp_path / "launched", **half)
    log = ("--log_dir", str(tmp_path / "log"))
    done = launch(launched, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", *log)
    assert done.returncode == 0, done.stdout + done.stderr
    done = launch(arguments(encoder, tmp_path / "spawned", n_gpu=2, device="cpu", **half))
    assert done.returncode == 0, done.stdout + done.stderr
    expected = losses(tmp_path / "one")
    assert len(expected) == 6
    for name in ("accumulated", "launched", "spawned"):
        np.testing.assert_allclose(losses(tmp_path / name), expected, atol=1e-5, err_msg=name)
        row = json.loads((tmp_path / name / "results.jsonl").read_text())
        assert row["metrics"] == {"acc": scores["one"]["dev acc"]}, name


SPLITS = {"accumulated": (4, 2, 1), "launched": (4, 1, 2)}


@pytest.mark.parametrize("name", SPLITS)
def test_a_run_goes_on_with_its_batch_divided_otherwise(
    name: str, encoder: Path, tmp_path: Path
) -> None:
    """The same rows, steps and learning rates; paths and the task are spelled otherwise, too."""
    run = {"group_by_length": True, "save_steps": 3, "num_train_epochs": 2}
    main(encoder, tmp_path / "whole", **run)
    shutil.copytree(tmp_path / "whole/model_3", tmp_path / "parts/model_3")
    size, accumulation, processes = SPLITS[name]
    changes = run | {
        "batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "model_name_or_path": os.path.relpath(encoder) + "/./",
        "task_name": "rte",
        "resume_from_checkpoint": "model_3",
    }
    flags = arguments(encoder, tmp_path / "parts", **changes)
    log = ("--log_dir", str(tmp_path / "log"))
    prefix = ("-m", "paddle.distributed.launch", "--nproc_per_node", "2", *log)
    done = launch(flags, *(prefix if processes == 2 else ()))
    assert done.returncode == 0, done.stdout + done.stderr
    if processes == 1:
        assert "a batch of 8 x 1 process x 1 = 8, now 4 x 1 process x 2 = 8" in done.stderr
    whole, parts = (history(tmp_path / folder) for folder in ("whole", "parts"))
    begin = [row["step"] for row in whole].index(4)
    assert len(parts) == len(whole) - begin
    for row, expected in zip(parts, whole[begin:], strict=True):
        assert row["step"] == expected["step"]
        assert row.get("learning_rate") == expected.get("learning_rate")
        assert row["loss"] == pytest.approx(expected["loss"], abs=1e-5)


def test_another_batch_or_length_is_refused_with_both(encoder: Path, tmp_path: Path) -> None:
    main(encoder, tmp_path, max_steps=6)
    resume = {"max_steps": 6, "resume_from_checkpoint": "latest"}
    both = r"--batch_size 8 x 1 process x 1 = 8 \(now 8 x 1 process x 2 = 16\)"
    with refused(both):
        main(encoder, tmp_path, gradient_accumulation_steps=2, **resume)
    with refused(r"6 steps in all \(now 5\)"):  # which the one epoch of the rows makes
        main(encoder, tmp_path, **resume | {"max_steps": -1})
    with refused(r"--task_name 'RTE' \(now 'MRPC'\)"):
        main(encoder, tmp_path, task_name="MRPC", **resume)


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def test_the_score_is_the_mean_over_the_splits_of_the_step(encoder: Path, tmp_path: Path) -> None:
    scores = main(encoder, tmp_path, task_name="MNLI", max_steps=3, max_eval_samples=3)
    values = [scores["dev_matched acc"], scores["dev_mismatched acc"]]
    assert values[0] != values[1]
    assert manifest(tmp_path / "model_3")["score"] == pytest.approx(np.mean(values))


def test_an_interrupted_evaluation_gives_no_score(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that of an earlier step nor that of the splits so far; it is begun again."""
    add = Report.add

    def interrupt(self: Report, event: Any) -> None:
        if isinstance(event, Evaluated) and (event.step, event.split) == (4, "dev_matched"):
            os.kill(os.getpid(), signal.SIGTERM)
        add(self, event)

    run = {"task_name": "MNLI", "max_steps": 4, "save_steps": 2}
    with monkeypatch.context() as patch:
        patch.setattr(Report, "add", interrupt)
        with pytest.raises(Terminated):
            main(encoder, tmp_path, **run)
    saved = manifest(tmp_path / "model_4")
    assert saved["position"] == {"step": 4, "evaluations": 1}
    assert saved["score"] is None
    assert manifest(tmp_path / "model_2")["score"] is not None
    main(encoder, tmp_path, resume_from_checkpoint="latest", **run)
    rows = [row for row in history(tmp_path) if row["step"] == 4 and "split" in row]
    mean = np.mean([row["metrics"]["acc"] for row in rows])
    assert len(rows) == 2
    assert manifest(tmp_path / "model_4")["score"] == pytest.approx(mean)
    told = json.loads((tmp_path / "outcomes.json").read_text())
    assert [*told["last"]["splits"]] == ["dev_matched", "dev_mismatched"]
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["signature"].split("|")[2] for line in lines] == ["dev_matched", "dev_mismatched"]


BAD = {
    "missing file": ({"data_dir": "nowhere"}, r"nowhere/train\.tsv"),
    "task": ({"task_name": "SST-3"}, r"SST-3.*did you mean 'SST-2'"),
    "device": ({"device": "gpu"}, r"--device gpu: this PaddlePaddle is a CPU build"),
    "model": ({"model_name_or_path": "bert-base-uncasd"}, r"did you mean 'bert-base-uncased'"),
    "resume": ({"resume_from_checkpoint": "model_7"}, r"model_7"),
    "amp": ({"use_amp": "true"}, r"--use_amp: PaddlePaddle has no mixed precision on a CPU"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(case: str, encoder: Path, tmp_path: Path) -> None:
    changes, message = BAD[case]
    with refused(message) as error:
        main(encoder, tmp_path / "out", **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


ROWS = {
    "columns": ("index\tsentence1\tsentence2\tlabel\n0\ta b\tc\n", r"train\.tsv:2: expected 4 col"),
    "label": ("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tperhaps\n", r"train\.tsv:2: .*perhaps"),
    "empty": ("index\tsentence1\tsentence2\tlabel\n", r"no usable row"),
}


@pytest.mark.parametrize("case", ROWS)
def test_bad_rows_are_named(case: str, encoder: Path, tmp_path: Path) -> None:
    text, message = ROWS[case]
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with refused(message):
        main(encoder, tmp_path / "out", data_dir=tmp_path)
    assert not (tmp_path / "out").exists()


def test_broken_weights_are_named(encoder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in encoder.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = broken / "model_state.pdparams"
    weights.write_bytes(weights.read_bytes()[:-999])
    with refused(r"model_state\.pdparams"):
        main(broken, tmp_path / "out")
    weights.unlink()
    with refused(r"expected model\.safetensors or"):
        main(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_mistake_is_one_line_and_exit_code_2(encoder: Path, tmp_path: Path) -> None:
    done = launch(arguments(encoder, tmp_path / "out", data_dir=tmp_path))
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_is_quick() -> None:
    launch(["--help"])  # compiles
    fastest = min(_seconds(["--help"]) for _ in range(3))
    assert fastest < 0.5


def _seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    assert launch(arguments).returncode == 0
    return time.perf_counter() - began
