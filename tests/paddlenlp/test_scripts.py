"""Scripts as they were written for PaddleNLP, with their import lines changed, run to the end."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from tests.paddlenlp.checkpoints import ROWS, SCRIPTS, write


def changed(script: Path) -> str:
    """A script that takes PaddleNLP's names from the room."""
    text = script.read_text()
    text = re.sub(r"^from paddlenlp\b", "from paddlenlp_ext.paddlenlp", text, flags=re.M)
    return re.sub(
        r"^import paddlenlp( as \w+)?$",
        lambda line: f"import paddlenlp_ext.paddlenlp{line[1] or ' as paddlenlp'}",
        text,
        flags=re.M,
    )


@pytest.mark.parametrize("name", ROWS)
def test_a_script_trains_saves_and_reloads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    family, head, arguments = ROWS[name]
    begin = write(tmp_path / "begin", family, head)
    (tmp_path / "end").mkdir()
    script = tmp_path / f"{name}.py"
    script.write_text(changed(SCRIPTS / f"{name}.py"))
    monkeypatch.setattr(sys, "argv", [str(script), str(begin), *arguments, str(tmp_path / "end")])
    runpy.run_path(str(script), run_name="__main__")
    numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
    losses = [number for number in numbers if number > 0]
    assert losses[-1] < losses[0] or len(losses) < 4
