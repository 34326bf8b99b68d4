"""The same scripts under PaddleNLP 2.8.1 and with their import lines changed: the same numbers.

Not that of RemBERT, whose model PaddleNLP cannot run on Paddle 3.3, nor that of ELECTRA's
pretraining, whose class there lacks an attribute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paddlenlp.checkpoints import ROWS, SCRIPTS, write
from tests.paddlenlp.test_scripts import changed
from tests.parity.paddlenlp_reference import PYTHON, needs_paddlenlp

pytestmark = needs_paddlenlp

RUN_THERE = [name for name in ROWS if name not in ("rembert_xnli", "electra_pretraining")]


def numbers(python: str, script: Path, *arguments: str) -> list[float]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [python, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", RUN_THERE)
def test_a_script_computes_the_same_under_paddlenlp(name: str, tmp_path: Path) -> None:
    family, head, arguments = ROWS[name]
    begin = str(write(tmp_path / "begin", family, head))
    for folder in ("there", "here"):
        (tmp_path / folder).mkdir()
    script = tmp_path / f"{name}.py"
    script.write_text(changed(SCRIPTS / script.name))
    there = numbers(PYTHON, SCRIPTS / script.name, begin, *arguments, str(tmp_path / "there"))
    here = numbers(sys.executable, script, begin, *arguments, str(tmp_path / "here"))
    assert here == pytest.approx(there, abs=2e-4)
    assert len(here) >= 6
