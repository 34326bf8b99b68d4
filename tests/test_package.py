"""The package itself: what importing it costs, what its public names are."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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
        ".cli.flags",
        ".cli.program",
        ".pretraining.reader",
        ".process.spawn",
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


IMPORT_ALL = """
import os, pkgutil, sys
from importlib import import_module
import paddlenlp_ext
from paddlenlp_ext.process import runtime
before, set_in_malloc = dict(os.environ), []
runtime._mallopt = lambda: lambda *setting: set_in_malloc.append(setting)
for module in pkgutil.walk_packages(paddlenlp_ext.__path__, "paddlenlp_ext."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
assert {"paddlenlp_ext.models.bert", "paddle"} <= set(sys.modules)
changed = {name for name, _ in os.environ.items() ^ before.items()}
print(changed - {"OMP_NUM_THREADS", "CUSTOM_DEVICE_ROOT"}, set_in_malloc)  # these Paddle sets
"""
ASK = """
import os
from paddlenlp_ext.transformers import BertModel
print(os.environ.get("OMP_WAIT_POLICY"))
"""


def run_untuned(code: str, **environment: str) -> tuple[str, str]:
    """Run a program in an environment without settings of threads; return what it printed."""
    settings = ("OMP", "KMP", "MKL", "PADDLE")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(settings)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=clean | environment,
    )  # fmt: skip
    return done.stdout.strip(), done.stderr


def test_importing_modules_changes_nothing_in_the_process() -> None:
    assert run_untuned(IMPORT_ALL)[0] == "set() []"


@pytest.mark.parametrize(("switch", "policy"), [("1", "PASSIVE"), ("0", "None")])
def test_asking_for_a_public_name_tunes_the_process_quietly(switch: str, policy: str) -> None:
    assert run_untuned(ASK, PADDLENLP_EXT_TUNE=switch) == (policy, "")


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a file and their lines, docstrings and the like apart."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    statements = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in statements:
            yield node.lineno, node.value


def test_the_library_names_settings_and_leaves_flags_to_the_command_line() -> None:
    folder = Path(paddlenlp_ext.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{line}: {text}"
        for path in sorted(folder.rglob("*.py"))
        if path.parent.name != "cli"
        if path.name not in ("__main__.py", "summary.py", "card.py")  # which hold a command
        for line, text in literals(path)
        if re.search(r"--[a-z]|examples/", text)
    ]
    assert found == []


def test_public_names_are_there() -> None:
    for name in transformers.__all__:
        assert callable(getattr(transformers, name)), name
    with pytest.raises(AttributeError, match="BertForSpelling"):
        _ = transformers.BertForSpelling
    assert dir(transformers) == transformers.__all__


def test_version() -> None:
    assert paddlenlp_ext.__version__.count(".") == 2
