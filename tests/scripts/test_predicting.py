"""`--do_eval` and `--do_predict`: a saved model evaluates as it did in training, and predicts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from paddlenlp_ext.inference.pipelines import pipeline
from paddlenlp_ext.tasks.glue import GLUE, read_examples
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.refusals import refused
from tests.scripts.test_bert_run_glue import DATA, SCRIPT, arguments, tiny_bert


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoder"))


def run(encoder: Path, output: Path, *phases: str, **changes: object) -> dict[str, float]:
    flags = [f"--{phase}" for phase in phases]
    return script_of(SCRIPT).main([*arguments(encoder, output, **changes), *flags])


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_saved_model_evaluates_as_in_training_and_predicts(encoder, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    trained = run(encoder, first, "do_train", "do_predict", num_train_epochs=4, save_steps=20)
    said = capsys.readouterr().out
    assert f"predictions of 12 rows: {first}/predictions.tsv" in said
    assert f"{first}/submission/submission.zip, which lacks: no AX.tsv; no CoLA.tsv;" in said
    saved = run(first / "model_20", second, "do_eval", "do_predict")
    assert saved == pytest.approx(trained)
    assert not [*second.glob("model_*")]
    for name in ("predictions.tsv", "predictions.jsonl", "submission/RTE.tsv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    (result,) = rows(second / "results.jsonl")
    assert result["metrics"] == {"acc": saved["dev acc"]}

    found = rows(first / "predictions.jsonl")
    tests = read_examples(GLUE["rte"], "test", DATA)
    classify = pipeline("text-classification", first / "model_20", top_k=None)
    answers = classify([(one.text_a, one.text_b) for one in tests])
    for number, (row, answer, example) in enumerate(zip(found, answers, tests, strict=True)):
        assert row["id"] == example.source == f"test.tsv:{number + 2}"
        assert row["label"] == answer[0]["label"]
        scores = {one["label"]: one["score"] for one in answer}
        assert row["probabilities"] == pytest.approx(scores, abs=1e-6)
    submitted = (first / "submission/RTE.tsv").read_text().splitlines()
    assert submitted[1:] == [f"{n}\t{row['label']}" for n, row in enumerate(found)]


def test_files_of_all_tasks_come_together(encoder, tmp_path, capsys):
    for task in ("MNLI", "STS-B"):
        output, together = tmp_path / task, str(tmp_path / "glue")
        changes = {"task_name": task, "max_steps": 1, "submission_dir": together}
        run(encoder, output, "do_train", "do_predict", **changes)
    assert {path.name for path in (tmp_path / "MNLI").glob("predictions*")} == {
        "predictions_matched.tsv", "predictions_matched.jsonl",
        "predictions_mismatched.tsv", "predictions_mismatched.jsonl",
    }  # fmt: skip
    assert {*rows(tmp_path / "STS-B/predictions.jsonl")[0]} == {"id", "score"}
    with zipfile.ZipFile(tmp_path / "glue/submission.zip") as zipped:
        assert zipped.namelist() == ["MNLI-m.tsv", "MNLI-mm.tsv", "STS-B.tsv"]
    assert "MNLI-m.tsv has 12 rows, officially 9,796" in capsys.readouterr().out


def test_what_is_missing_is_said_before_training(encoder, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "data" / name).write_bytes((DATA / "RTE" / name).read_bytes())
    with refused("data/test.tsv: no such file; RTE needs test.tsv in this folder"):
        run(encoder, tmp_path / "out", "do_train", "do_predict", data_dir=tmp_path / "data")
    assert not (tmp_path / "out").exists()
    with refused("expected a model that was trained on the task, it has no classifier"):
        run(encoder, tmp_path / "out", "do_eval")


@pytest.mark.parametrize(
    ("script", "make", "flags"),
    [
        ("rembert/main", multilingual.rembert, {"task": "xnli", "eval_step": 1}),
        (
            "ernie_m/run_classifier",
            multilingual.ernie_m,
            {"task_type": "cross-lingual-transfer", "save_steps": 1},
        ),
    ],
)
def test_a_file_a_language(script, make, flags, tmp_path):
    flags = {
        "model_name_or_path": make(tmp_path),
        "data_dir": multilingual.DATA,
        "max_seq_length": 48,
        "max_train_samples": 8,
        "max_eval_samples": 5,
        "max_steps": 1,
        "languages": ["de", "th"],
        "device": "cpu",
        **flags,
    }
    main = script_of(multilingual.ROOT / f"examples/language_model/{script}.py").main

    def work(**changes):
        return main(multilingual.command_line(flags | changes))

    trained = work(output_dir=tmp_path / "run", do_train=True, do_eval=True, do_predict=True)
    (saved,) = (tmp_path / "run").glob("*model_1*")
    changes = {"output_dir": tmp_path / "saved", "model_name_or_path": saved}
    assert work(**changes, do_eval=True) == pytest.approx(trained)
    assert not [*(tmp_path / "saved").glob("predictions*")]
    assert work(**changes, do_predict=True) == {}
    for language in ("de", "th"):
        name = f"predictions_{language}.jsonl"
        found = rows(tmp_path / "saved" / name)
        assert found == rows(tmp_path / "run" / name)
        assert len(found) == 5
        assert all(max(row["probabilities"], key=row["probabilities"].get) == row["label"]
                   for row in found)  # fmt: skip
    assert len([*(tmp_path / "saved").glob("predictions*")]) == 4
