"""What a run chooses by its device: types of mixed precision, and flags of determinism."""

from __future__ import annotations

import os
from typing import Any

import paddle
import pytest

from paddlenlp_ext.process import devices
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.identity import RunIdentity, default_amp_type


def decided(saved: dict[str, Any] | None = None, asked: str | None = None) -> str:
    before = None if saved is None else RunIdentity(saved)
    found = RunIdentity({"amp_dtype": asked}).continuing(before).settings["amp_dtype"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_mixed_precision_is_bfloat16_where_a_device_has_it(monkeypatch, has_bfloat16):
    assert decided() == "float16"  # which a CPU refuses: there bfloat16 is a choice
    monkeypatch.setattr(devices, "current", lambda: devices.KINDS["gpu"])
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: has_bfloat16)
    best = "bfloat16" if has_bfloat16 else "float16"
    assert default_amp_type() == decided() == best
    assert decided(asked="float16") == "float16"
    # A run that is continued keeps what it had, also from before there was a choice.
    assert decided({"amp_dtype": "float16"}) == "float16"
    assert decided({"amp_dtype": "bfloat16"}) == "bfloat16"


def test_a_run_is_deterministic_if_that_is_asked_for(monkeypatch):
    flags: dict[str, Any] = {}

    def set_flags(values: dict[str, Any]) -> None:
        if "FLAGS_embedding_deterministic" in values:
            raise ValueError("Flag cannot set its value through this function.")
        flags.update(values)

    monkeypatch.setattr(paddle, "set_flags", set_flags)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    distributed.start("cpu")
    assert not flags
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    distributed.start("cpu", deterministic=True)
    assert flags == {"FLAGS_cudnn_deterministic": True}
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
