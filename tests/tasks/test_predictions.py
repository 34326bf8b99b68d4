"""Files of predictions say what the scores say, and GLUE's are as its server takes them."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.tasks.prediction_files import label_writer, write_all, write_labels
from paddlenlp_ext.tasks.predictions import (
    LabelPredictions,
    best_first,
    kind_of,
    probabilities,
)
from paddlenlp_ext.tasks.submissions import ROWS, pack_submission, write_submission

SPLITS = [(task, split) for task in GLUE.values() for split in task.unlabelled]
ANSWERS = {  # as https://gluebenchmark.com/faq has them
    "MNLI": {"contradiction", "entailment", "neutral"},
    "QNLI": {"entailment", "not_entailment"},
    "RTE": {"entailment", "not_entailment"},
}


def read(folder: Path, part: str = "") -> tuple[list[list[str]], list[dict]]:
    with (folder / f"predictions{part}.tsv").open(encoding="utf-8", newline="") as file:
        table = [*csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    lines = (folder / f"predictions{part}.jsonl").read_text("utf-8").splitlines()
    return table, [json.loads(line) for line in lines]


def test_probabilities_of_each_kind():
    logits = np.array([[3.0, -1000.0, 1.0], [1000.0, 0.0, -2.0]], np.float32)
    soft, apart = probabilities(logits, "softmax"), probabilities(logits, "sigmoid")
    np.testing.assert_allclose(soft.sum(-1), 1)
    assert soft[0, 0] / soft[0, 2] == pytest.approx(np.exp(2))
    np.testing.assert_allclose(apart[:, 0], [1 / (1 + np.exp(-3)), 1])
    assert probabilities(logits, "none").tolist() == logits.tolist()
    assert best_first(np.array([1, 3, 2, 3]), 3) == [1, 3, 2]
    assert kind_of(1, None) == kind_of(3, "regression") == "none"
    assert kind_of(2, None) == kind_of(1, "single_label_classification") == "softmax"
    assert kind_of(2, "multi_label_classification") == "sigmoid"


def test_labels_of_one_kind(tmp_path):
    logits = np.array([[0.0, np.log(3)], [5.0, -5.0]], np.float32)
    sources = ["test.tsv:2", "test.tsv:3"]
    found = LabelPredictions.of(logits, sources, ["no", 'yes\t"indeed"'], "softmax")
    write_labels(tmp_path / "new", "de", found)
    table, lines = read(tmp_path / "new", "_de")
    assert table[0] == ["id", "label", "probability_no", 'probability_yes "indeed"']
    assert table[1] == ["test.tsv:2", 'yes "indeed"', "0.250000", "0.750000"]
    assert table[2][1] == "no"
    assert lines[0]["id"] == "test.tsv:2"
    assert lines[0]["label"] == 'yes\t"indeed"'
    assert lines[0]["probabilities"] == pytest.approx({"no": 0.25, 'yes\t"indeed"': 0.75})
    assert len(lines) == 2


def test_several_labels_and_scores(tmp_path):
    logits = np.array([[2.0, -2.0, 0.0], [-1.0, -1.0, -1.0]], np.float32)
    write_labels(
        tmp_path, "", LabelPredictions.of(logits, ["a:1", "a:2"], ["x", "y", "z"], "sigmoid")
    )
    table, lines = read(tmp_path)
    assert [row[1] for row in table] == ["label", "x,z", ""]
    assert [line["label"] for line in lines] == [["x", "z"], []]
    write_labels(
        tmp_path, "", LabelPredictions.of(logits[:, :1], ["a:1", "a:2"], ["LABEL_0"], "none")
    )
    table, lines = read(tmp_path)
    assert table == [["id", "score"], ["a:1", "2.000000"], ["a:2", "-1.000000"]]
    assert lines == [{"id": "a:1", "score": 2.0}, {"id": "a:2", "score": -1.0}]


def check(path: Path, answers: set[str] | None, rows: int) -> None:
    """Check a file as the server does; None stands for scores from 0 to 5."""
    data = path.read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"\n")
    header, *lines = data.decode("ascii").removesuffix("\n").split("\n")
    assert header == "index\tprediction"
    fields = [line.split("\t") for line in lines]
    assert [index for index, _ in fields] == [str(number) for number in range(rows)]
    for _, answer in fields:
        assert answer in answers if answers else 0 <= float(answer) <= 5


@pytest.mark.parametrize(("task", "split"), SPLITS)
def test_every_submission_is_as_the_server_takes_it(task, split, tmp_path):
    name = {"test": "", "test_matched": "-m", "test_mismatched": "-mm"}[split]
    rows = ROWS[f"{task.name}{name}.tsv"]
    logits = np.random.default_rng(3).normal(size=(rows, task.num_labels)).astype("float32") * 9
    path = write_submission(tmp_path / "new", task, split, logits)
    assert path == tmp_path / "new" / f"{task.name}{name}.tsv"
    answers = None if task.labels is None else ANSWERS.get(task.name, {"0", "1"})
    check(path, answers, rows)
    lines = path.read_text().splitlines()[1:]
    if answers:
        assert {line.split("\t")[1] for line in lines} == answers
        assert lines[7].split("\t")[1] == task.labels[logits[7].argmax()]
    else:
        found = [float(line.split("\t")[1]) for line in lines]
        np.testing.assert_allclose(found, logits[:, 0].clip(0, 5), atol=1e-6)


def test_the_archive_holds_all_tasks_and_says_what_it_lacks(tmp_path):
    for task, split in SPLITS:
        rows = {"test": 3, "test_matched": ROWS["MNLI-m.tsv"], "test_mismatched": 2}[split]
        write_submission(tmp_path, task, split, np.zeros([rows, task.num_labels], np.float32))
    (tmp_path / "notes.txt").write_text("mine")
    archive, lacking = pack_submission(tmp_path)
    with zipfile.ZipFile(archive) as zipped:
        assert zipped.namelist() == [name for name in ROWS if name not in ("AX.tsv", "WNLI.tsv")]
        assert zipped.read("RTE.tsv") == (tmp_path / "RTE.tsv").read_bytes()
        assert {info.date_time for info in zipped.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert lacking[:3] == ["no AX.tsv", "no WNLI.tsv", "CoLA.tsv has 3 rows, officially 1,063"]
    assert not any("MNLI-m.tsv" in line for line in lacking)
    before = archive.read_bytes()
    assert pack_submission(tmp_path)[0].read_bytes() == before


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    found = LabelPredictions.of(np.zeros([1, 2]), ["a:1"], ["x", "y"], "softmax")
    table = write_labels(tmp_path, "", found)
    before = table.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WeightsError, match=r"predictions.jsonl: cannot be written: No space left"):
        write_labels(
            tmp_path,
            "",
            LabelPredictions.of(np.ones([2, 2]), ["a:1", "a:2"], ["x", "y"], "softmax"),
        )
    assert table.read_bytes() == before
    assert len([*tmp_path.iterdir()]) == 2


def test_of_rows_that_fail_nothing_is_left(tmp_path):
    rows = iter([("a:1", np.ones(1)), ("a:2", np.ones(2))])
    with pytest.raises(ValueError, match="longer"):
        write_all(label_writer(tmp_path / "new/deep", "", ["x"], "softmax"), rows)
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file: cannot be written: File exists"):
        write_labels(tmp_path / "file", "", LabelPredictions([], np.ones([0, 1]), ["x"], "softmax"))
