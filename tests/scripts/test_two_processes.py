"""Files of a user's own on two processes: numbers, predictions and their order are one's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scripts import two_processes
from tests.scripts.multilingual import DATA, ROOT, json_lines
from tests.training.test_processes import start


def near(value: Any) -> Any:
    """Let numbers differ by how sums are rounded."""
    if isinstance(value, dict):
        return {name: near(inner) for name, inner in value.items()}
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines, but for times, and for the number of processes in a signature."""
    others = ("seconds", "date", "signature")
    return [{name: row[name] for name in row if name not in others} for row in json_lines(path)]


def test_two_processes_are_one(tmp_path: Path) -> None:
    two_processes.make_inputs(tmp_path)
    script = str(ROOT / "tests/scripts/two_processes.py")
    launched = start(
        "-m", "paddle.distributed.launch", "--nproc_per_node", "2", script, str(tmp_path),
        cwd=tmp_path,
    )  # fmt: skip
    two_processes.run(tmp_path, tmp_path / "one", 8)
    _, errors = launched.communicate(timeout=200)
    assert launched.returncode == 0, errors
    files = set()
    for run in two_processes.runs(tmp_path):
        one, two = tmp_path / "one" / run, tmp_path / "two" / run
        assert len(json_lines(two / "history.jsonl")) >= 5
        for name in ("history.jsonl", "results.jsonl"):
            assert (tmp_path / "one" / run / name).stat().st_size
            assert rows_of(two / name) == [*map(near, rows_of(one / name))]
        written = sorted(path.name for path in one.glob("predictions*.jsonl"))
        files |= {f"{run}/{name}" for name in written}
        for name in written:
            rows = json_lines(two / name)
            assert rows == [*map(near, json_lines(one / name))]
            lines = [int(row["id"].rpartition(":")[2]) for row in rows]
            assert lines == sorted({*lines})
    assert len(files) == 6  # "languages" has three
    texts = json_lines(tmp_path / "two/texts/predictions.jsonl")
    assert [row["id"] for row in texts] == [f"new.csv:{line}" for line in range(2, 13)]
    choices = json_lines(tmp_path / "two/choices/predictions.jsonl")
    assert len(choices) == len((DATA / "choice/swag/val.csv").read_text().splitlines()) - 1
