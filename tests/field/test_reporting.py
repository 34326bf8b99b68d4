"""What a run says, wherever it goes, costs no checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.reporting.plot import plot_curves
from paddlenlp_ext.training.events import Evaluated, Progress, StepDone
from paddlenlp_ext.training.report import Report
from paddlenlp_ext.training.results import History, append_result
from tests.scripts import test_bert_run_glue as bert

EVENTS = [
    StepDone(1, 2, 0, 0, 0.5, 1e-4, 8, 0.1, progress=Progress(1)),
    Evaluated(1, "dev", 0.5, {"acc": 0.5}, 8, 0.1, Progress(1, 1)),
    StepDone(2, 2, 0, 1, 0.5, 1e-4, 8, 0.1, progress=Progress(2)),
    Evaluated(2, "dev", 0.5, {"acc": 0.75}, 8, 0.1, Progress(2, 1)),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert.tiny_bert(tmp_path_factory.mktemp("encoder"))


def report(folder: Path) -> Report:
    return Report(
        folder,
        log_step=lambda event, pace: f"step {event.step}",
        log_evaluation=lambda event, seconds: f"{event.metrics}\n",
        logging_steps=1,
        splits=1,
        total_steps=2,
        facts={"model": "m", "task": "t", "max_length": 8, "device": "cpu"},
    )


@pytest.mark.parametrize("name", ["history.jsonl", "results.jsonl", "curves.png"])
def test_a_file_of_the_report_that_cannot_be_written_is_a_warning(tmp_path, name, caplog):
    """With a folder in its place, which root cannot write to either."""
    reporting = report(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    for event in EVENTS:
        reporting.add(event)
    reporting.draw()
    assert [reporting.score(step) for step in (1, 2)] == [0.5, 0.75]
    assert reporting.is_best(2)
    assert caplog.text.count(f"{name}: cannot be written") == 1


def test_a_history_that_can_be_written_again_goes_on(tmp_path, caplog):
    history = History(tmp_path)
    history.path.unlink()
    history.path.mkdir()
    for blocked in (True, False):
        history.add(EVENTS[0])
        history.add(EVENTS[1])
        if blocked:
            history.path.rmdir()
    assert [row["step"] for row in history.rows] == [1, 1]
    assert len(history.evaluations) == 2
    assert caplog.text.count("cannot be written") == 1


NAMES = [b"m\xff", "模型".encode("gbk"), b"stra\xdfe 7"]


@pytest.mark.parametrize("raw", NAMES)
def test_a_model_folder_whose_name_is_not_utf8_is_trained_and_continued(raw, encoder, tmp_path):
    folder = tmp_path / os.fsdecode(raw)
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this disk takes UTF-8 only")
    for path in encoder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    flags: dict[str, Any] = {"max_steps": 4, "save_steps": 2}
    scores = bert.main(folder, tmp_path / "out", **flags)
    assert scores
    for name in ("results.jsonl", "history.jsonl", "model_4/manifest.json"):
        (tmp_path / "out" / name).read_bytes().decode("utf-8")
    (line,) = (tmp_path / "out/results.jsonl").read_text().splitlines()
    assert json.loads(line)["signature"].startswith(folder.name + "|")
    for name in ("model_4", "latest"):
        (tmp_path / "out" / name).rename(tmp_path / name)
    again = bert.main(folder, tmp_path / "out", resume_from_checkpoint="latest", **flags)
    assert again == scores
    assert (tmp_path / "out/results.jsonl").read_text().splitlines() == [line]


def test_an_output_folder_whose_name_is_not_utf8_is_written_to(encoder, tmp_path):
    folder = tmp_path / os.fsdecode(b"\xd6\xd0")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this disk takes UTF-8 only")
    bert.main(encoder, folder, max_steps=2, save_steps=2)
    assert (folder / "model_2/manifest.json").is_file()


def test_rows_that_are_left_out_are_told_to_an_ascii_terminal(encoder, tmp_path):
    (tmp_path / "SST-2").mkdir()
    good = "a good film\t1\na bad one\t0\n"
    (tmp_path / "SST-2/train.tsv").write_text(f"sentence\tlabel\n{good}", encoding="utf-8")
    text = f"sentence\tlabel\n{good}schöner Film\tgrün\n"
    (tmp_path / "SST-2/dev.tsv").write_text(text, encoding="utf-8")
    flags = bert.arguments(
        encoder, tmp_path / "out", task_name="SST-2", data_dir=tmp_path, max_steps=1,
        on_bad_row="skip",
    )  # fmt: skip
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, str(bert.SCRIPT), *flags],
        env=os.environ | {"PYTHONPATH": str(bert.ROOT)} | environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"left out dev.tsv:4: " in done.stdout
    assert b"gr\\xfcn" in done.stdout
    assert (tmp_path / "out/model_1").is_dir()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_behind_a_stream_costs_no_checkpoint(stream, encoder, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    flags = bert.arguments(encoder, tmp_path / "out", max_steps=4, save_steps=2)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, str(bert.SCRIPT), *flags],
            env=os.environ | {"PYTHONPATH": str(bert.ROOT)},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: full},
        )
    assert done.returncode == 0
    assert {"model_2", "model_4", "curves.png"} < {p.name for p in (tmp_path / "out").iterdir()}


def test_curves_and_results_of_nothing_are_none(tmp_path):
    History(tmp_path)
    assert plot_curves(tmp_path) is not None
    assert append_result(tmp_path / "new", "a|b", {"acc": 0.5}).is_file()
