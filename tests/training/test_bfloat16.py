"""Runs with bfloat16 products on a CPU: they go on as they began, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest

from paddlenlp_ext.errors import DeviceError, UserError
from paddlenlp_ext.nn.cpu import bfloat16
from tests.nn.cpu.conftest import library  # noqa: F401  (a fixture)
from tests.training.test_compiled_layers import Stop, folder, stop  # noqa: F401  (a fixture)
from tests.training.tiny_task import train

BFLOAT16: dict[str, Any] = {"use_amp": True, "amp_dtype": "bfloat16"}


@pytest.mark.skipif(bool(bfloat16.lacking()), reason=bfloat16.lacking())
def test_a_run_goes_on_as_it_began(folder, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(bfloat16, "FEWEST", 2)  # the model is tiny
    settings = BFLOAT16 | {"compiled_layers": True}
    whole = train(folder, output="whole", **settings)
    assert ("note:" in capsys.readouterr().err) == bfloat16.is_slow()
    exact = train(folder, output="exact", compiled_layers=True)
    assert exact["digest"] != whole["digest"]
    assert exact["losses"] != whole["losses"]
    for step, loss in exact["losses"].items():
        assert loss == pytest.approx(whole["losses"][step], abs=0.1)
    with pytest.raises(Stop):
        train(folder, stop, **settings)
    with pytest.raises(UserError, match=r"`use_amp` True \(now False\)"):
        train(folder)
    rest = train(folder, **settings)
    assert min(rest["losses"]) == 5
    assert rest["digest"] == whole["digest"]


def test_it_is_refused_before_anything_is_written(folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(bfloat16, "lacking", lambda: "this processor has none")
    with pytest.raises(DeviceError, match=r"^`use_amp`: bfloat16: this processor has none; leave"):
        train(folder, **BFLOAT16)
    assert not list((folder / "out").glob("*_*"))
