"""Runs that an earlier version began are continued: its checkpoints lie in `tests/fixtures`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.scripts.multilingual import ROOT, command_line, json_lines, launch

FIXTURES = ROOT / "tests/fixtures/e0d3c91"
RUNS = sorted(path.parent.name for path in FIXTURES.glob("*/run.json"))


@pytest.mark.parametrize("name", RUNS)
def test_continues_as_the_run_that_was_not_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # the paths of the command line begin there
    run = json.loads((FIXTURES / name / "run.json").read_text())
    output = tmp_path / "output"
    (checkpoint,) = (path for path in (FIXTURES / name).iterdir() if path.is_dir())
    shutil.copytree(checkpoint, output / checkpoint.name)
    flags = run["flags"] | {"output_dir": output, "resume_from_checkpoint": "latest"}
    script = ROOT / "examples/language_model" / run["script"]
    code, _, errors = launch(script, command_line(flags), run["processes"])
    assert code == 0, errors
    history = json_lines(output / "history.jsonl")
    assert len(history) == len(run["history"])
    for row, expected in zip(history, run["history"], strict=True):
        assert (row["step"], row.get("split")) == (expected["step"], expected.get("split"))
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert row.get("metrics", {}) == pytest.approx(expected.get("metrics", {}), rel=1e-6)
