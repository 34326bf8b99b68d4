"""The losses beside the numbers of docs/results.md are those of the runs' own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import last_pass

TABLE = """
title = "Two sides"
source = ""
columns = ["Model"]
numbers = ["dev acc"]
command = "paddlenlp-ext train glue"
digits = 1
seeds = 2
arguments = { num_train_epochs = 2 }
peer = { name = "theirs", command = "python x.py" }
rows = [{ names = ["A"] }]
"""


def write(path: Path, *rows: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_last_pass_of_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sides.toml").write_text(TABLE)
    folder = tmp_path / "out/sides/a/page"
    for seed, acc in ((1, 0.5), (2, 0.7)):
        evaluated = {"step": 4, "loss": 9.0, "split": "dev", "metrics": {"acc": acc}}
        updates = [{"step": step, "loss": float(step * seed)} for step in (1, 2, 3, 4)]
        write(folder / f"seed-{seed}/history.jsonl", *updates, evaluated)
        result = {"signature": "m|t|dev|acc", "metrics": {"acc": acc}, "step": 4}
        write(folder / f"seed-{seed}/results.jsonl", result)
        said = {"losses": [8.0, 8.0, 1.0, 2.0], "results": {"dev": {"acc": acc - 0.1}}}
        write(folder / f"theirs-seed-{seed}/log.txt", said)
    words = [str(tmp_path / "sides.toml"), str(tmp_path / "out")]
    last_pass.main(words)
    *_, row, together = capsys.readouterr().out.splitlines()
    assert row == "| A | 3.50, 7.00 | 50.0, 70.0 | 1.50, 1.50 | 40.0, 60.0 |"
    assert json.loads(together)["value"] == pytest.approx(10)
    (folder / "seed-2/results.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"seed-2: expected a complete run"):
        last_pass.main(words)
