"""The room beside PaddleNLP 2.8.1: defaults, arguments, and the numbers of the same scripts.

Not the script of RemBERT, whose model PaddleNLP cannot run on Paddle 3.3, nor that of ELECTRA's
pretraining, whose class there lacks an attribute.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.paddlenlp import transformers
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


CONFIGS = [name for name in transformers.__all__ if name.endswith("Config")]
CONFIGS = [name for name in CONFIGS if name not in ("AutoConfig", "PretrainedConfig")]
FAMILIES = sorted((name.removesuffix("Config") for name in CONFIGS), key=len, reverse=True)
MODELS = [
    name
    for name in transformers.__all__
    if name.startswith(tuple(FAMILIES)) and ("For" in name or name.endswith("Model"))
    if not name.endswith("PretrainedModel")
]
# What differs, and why: ours are wider, or theirs is without effect.
OTHER_DEFAULTS = {
    "ErnieMConfig": {"type_vocab_size"},  # the family has no token types
    # Those of the vocabulary; the head has a table of its own, whatever a config says.
    "RemBertConfig": {"bos_token_id", "eos_token_id", "tie_word_embeddings"},
}


@pytest.fixture(scope="module")
def there() -> dict[str, Any]:
    script = Path(__file__).with_name("paddlenlp_defaults.py")
    command = [PYTHON, str(script), *CONFIGS, *MODELS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_defaults_are_paddlenlps(name: str, there: dict[str, Any]) -> None:
    config = getattr(transformers, name)()
    names = there[name].keys() & {*vars(config)} | {"num_labels", "id2label", "return_dict"}
    differing = {
        key: (there[name][key], config[key])
        for key in names - OTHER_DEFAULTS.get(name, set())
        if key in there[name] and not _same(there[name][key], config[key])
    }
    assert not differing


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one == {str(key): value for key, value in other.items()}
    return bool(one == other)


@pytest.mark.parametrize("name", MODELS)
def test_arguments_are_in_paddlenlps_order(name: str, there: dict[str, Any]) -> None:
    ours = [*inspect.signature(getattr(transformers, name).forward).parameters]
    assert there[name] is not None, f"PaddleNLP has no {name}"
    assert ours[: len(there[name])] == there[name]
