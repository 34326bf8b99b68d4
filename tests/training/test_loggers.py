"""Loggers: what they are told, that they stop no training, and what their own readers find.

`make loggers` installs TensorBoard, VisualDL and wandb, and runs all of these tests; without them
those that read files back are skipped.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.cli.program import as_flags
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.training import distributed, loggers
from paddlenlp_ext.training.events import Progress, StepDone
from paddlenlp_ext.training.loggers import LOGGERS, Loggers, chosen, require, scalars
from paddlenlp_ext.training.report import Report
from paddlenlp_ext.training.results import History
from tests.training import tiny_task

Points = dict[str, list[tuple[int, float]]]

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training import tiny_task

def kill(event, training):
    if event.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)

tiny_task.train(Path(sys.argv[1]), kill, report_to=sys.argv[2].split(","), save_steps=4)
"""


def test_names(monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: name != "wandb" or None)
    assert chosen("none") == chosen("") == ()
    assert chosen("VisualDL, tensorboard,visualdl") == ("visualdl", "tensorboard")
    with pytest.raises(UserError) as unknown:
        chosen("tensorbord")
    assert as_flags(str(unknown.value)) == (
        "--report_to: expected some of tensorboard, visualdl, wandb, got 'tensorbord'"
    )
    with pytest.raises(UserError) as missing:
        chosen("tensorboard,wandb")
    assert as_flags(str(missing.value)) == (
        "--report_to: wandb is not installed; pip install 'paddlenlp-ext[wandb]'"
    )


def test_one_that_is_missing_or_broken_ends_a_run_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "visualdl", None)  # which importing refuses
    with pytest.raises(UserError, match=r"visualdl fails \(import .*ext\[visualdl\]"):
        require(["visualdl"])
    with pytest.raises(UserError, match="visualdl fails"):
        tiny_task.train(tmp_path, report_to=["visualdl"])
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_the_script_says_which_extra_is_missing(tmp_path):
    flags = "--model_type bert --model_name_or_path m --task_name rte --report_to wandb"
    ended = subprocess.run(
        [sys.executable, "examples/language_model/bert/run_glue.py", *flags.split(),
         "--output_dir", tmp_path / "out"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "error: --report_to: wandb is not installed; pip install 'paddlenlp-ext[wandb]'\n"
    )
    assert not (tmp_path / "out").exists()


def test_scalars_are_called_as_transformers_calls_them():
    update = {"step": 5, "loss": 0.5, "learning_rate": 1e-5, "seconds": 0.1}
    assert scalars(update, 10) == {
        "train/loss": 0.5, "train/learning_rate": 1e-5, "train/epoch": 0.5,
    }  # fmt: skip
    metrics = {"acc": 0.75, "acc and f1": None}
    assert scalars({"step": 5, "loss": None, "split": "dev", "metrics": metrics}, 10) == {
        "eval/acc": 0.75
    }
    metrics["acc and f1"] = 0.5
    row = {"step": 5, "loss": 1.5, "split": "dev_matched", "metrics": metrics}
    assert scalars(row, 10) == {
        "eval/matched_loss": 1.5, "eval/matched_acc": 0.75, "eval/matched_acc_and_f1": 0.5,
    }  # fmt: skip
    assert next(iter(scalars({**row, "split": "test_de"}, 10))) == "test/de_loss"


class Kept:
    """Keeps what it is told; fails from a step on."""

    found: list[tuple[int, float]]
    reached = -1
    fails_at = math.inf

    def __init__(self, *given: Any):
        type(self).found = []

    def add(self, step: int, values: dict[str, float]) -> None:
        if step >= self.fails_at:
            raise OSError("no space on Bearer abc.def")
        if "train/loss" in values:
            self.found.append((step, values["train/loss"]))

    def close(self, *, failed: bool) -> None:
        self.found.append((-1, failed))


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: True)
    monkeypatch.setattr(loggers, "_import", lambda name: None)
    monkeypatch.setattr(Kept, "fails_at", math.inf)
    monkeypatch.setattr(loggers, "LOGGERS", dict.fromkeys(LOGGERS, Kept))


def test_one_that_fails_is_left_out_with_one_warning(tmp_path, kept, monkeypatch, caplog):
    monkeypatch.setattr(Kept, "fails_at", 3)
    tiny_task.encoder(tmp_path / "encoder")
    found = tiny_task.train(tmp_path, report_to=["wandb"], num_train_epochs=1)
    assert Kept.found == [(step, found["losses"][step]) for step in (1, 2)]
    (warning,) = [one.message for one in caplog.records if "wandb" in one.message]
    assert warning == (
        "wandb fails (OSError: no space on Bearer *******); the run goes on without it"
    )
    assert (tmp_path / "out/history.jsonl").read_text().count('"learning_rate"') == 5


def test_a_run_that_is_stopped_tells_so(tmp_path, kept):
    def stop(event, training):
        if event.step == 2:
            raise KeyboardInterrupt

    tiny_task.encoder(tmp_path / "encoder")
    with pytest.raises(KeyboardInterrupt):
        tiny_task.train(tmp_path, stop, report_to=["visualdl"], num_train_epochs=1)
    assert Kept.found[-1] == (-1, True)
    tiny_task.train(tmp_path, report_to=["visualdl"], num_train_epochs=1)
    assert [step for step, _ in Kept.found] == [1, 2, 3, 4, 5, -1]
    assert Kept.found[-1] == (-1, False)


def test_only_the_first_process_tells_them(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    told = Loggers(["wandb"], tmp_path, run="r", facts={}, steps_per_epoch=1)
    monkeypatch.setattr(told, "begin", lambda *given: pytest.fail("told by another process"))
    report = Report(
        tmp_path, log_step=lambda *given: "", log_evaluation=lambda *given: "", logging_steps=1,
        splits=0, total_steps=1, facts={}, loggers=told,
    )  # fmt: skip
    report.add(StepDone(1, 1, 0, 0, loss=1.0, learning_rate=0.1, examples=3, seconds=0.1))
    report.close(failed=False)
    assert [*tmp_path.iterdir()] == []


def test_wandb_continues_the_run_of_the_same_id_where_its_server_has_come_to(tmp_path, monkeypatch):
    sent: list[tuple[int, Any]] = []
    begun: dict[str, Any] = {}
    run = SimpleNamespace(
        step=8,  # the first that it lacks
        log=lambda values, step, commit: sent.append((step, values["train/loss"])),
        finish=lambda exit_code: sent.append((-1, exit_code)),
    )
    fake = ModuleType("wandb")
    fake.init = lambda **options: (begun.update(options), run)[1]  # type: ignore[attr-defined]
    fake.Settings = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_RUN_ID", "own[1]")
    (tmp_path / "wandb/offline-run-0-own[1]").mkdir(parents=True)
    rows = [{"step": step, "loss": step / 8, "learning_rate": 0.1} for step in range(1, 11)]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:6]))
    told = Loggers(["wandb"], tmp_path, run="id1", facts={"seed": 3}, steps_per_epoch=1)
    told.begin(History(tmp_path, Progress(6)), 6)
    for row in rows[6:]:
        told.add(row)
    told.close(failed=True)  # what there is of step 10 may not be all
    assert sent == [(8, 1.0), (9, 1.125), (-1, 1)]
    assert (begun["id"], begun["resume"], begun["project"]) == ("own[1]", "allow", "mine")
    assert [one.name for one in (tmp_path / "wandb").iterdir()] == ["before-offline-run-0-own[1]"]
    assert (begun["config"], begun["dir"]) == ({"seed": 3}, str(tmp_path))


def of_tensorboard(output: Path) -> Points:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(output / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    tags = found.Tags()["scalars"]
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in tags}


def of_visualdl(output: Path) -> Points:
    reader = pytest.importorskip("visualdl").LogReader
    (path,) = (output / "visualdl").iterdir()
    found = reader(file_path=str(path))
    tags = found.get_tags()["scalar"]
    return {tag: [(one.id, one.value) for one in found.get_data("scalar", tag)] for tag in tags}


def of_wandb(output: Path) -> Points:
    """Read what `wandb sync` would send: its records in LevelDB's frames."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (path,) = (output / "wandb").glob("offline-run-*/*.wandb")
    found: Points = {}
    for content in frames(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(content)
        items = {
            one.key or "/".join(one.nested_key): json.loads(one.value_json)
            for one in record.history.item
        }
        for tag, value in items.items():
            if not tag.startswith("_"):
                found.setdefault(tag, []).append((items["_step"], value))
    return found


def frames(data: bytes) -> Iterator[bytes]:
    place, content = 7, b""  # after W&B's own header
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        content += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield content
            content = b""


READERS = {"tensorboard": of_tensorboard, "visualdl": of_visualdl, "wandb": of_wandb}


@pytest.fixture(scope="module")
def killed_and_continued(tmp_path_factory) -> Path:
    """A run with all loggers that are there, killed at step 7 with a checkpoint of step 4."""
    names = [name for name in LOGGERS if find_spec(name)]
    if not names:
        pytest.skip("no logger is installed (make loggers)")
    folder = tmp_path_factory.mktemp("run")
    tiny_task.encoder(folder / "encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        words = [sys.executable, "-c", KILLED, folder, ",".join(names)]
        assert subprocess.run(words, check=False).returncode == -9
        before = (folder / "out/history.jsonl").read_text().splitlines()
        assert json.loads(before[-1])["step"] == 7
        tiny_task.train(folder, report_to=names, save_steps=4)
    return folder / "out"


@pytest.mark.parametrize("name", LOGGERS)
def test_readers_find_the_history_and_no_step_twice(name, killed_and_continued):
    pytest.importorskip(name)
    rows = [json.loads(line) for line in (killed_and_continued / "history.jsonl").open()]
    expected: Points = {}
    for row in rows:
        for tag, value in scalars(row, 5).items():
            expected.setdefault(tag, []).append((row["step"], value))
    assert [step for step, _ in expected["train/loss"]] == [*range(1, 21)]
    found = READERS[name](killed_and_continued)
    assert found.keys() == expected.keys()
    for tag, points in expected.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in points], tag
        values = [value for _, value in found[tag]], [value for _, value in points]
        rounded = np.float64 if name == "wandb" else np.float32
        np.testing.assert_array_equal(rounded(values[0]), rounded(values[1]), err_msg=tag)


def test_another_run_in_the_folder_has_files_of_its_own(killed_and_continued, tmp_path):
    names = [name for name in ("tensorboard", "visualdl") if find_spec(name)]
    if not names:
        pytest.skip("neither is installed (make loggers)")
    output = tmp_path / "out"
    shutil.copytree(killed_and_continued, output)
    told = Loggers(names, output, run="r", facts={}, steps_per_epoch=1)
    told.begin(History(output), None)
    told.add({"step": 1, "loss": 3.0, "learning_rate": 0.5})
    told.close(failed=False)
    for name in names:
        assert READERS[name](output)["train/loss"] == [(1, 3.0)]
        kept = {path.name for path in (output / f"{name}.before-1").iterdir()}
        assert kept == {path.name for path in (killed_and_continued / name).iterdir()}
