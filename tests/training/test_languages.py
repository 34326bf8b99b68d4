"""Tasks in several languages: limits, summaries, tables; and which step of a run was best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI
from paddlenlp_ext.training import languages
from paddlenlp_ext.training.events import Evaluated, Progress, StepDone
from paddlenlp_ext.training.report import Report

DATA = str(Path(__file__).parents[2] / "data")


def evaluated(language: str, acc: float, examples: int, **more: Any) -> Evaluated:
    return Evaluated(0, f"test_{language}", acc / 2, {"acc": acc}, examples, 0.25, **more)


EVENTS = [evaluated("de", 0.5, 10), evaluated("en", 0.8, 30), evaluated("zh", 0.2, 5)]


def test_rows_are_limited_by_language() -> None:
    limits = {"train": 7, "dev": None}
    wanted = {"train": ("ja", "de"), "dev": None}
    splits = languages.read_splits(PAWS_X, wanted, DATA, max_samples=limits)
    assert {code: len(rows) for code, rows in splits["train"].items()} == {"ja": 7, "de": 7}
    assert [len(rows) for rows in splits["dev"].values()] == [24] * 7
    sources = [row.source for row in languages.all_languages(splits["train"])]
    assert sources[6:8] == ["ja/translated_train.tsv:8", "de/translated_train.tsv:2"]


def test_rows_that_are_left_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = ["premise\thypo\tlabel", "a\tb\tneutral", "a\tb", "a\tb\tentailment"]
    (tmp_path / "multinli.train.en.tsv").write_text("\n".join(rows), encoding="utf-8")
    wanted = {"train": ("en",)}
    found = languages.read_splits(XNLI, wanted, str(tmp_path), on_bad_row="skip")
    assert len(found["train"]["en"]) == 2
    assert "left out multinli.train.en.tsv:3: expected 3 columns" in capsys.readouterr().out


def test_summary_weighs_rows_and_languages() -> None:
    summary = languages.summarize(EVENTS)
    assert summary == pytest.approx(
        {"acc": (5 + 24 + 1) / 45, "average": 0.5, "de": 0.5, "en": 0.8, "zh": 0.2}
    )


def test_table_has_the_given_columns() -> None:
    """Languages in the given order, unknown ones at the end, those without a number nowhere."""
    assert languages.table("m", languages.summarize(EVENTS), ("en", "fr", "de")) == (
        "| Model | en | de | zh | Avg |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| m | 80.0 | 50.0 | 20.0 | 50.0 |\n"
    )


FACTS = {
    "model": "m", "task": "xnli", "batch_size": 32, "learning_rate": 1e-4, "epochs": 3,
    "max_length": 64, "seed": 1, "device": "cpu",
}  # fmt: skip


def test_results_have_a_line_for_all_languages(tmp_path: Path) -> None:
    languages.record(tmp_path, FACTS, EVENTS)
    line = json.loads((tmp_path / "results.jsonl").read_text())
    assert line["signature"].startswith("m|xnli|test|acc|bs32|")
    assert line["metrics"] == languages.summarize(EVENTS)
    assert line["loss"] == pytest.approx((0.25 * 10 + 0.4 * 30 + 0.1 * 5) / 45)
    assert (line["examples"], line["seconds"]) == (45, 0.75)


def report(folder: Path, resume: Progress | None = None) -> Report:
    return Report(
        folder,
        log_step=lambda *_: "",
        log_evaluation=lambda *_: "",
        logging_steps=1,
        splits=2,
        total_steps=6,
        facts=FACTS,
        resume=resume,
    )


def test_best_step_is_known_after_a_resume(tmp_path: Path) -> None:
    """Stopped between the two languages of step 4: the first one's number is not measured again."""

    def add(run: Report, step: int, *accuracies: float, before: int = 0) -> None:
        for number, acc in enumerate(accuracies, start=before + 1):
            split = f"dev_{number}"
            run.add(Evaluated(step, split, 1.0, {"acc": acc}, 3, 0.1, Progress(step, number)))

    run = report(tmp_path)
    run.add(StepDone(1, 6, 0, 0, 1.0, 0.1, 3, 0.1))
    add(run, 2, 0.6, 0.4)
    assert run.score(2) == 0.5
    assert run.is_best(2)
    add(run, 4, 0.9)
    assert run.score(4) is None
    run = report(tmp_path, Progress(4, 1))
    add(run, 4, 0.3, before=1)
    assert run.score(4) == pytest.approx(0.6)
    assert run.is_best(4)
    assert not run.is_best(2)
    add(run, 6, 0.3, 0.9)
    assert not run.is_best(6)  # as good as step 4, and later
