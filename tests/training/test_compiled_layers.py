"""Runs with layers computed by kernels in C: they go on as they began, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.nn.cpu import compiled, stack
from paddlenlp_ext.nn.cpu.packed import Packed, pack
from tests.nn.cpu.conftest import library  # noqa: F401  (a fixture)
from tests.training.tiny_task import encoder, train


class Stop(Exception):  # noqa: N818  (not an error)
    """Ends a run, as a kill does."""


@pytest.fixture
def folder(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    encoder(tmp_path / "encoder")
    loaded = compiled.Kernels(library)
    monkeypatch.setattr(compiled, "kernels", lambda: loaded)
    return tmp_path


def stop(event: Any, _: object) -> None:
    if event.step == 5:
        raise Stop


@pytest.mark.parametrize("recompute", [False, True])
def test_a_run_goes_on_as_it_began(folder, recompute, monkeypatch):
    packed: list[bool] = []

    def look(*arguments: Any) -> Packed | None:
        found = pack(*arguments)
        packed.append(found is not None)
        return found

    monkeypatch.setattr(stack, "pack", look)
    whole = train(folder, output="whole", compiled_layers=True)
    assert packed.count(True) > len(packed) // 2
    if not recompute:
        assert train(folder, output="new")["digest"] == whole["digest"]
        assert train(folder, output="parts", compiled_layers=False)["digest"] != whole["digest"]
    with pytest.raises(Stop):
        train(folder, stop, compiled_layers=True)
    with pytest.raises(UserError, match=r"`compiled_layers` True \(now False\)"):
        train(folder, compiled_layers=False)
    rest = train(folder, recompute=recompute)  # whether is left open
    assert min(rest["losses"]) == 5
    assert rest["digest"] == whole["digest"]


def test_it_does_not_go_on_without_kernels(folder, monkeypatch):
    with pytest.raises(Stop):
        train(folder, stop, compiled_layers=True)
    monkeypatch.setattr(compiled, "kernels", lambda: None)
    with pytest.raises(UserError, match="`compiled_layers`: this installation"):
        train(folder)
