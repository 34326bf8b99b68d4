"""Scripts as they were written for PaddleNLP, with their import lines changed, run to the end."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.paddlenlp.stand_in import Names, stand_in
from tests.paddlenlp.checkpoints import ROWS, SCRIPTS, write

ROOT = Path(__file__).parents[2]


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


def test_a_script_runs_as_it_is(tmp_path: Path) -> None:
    family, head, arguments = ROWS["ernie_m_tags"]
    begin = write(tmp_path / "begin", family, head)
    (tmp_path / "end").mkdir()
    (tmp_path / "beside.py").write_text("from paddlenlp.data import Pad\n")
    script = tmp_path / "script.py"
    text = (SCRIPTS / "ernie_m_tags.py").read_text()
    more = "import paddlenlp.transformers.bert.modeling as theirs\nfrom beside import Pad as _\n"
    script.write_text(text.replace("import json\n", f"import json\n{more}", 1))
    done = run(script, begin, *arguments, tmp_path / "end")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])) > 1
    script.write_text("from paddlenlp.taskflow import Taskflow")
    done = run(script)
    assert done.returncode == 1
    assert "No module named 'paddlenlp.taskflow' in paddlenlp_ext.paddlenlp" in done.stderr


def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path / "none.py")
    expected = f"error: {tmp_path}/none.py: expected a script in Python, got no file\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a script as it is, as users do."""
    command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_ext.paddlenlp", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_process_that_has_paddlenlp_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paddlenlp", ModuleType("paddlenlp"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    with pytest.raises(UserError, match="is imported already: call `stand_in` before"):
        stand_in()
    monkeypatch.delitem(sys.modules, "paddlenlp")
    stand_in()
    stand_in()
    assert sum(isinstance(finder, Names) for finder in sys.meta_path) == 1


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
