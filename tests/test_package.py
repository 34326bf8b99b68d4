"""The package itself: what importing it costs, what its public names are."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import paddlenlp_ext
from paddlenlp_ext import transformers


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "",
        ".transformers",
        ".tokenizers.auto",
        ".weights.folders",
        ".tasks.glue",
        ".cli",
        ".training.results",
    ],
)
def test_importing_does_not_bring_paddle(module: str) -> None:
    heavy = ("paddle", "sklearn", "scipy", "matplotlib", "torch", "transformers")
    code = f"import sys, paddlenlp_ext{module}; print([m for m in {heavy} if m in sys.modules])"
    assert run(code).strip() == "[]"


def test_importing_the_package_is_quick() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        run("import paddlenlp_ext")
        middle = time.perf_counter()
        run("pass")
        return (middle - began) - (time.perf_counter() - middle)

    assert min(seconds() for _ in range(3)) < 0.1


def test_importing_a_model_tunes_the_process_quietly() -> None:
    code = "from paddlenlp_ext.transformers import BertModel; import os, sys"
    code += "; print(os.environ.get('OMP_WAIT_POLICY'))"
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("OMP", "KMP", "PADDLE"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "PASSIVE"
    assert done.stderr == ""


def test_public_names_are_there() -> None:
    for name in transformers.__all__:
        assert callable(getattr(transformers, name)), name
    with pytest.raises(AttributeError, match="BertForSpelling"):
        _ = transformers.BertForSpelling
    assert dir(transformers) == transformers.__all__


def test_version() -> None:
    assert paddlenlp_ext.__version__.count(".") == 2
