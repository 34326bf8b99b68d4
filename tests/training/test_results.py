"""Results keep what a number depends on; histories survive a resume; curves are drawn."""

from __future__ import annotations

import builtins
import json
import re
from dataclasses import asdict, replace

import pytest

from paddlenlp_ext import __version__
from paddlenlp_ext.metrics import ClassScores, Metrics
from paddlenlp_ext.reporting.lines import CURVES
from paddlenlp_ext.reporting.plot import plot_curves
from paddlenlp_ext.training.events import Evaluated, Progress, StepDone
from paddlenlp_ext.training.results import History, append_result, signature
from paddlenlp_ext.training.settings import RunSettings

FACTS = {
    "model": "convbert-small",
    "task": "glue/SST-2",
    "split": "dev",
    "metric": "acc",
    "batch_size": 256,
    "learning_rate": 1e-4,
    "epochs": 3,
    "max_length": 128,
    "seed": 42,
    "device": "gpu:0",
}


def test_signature():
    text = signature(**FACTS, processes=2)
    start = "convbert-small|glue/sst-2|dev|acc|bs256|lr1e-4|ep3|len128|seed42|gpu2|paddle"
    assert text.startswith(start)
    assert text.removeprefix(start)[0].isdigit()
    assert text.endswith(f"|ext{__version__}")


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"learning_rate": 3.5e-5}, "lr3.5e-5"),
        ({"epochs": 0.5}, "ep0.5"),
        ({"changes": ["cosine", "smooth0.1"]}, "smooth0.1"),
        ({"model": "/home/me/out/model_500/"}, "model_500"),
        ({"model": "/home/me/a|b"}, "a_b"),
        ({"device": "cpu"}, "cpu1"),
        ({"epochs": None, "steps": 320}, "steps320"),
    ],
)
def test_parts_of_a_signature(changed, part):
    assert part in signature(**(FACTS | changed)).split("|")


def test_a_signature_says_nothing_of_training_where_there_was_none():
    training = ("batch_size", "learning_rate", "epochs", "seed")
    text = signature(**{name: fact for name, fact in FACTS.items() if name not in training})
    assert text.startswith("convbert-small|glue/sst-2|dev|acc|len128|gpu1|paddle")


def test_results_are_lines_that_add_up(tmp_path):
    for step in (100, 200):
        path = append_result(tmp_path / "out", "a|b", {"acc": 0.9}, step=step)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [100, 200]
    assert lines[0]["signature"] == "a|b"
    assert lines[0]["metrics"] == {"acc": 0.9}


def test_signatures_name_what_is_trained_otherwise_than_by_default(tmp_path):
    settings = RunSettings(
        model_name_or_path="m", output_dir="o", device="cpu", batch_size=8, learning_rate=1e-4,
        num_train_epochs=3, logging_steps=1, save_steps=1,
    )  # fmt: skip

    def changes(**values):
        return replace(settings, **values).facts("glue/RTE")["changes"]

    assert changes() == []
    assert changes(lr_scheduler_type="cosine", label_smoothing_factor=0.1) == [
        "cosine",
        "smooth0.1",
    ]
    assert changes(class_weights="balanced", freeze_embeddings=True, freeze_layers=2) == [
        "weights-balanced",
        "frozen-embeddings",
        "frozen-layers2",
    ]
    assert changes(early_stopping_patience=3) == ["patience3"]
    assert changes(use_amp=True, amp_dtype="bfloat16") == ["bfloat16"]
    assert "changes" not in settings.facts("glue/RTE", trained=False)
    # Weights of a file by what it holds, whatever it is called.
    named = {}
    for name, text in (("a", "x 1\ny 2\n"), ("b", '{"y": 2, "x": 1.0}'), ("c", "x 1\ny 3\n")):
        (tmp_path / name).write_text(text)
        flags = asdict(settings) | {"class_weights": str(tmp_path / name)}
        (named[name],) = RunSettings.from_flags(flags).facts("t")["changes"]
    assert named["a"] == named["b"] != named["c"]
    assert re.fullmatch(r"weights-[0-9a-f]{8}", named["a"])


def test_the_numbers_of_each_class_are_kept(tmp_path):
    metrics = Metrics({"acc": 0.9}, {"x": ClassScores(0.5, 1.0, 2 / 3, 3)})
    path = append_result(tmp_path, "a|b", metrics, step=1)
    (tmp_path / "old").mkdir()
    append_result(tmp_path / "old", "a|b", {"acc": 0.9}, step=1)
    append_result(tmp_path / "old", "a|b", metrics, step=1)  # measured again, as by a newer version
    assert len((tmp_path / "old/results.jsonl").read_text().splitlines()) == 1
    history = History(tmp_path)
    history.add(Evaluated(1, "dev", 0.4, metrics, 100, 1.0))
    for row in (json.loads(path.read_text()), history.rows[0]):
        assert row["metrics"] == {"acc": 0.9}
        assert row["classes"] == {"x": {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 3}}


def step(number: int) -> StepDone:
    return StepDone(number, 9, 0, number - 1, 1 / number, 1e-4, 32, 0.5)


def evaluated(number: int, split: str = "dev", acc: float = 0.5) -> Evaluated:
    return Evaluated(number, split, 0.4, {"acc": acc}, 100, 1.0)


def test_a_history_continues_where_the_run_does(tmp_path):
    history = History(tmp_path)
    for event in (step(1), step(2), evaluated(2), evaluated(2, "dev_2"), step(3)):
        history.add(event)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a killed process's last line
    for position, kept in (
        (Progress(3), ["1", "2", "2dev", "2dev_2", "3"]),
        (Progress(2, 1), ["1", "2", "2dev"]),
        (Progress(2), ["1", "2"]),
    ):
        again = History(tmp_path, position)
        assert [f"{row['step']}{row.get('split', '')}" for row in again.rows] == kept
    again.add(evaluated(2))
    lines = [json.loads(line) for line in again.path.read_text().splitlines()]
    assert lines == again.rows
    assert lines[0] == {"step": 1, "loss": 1.0, "learning_rate": 1e-4, "seconds": 0.5}
    assert History(tmp_path).rows == []


def test_curves(tmp_path):
    history = History(tmp_path)
    for event in (step(1), step(2), evaluated(2), step(3), evaluated(3, acc=0.7)):
        history.add(event)
    path = plot_curves(tmp_path)
    assert path == tmp_path / CURVES
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    history.add(evaluated(3, "dev_2", 0.1))
    plot_curves(tmp_path)
    assert path.read_bytes() != content
    History(tmp_path)
    assert plot_curves(tmp_path) == path  # nothing to draw is no error


def test_curves_without_matplotlib_are_a_line_of_text(tmp_path, monkeypatch, capsys):
    original = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    History(tmp_path)
    assert plot_curves(tmp_path) is None
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert "matplotlib" in text
