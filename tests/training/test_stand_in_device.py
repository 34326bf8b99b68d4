"""A whole run on a device of another kind, for which the CPU stands in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import DeviceError
from paddlenlp_ext.nn import autocast
from paddlenlp_ext.nn.cpu.layers import on_cpu
from paddlenlp_ext.process import devices
from paddlenlp_ext.training.settings import RunSettings
from tests.training.tiny_task import FLAGS, encoder, train

STANDS_IN = devices.Device("tpu", "gloo", padding=16, amp_types=("float16",), amp_levels=("O1",))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that the CPU computes for, and that nobody takes for it."""
    monkeypatch.setitem(devices.KINDS, "tpu", STANDS_IN)
    monkeypatch.setattr(devices, "of", lambda tensor: STANDS_IN)
    monkeypatch.setattr(devices, "current", lambda: STANDS_IN)
    monkeypatch.setattr(paddle.device, "get_all_custom_device_type", lambda: ["tpu"])
    monkeypatch.setattr(paddle.device, "get_available_custom_device", lambda: ["tpu:0"])
    monkeypatch.setattr(paddle, "set_device", lambda name: None)


def test_a_run_is_the_same_there(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    encoder(tmp_path / "encoder", dropout=0.0)
    here = train(tmp_path, output="here", max_steps=4)
    request.getfixturevalue("stand_in")
    there = train(tmp_path, output="there", max_steps=4, device="tpu")
    np.testing.assert_allclose(
        [*there["losses"].values()], [*here["losses"].values()], rtol=1e-5, atol=1e-5
    )
    for (_, _, accuracy), (_, _, expected) in zip(
        there["evaluations"], here["evaluations"], strict=True
    ):
        assert accuracy == expected
    manifest = json.loads((tmp_path / "there" / "model_4" / "manifest.json").read_text())
    assert manifest["environment"]["device"] == "tpu"


@pytest.mark.usefixtures("stand_in")
def test_who_asks_gets_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: dict[str, Any] = {"model_name_or_path": "m", "output_dir": "o"}
    settings = RunSettings.from_flags(FLAGS | folders, device="tpu")
    assert (settings.pad_to_multiple_of, settings.is_on_host) == (16, False)
    assert not on_cpu(paddle.ones([2]))
    monkeypatch.setattr(paddle.amp, "is_float16_supported", lambda: True)
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: True)
    assert autocast.Autocast("float16").casts is None
    with pytest.raises(DeviceError, match="does not compute in bfloat16; choose another type"):
        autocast.Autocast("bfloat16")
