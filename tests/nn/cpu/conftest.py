"""The kernels in C for their tests: those of the installation, or else compiled for this run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.nn.encoder import EncoderLayer

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they are."""
    if compiled.LIBRARY.exists():
        return compiled.LIBRARY
    if shutil.which("cc") is None:
        pytest.skip("there is no compiler, and the installation has no kernels")
    pytest.importorskip("setuptools", "77")
    folder = tmp_path_factory.mktemp("kernels")
    subprocess.run(
        [
            *(sys.executable, "setup.py", "-q", "build_ext"),
            *("--build-lib", str(folder), "--build-temp", str(folder / "temporary")),
        ],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return folder / compiled.LIBRARY.relative_to(ROOT)


@pytest.fixture
def kernels(library: Path, monkeypatch: pytest.MonkeyPatch) -> compiled.Kernels:
    """Them, taken by layers too."""
    loaded = compiled.Kernels(library)
    monkeypatch.setattr(compiled, "kernels", lambda: loaded)
    monkeypatch.setattr(EncoderLayer, "is_compiled", True)
    return loaded
