"""Runs in one output folder, one after another, and what else may stand in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.training.checkpoint import FORMAT, OWNER, Checkpoints
from paddlenlp_ext.training.events import Evaluated, Progress, StepDone
from paddlenlp_ext.training.folders import LATEST, _manifest_text
from paddlenlp_ext.training.optimization import adamw
from paddlenlp_ext.training.results import History, append_result
from tests.training.tiny_run import save, tiny_model


def checkpoint(folder: Path, step: int, resume: str | None = None, **options: Any) -> None:
    model = tiny_model()
    optimizer = adamw(model, 0.1)
    with Checkpoints(folder, {"seed": 1}, **options) as checkpoints:
        checkpoints.find(resume)
        write = lambda place: save(model, place)  # noqa: E731
        checkpoints.save(f"model_{step}", Progress(step), model, optimizer, write=write)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_second_run_in_a_folder_is_told_of_the_first_ones_checkpoints(tmp_path, caplog):
    checkpoint(tmp_path, 4)
    assert not caplog.records
    checkpoint(tmp_path, 2)
    (said,) = caplog.messages
    assert (
        "has checkpoints of an earlier run (['model_4']), which this run does not continue" in said
    )
    checkpoint(tmp_path, 3, LATEST)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("pointer", ["kept", "gone", "cut", "folder", "of another"])
def test_a_resume_continues_the_last_run_and_no_earlier_one(tmp_path, pointer, monkeypatch):
    checkpoint(tmp_path, 4)
    checkpoint(tmp_path, 9, LATEST)
    dates = (f"2031-01-01T00:00:0{second}+00:00" for second in range(9))
    facts = Checkpoints._facts
    monkeypatch.setattr(Checkpoints, "_facts", lambda *args: {**facts(*args), "date": next(dates)})
    checkpoint(tmp_path, 2)
    latest = tmp_path / LATEST
    if pointer != "kept":
        latest.unlink()
    if pointer == "cut":
        latest.write_bytes(b"model_\xff")
    elif pointer == "folder":
        latest.mkdir()
    elif pointer == "of another":
        latest.write_text("model_77\n")
    with Checkpoints(tmp_path, {"seed": 1}) as checkpoints:
        found = checkpoints.find(LATEST)
        assert found is not None
        assert found.progress.step == 2


FOREIGN = [
    "text",
    "my notes\nof two lines\n",
    b"\xff\0",
    "x" * 10**5,
    "folder",
    "link",
    "to model_4",
]


@pytest.mark.parametrize("name", [LATEST, OWNER])
@pytest.mark.parametrize("what", FOREIGN, ids=range(len(FOREIGN)))
def test_what_somebody_put_in_the_place_of_a_file_of_ours_is_kept(tmp_path, name, what, caplog):
    folder, target = tmp_path / "out", tmp_path / "target"
    target.write_text("process 7 on here\n")
    if name == LATEST and what == "to model_4":
        checkpoint(folder, 4)
        (folder / name).unlink()
    folder.mkdir(exist_ok=True)
    place = folder / name
    if what == "folder":
        place.mkdir()
        (place / "mine").write_text("x")
    elif what == "link":
        place.symlink_to(target)
    elif what == "to model_4":
        place.symlink_to("model_4")
    else:
        place.write_bytes(what if isinstance(what, bytes) else what.encode())
    before = place.lstat()
    checkpoint(folder, 9, LATEST)
    kept = folder / f"{name}.before-1"
    assert (kept.lstat().st_ino, kept.lstat().st_size) == (before.st_ino, before.st_size)
    assert target.read_text() == "process 7 on here\n"
    assert f"{place} was not written here; it is kept as {kept.name}" in caplog.messages
    assert (folder / LATEST).read_text() == "model_9\n"
    checkpoint(folder, 10, LATEST)
    assert not (folder / f"{name}.before-2").exists()


@pytest.mark.parametrize("what", ["text", "folder", "link"])
def test_what_somebody_put_in_the_place_of_the_lock_is_refused(tmp_path, what):
    lock, target = tmp_path / "out/.lock", tmp_path / "target"
    target.write_text("mine")
    lock.parent.mkdir()
    if what == "folder":
        lock.mkdir()
    elif what == "link":
        lock.symlink_to(target)
    else:
        lock.write_text("mine")
    with pytest.raises(UserError, match=r"\.lock: is no lock of a run; move it away, or choose"):
        checkpoint(lock.parent, 4)
    assert what == "folder" or lock.read_text() == "mine"
    assert [path.name for path in lock.parent.iterdir()] == [".lock"]


def test_a_second_run_keeps_the_history_of_the_first(tmp_path):
    texts = []
    for run in range(3):
        history = History(tmp_path)
        history.add(StepDone(run + 1, 9, 0, 0, 0.5, 1e-4, 8, 0.1))
        texts.append(history.path.read_text())
    assert (tmp_path / "history.before-1.jsonl").read_text() == texts[0]
    assert (tmp_path / "history.before-2.jsonl").read_text() == texts[1]
    assert [row["step"] for row in history.rows] == [3]
    again = History(tmp_path, Progress(3))
    assert again.path.read_text() == texts[2]
    assert names(tmp_path) == {"history.jsonl", "history.before-1.jsonl", "history.before-2.jsonl"}


GOOD = {
    "format": FORMAT, "run": "r", "step": 9, "position": {"step": 9, "evaluations": 0},
    "score": None, "data": "", "settings": {}, "environment": {"processes": 1}, "date": "2031",
    "files": {},
}  # fmt: skip
FOREIGN = [
    {"format": FORMAT},
    {"format": FORMAT, "step": "x", "files": {}},
    {"format": FORMAT, "step": 9, "files": {"a": 5}},
    *(
        {name: fact for name, fact in GOOD.items() if name != left_out}
        for left_out in ("run", "step", "position", "score", "settings", "environment", "files")
    ),
    GOOD | {"run": 3},
    GOOD | {"position": [1]},
    GOOD | {"position": {"step": 9, "evaluations": 0, "epoch": "x", "row": 1}},
    GOOD | {"score": "high"},
    GOOD | {"score": float("nan")},
    GOOD | {"settings": None},
    GOOD | {"settings": {"batch_size": "8"}},
    GOOD | {"settings": {"max_steps": None}},
    GOOD | {"environment": {"processes": []}},
    GOOD | {"step": True},
    GOOD | {"step": -1},
]


@pytest.mark.parametrize("keep", [0, 1])
def test_a_foreign_manifest_is_no_checkpoint(tmp_path, keep, caplog):
    for number, manifest in enumerate(FOREIGN):
        (tmp_path / f"x{number}").mkdir()
        (tmp_path / f"x{number}/manifest.json").write_text(_manifest_text(manifest))
    for name, text in (("deep", '{"a":' * 3000 + "1" + "}" * 3000), ("list", "[]"), ("cut", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    (tmp_path / "odd/manifest.json").mkdir(parents=True)
    before = names(tmp_path)
    with Checkpoints(tmp_path, {"seed": 1}, keep=keep) as checkpoints:
        assert checkpoints.find(LATEST) is None
    warned = caplog.text.count("is no checkpoint's; it is not used")
    assert warned >= 14
    checkpoint(tmp_path, 2, keep=keep)
    checkpoint(tmp_path, 3, LATEST, keep=keep)
    assert before < names(tmp_path)
    with Checkpoints(tmp_path, {"seed": 1}) as checkpoints:
        assert checkpoints.find(LATEST).progress.step == 3


BAD_LINES = [
    b"no JSON",
    b"",
    b"{}",
    b"7",
    b"\xff\xfe",
    b"[" * 9999,
    b'{"loss": 1}',
    b'{"step": "2", "loss": 1}',
    b'{"step": 2, "loss": "x"}',
    b'{"step": 2, "loss": 1, "split": "dev"}',
    b'{"step": 2, "loss": 1, "split": "dev", "metrics": {"acc": "x"}}',
]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_of_a_history_is_left_out_and_kept_elsewhere(tmp_path, bad, caplog):
    line = bad + b"\n"
    history = History(tmp_path)
    history.add(StepDone(1, 9, 0, 0, 0.5, 1e-4, 8, 0.1))
    history.add(Evaluated(1, "dev", 0.5, {"acc": 0.5}, 8, 0.1))
    good = history.path.read_bytes()
    history.path.write_bytes(line + good + line)
    again = History(tmp_path, Progress(1, 1))
    assert again.path.read_bytes() == good
    assert [row["split"] for row in again.evaluations] == ["dev"]
    assert (tmp_path / "history.before-1.jsonl").read_bytes() == line + good + line
    assert caplog.text.count("2 lines are no rows of a history") == 1


@pytest.mark.parametrize("progress", [None, Progress(1)])
def test_a_folder_in_place_of_a_history_stays(tmp_path, progress):
    (tmp_path / "history.jsonl").mkdir()
    (tmp_path / "history.jsonl/mine.txt").write_text("mine")
    history = History(tmp_path, progress)
    history.add(StepDone(2, 9, 0, 0, 0.5, 1e-4, 8, 0.1))
    assert [row["step"] for row in history.rows] == [2]
    assert (tmp_path / "history.before-1.jsonl/mine.txt").read_text() == "mine"


def test_a_result_stands_once_in_the_results_however_often_it_is_measured(tmp_path):
    for seconds in (1.5, 2.5, 2.5):
        append_result(tmp_path, "a|b", {"acc": 0.5}, step=4, loss=0.25, seconds=seconds)
    append_result(tmp_path, "a|b", {"acc": float("nan")}, step=5, loss=0.25)
    append_result(tmp_path, "a|b", {"acc": float("nan")}, step=5, loss=0.25)
    append_result(tmp_path, "a|b", {"acc": 0.75}, step=5, loss=0.25)
    append_result(tmp_path, "a|c", {"acc": 0.5}, step=4, loss=0.25)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    expected = [("a|b", 0.5), ("a|b", None), ("a|b", 0.75), ("a|c", 0.5)]
    assert [(line["signature"], line["metrics"]["acc"]) for line in lines] == expected


@pytest.mark.parametrize("there", [b'{"signature": "a|', b"no JSON\n", b"[1]\n", b"\xff\n", b"\n"])
def test_what_stands_in_results_stays_and_spoils_no_line(tmp_path, there):
    (tmp_path / "results.jsonl").write_bytes(there)
    append_result(tmp_path, "a|b", {"acc": 0.5}, step=4)
    append_result(tmp_path, "a|b", {"acc": 0.5}, step=4)
    content = (tmp_path / "results.jsonl").read_bytes()
    assert content.startswith(there)
    assert json.loads(content.splitlines()[-1])["metrics"] == {"acc": 0.5}
    assert content.count(b"acc") == 1


def test_a_history_that_was_being_rewritten_when_the_run_was_killed_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr("paddlenlp_ext.training.results.discard", lambda folder: None)
    with pytest.raises(KeyboardInterrupt):
        History(tmp_path, Progress(1))
    monkeypatch.undo()
    assert [path.name[:5] for path in tmp_path.iterdir()] == [".tmp-"]
    with Checkpoints(tmp_path, {}):
        assert not [*tmp_path.glob(".tmp-*")]
