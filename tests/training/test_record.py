"""What a run leaves for reports, from its start to whatever its end is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.process.signals import Terminated
from paddlenlp_ext.reporting.runs import RunRecord
from paddlenlp_ext.training import record
from paddlenlp_ext.training.events import Evaluated, Predicted, Progress, StepDone
from paddlenlp_ext.training.folders import read_manifest
from paddlenlp_ext.training.record import Record
from tests.scripts import test_bert_run_glue as bert
from tests.training.tiny_task import encoder, train

FACTS: dict[str, Any] = {"task": "t", "total_steps": 4}


def evaluated(step: int, logits: Any, labels: Any, loss: float = 0.5) -> Evaluated:
    return Evaluated(
        step, "dev", loss, {"acc": 0.5}, 2, 0.25, predicted=Predicted(logits, np.array(labels))
    )


def told(folder: Path, name: str = "record.json") -> dict[str, Any]:
    found = json.loads((folder / name).read_text("utf-8"))
    assert type(found) is dict
    return found


@pytest.mark.parametrize("has_texts", [True, False])
def test_a_run_and_its_outcomes(has_texts, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["paddlenlp-ext train glue", "--task_name", "a b"])
    (tmp_path / "encoder").mkdir()
    output = tmp_path / "out"
    output.mkdir()
    (output / "record.json").write_text('{"mine": 1}')  # the user's own
    flags: dict[str, Any] = {"max_steps": 4, "save_steps": 2, "error_texts": str(has_texts)}
    scores = bert.main(bert.tiny_bert(tmp_path / "encoder"), output, **flags)
    assert told(output, "record.json.before-1") == {"mine": 1}
    facts = told(output)
    manifest = read_manifest(output / "model_4")
    assert manifest is not None
    assert facts["data"]["train"] == {"rows": 40, "digest": manifest["data"]}
    assert facts["data"]["dev"]["rows"] == 24
    assert facts["settings"] == manifest["settings"]
    assert facts["signature"].startswith("encoder|glue/rte|train|loss|bs8|lr1e-3|steps4|")
    assert facts["ended"] == "complete"
    assert facts["best_step"] == int((output / "best").read_text().strip()[6:])
    assert facts["memory"] > 1e8
    (start,) = facts["starts"]
    assert (start["step"], start["command"]) == (0, "paddlenlp-ext train glue --task_name 'a b'")
    run = RunRecord.read(output)
    step, splits = run.outcome()
    assert step == facts["best_step"]
    counts = np.array(splits["dev"]["confusion"])
    assert splits["dev"]["labels"] == ["entailment", "not_entailment"]
    last = told(output, "outcomes.json")["last"]
    counts = np.array(last["splits"]["dev"]["confusion"])
    assert last["step"] == 4
    assert counts.trace() / counts.sum() == pytest.approx(scores["dev acc"])
    error = splits["dev"]["errors"][0]
    assert error["source"].startswith("dev.tsv:")
    assert ("text" in error) == has_texts
    assert not has_texts or " ‖ " in error["text"]


def test_labels_in_another_order_count_as_the_tasks(tmp_path):
    made = Record(tmp_path, FACTS, resume=None, labels=["a", "b", "c"], columns=(2, 0, 1))
    logits = 5 * np.eye(3, dtype=np.float32)[[2, 0, 1, 2]]  # the model says c, a, b, c
    made.add(evaluated(2, logits, [0, 1, 2, 1]))
    made.evaluated(2, 2)
    found = told(tmp_path, "outcomes.json")["best"]["splits"]["dev"]
    assert found["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert [error["source"] for error in found["errors"]] == ["row 4"]


def test_a_run_that_goes_on_keeps_its_starts_and_its_best(tmp_path):
    encoder(tmp_path / "encoder")

    class Stop(Exception):  # noqa: N818
        pass

    def stop(event: Any, training: Any) -> None:
        if isinstance(event, StepDone) and event.step == 7:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path, stop)
    assert told(tmp_path / "out")["ended"] == "failed: Stop"
    before = told(tmp_path / "out")["evaluation_seconds"]
    train(tmp_path)
    facts, found = told(tmp_path / "out"), told(tmp_path / "out", "outcomes.json")
    assert [start["step"] for start in facts["starts"]] == [0, 6]
    assert facts["ended"] == "complete"
    assert facts["evaluation_seconds"] >= before
    assert found["last"]["step"] == facts["total_steps"]
    assert found["best"]["step"] == facts["best_step"]
    assert {*found["best"]["splits"]} == {"dev_2", "dev_3"}
    assert "[CLS]" in found["last"]["splits"]["dev_2"]["errors"][0]["text"]


def test_a_complete_run_that_is_asked_for_again_keeps_its_best_step(tmp_path):
    encoder(tmp_path / "encoder")
    train(tmp_path)
    before = told(tmp_path / "out")
    train(tmp_path)
    after = told(tmp_path / "out")
    assert len(after["starts"]) == 2
    assert after["best_step"] == before["best_step"] < before["total_steps"]
    made = Record(tmp_path / "out", FACTS, resume=Progress(before["best_step"] - 1))
    assert "best_step" not in told(tmp_path / "out"), "what comes after is dropped"
    made.evaluated(2, 2)
    assert told(tmp_path / "out")["best_step"] == 2


@pytest.mark.parametrize(
    "damaged", [{"starts": 1}, {"evaluation_seconds": "x"}, {"best_step": [3]}, {"starts": [[]]}]
)
def test_what_is_not_as_it_was_written_begins_anew(damaged, tmp_path):
    facts = {"format": record.FORMAT, "starts": [{"step": 0}], **damaged}
    (tmp_path / "record.json").write_text(json.dumps(facts))
    made = Record(tmp_path, FACTS, resume=Progress(4))
    made.add(evaluated(4, np.eye(2, dtype=np.float32), [0, 0]))
    made.evaluated(4, 4)
    assert [start["step"] for start in told(tmp_path)["starts"]][-1] == 4


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (Terminated(15), "stopped by signal 15"),
        (KeyboardInterrupt(), "stopped by Ctrl-C"),
        (ValueError("two\nlines"), "failed: two\\nlines"),
        (None, "ended early"),
    ],
)
def test_ends(error, how, tmp_path):
    made = Record(tmp_path, FACTS, resume=Progress(1))
    assert "ended" not in told(tmp_path)
    made.add(StepDone(2, 4, 0, 0, 0.5, 1e-4, 8, 0.1))
    made.end(error)
    assert told(tmp_path)["ended"] == how


def test_a_new_run_begins_anew_and_numbers_that_are_none_are_left_out(tmp_path):
    for _ in range(2):
        made = Record(tmp_path, FACTS, resume=None)
        assert not (tmp_path / "outcomes.json").exists() or "best" not in told(
            tmp_path, "outcomes.json"
        )
        made.add(evaluated(2, np.eye(2, dtype=np.float32), [0, 0], loss=float("nan")))
        made.evaluated(2, None)
        assert not (tmp_path / "outcomes.json").exists() or "last" not in told(
            tmp_path, "outcomes.json"
        )
        made.add(evaluated(4, np.eye(2, dtype=np.float32), [0, 0]))
        made.evaluated(4, 4)
        assert told(tmp_path, "outcomes.json")["best"]["step"] == 4
        assert len(told(tmp_path)["starts"]) == 1


@pytest.mark.parametrize("name", ["record.json", "outcomes.json"])
def test_a_file_that_cannot_be_written_is_a_warning_once(name, tmp_path, caplog):
    made = Record(tmp_path, FACTS, resume=None)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    for step in (2, 4):
        made.add(evaluated(step, np.eye(2, dtype=np.float32), [0, 0]))
        made.evaluated(step, step)
    assert caplog.text.count(f"{name}: cannot be written") == 1


def test_commands_are_those_of_a_shell(monkeypatch):
    for words, expected in (
        (["/usr/bin/paddlenlp-ext", "train", "a b"], "/usr/bin/paddlenlp-ext train 'a b'"),
        (["examples/run.py"], "python examples/run.py"),
    ):
        monkeypatch.setattr(sys, "argv", words)
        assert record.command() == expected
