"""The script for a machine with a GPU, as far as a CPU goes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

from benchmarks import device_checks
from paddlenlp_ext.process import devices

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu.sh"


@pytest.mark.skipif(bool(devices.count("gpu")), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing():
    ended = subprocess.run(
        ["sh", str(SCRIPT)],
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "this PaddlePaddle is a CPU build" in ended.stderr
    assert ended.stderr.endswith("DEVICE=cpu tries this script on a CPU\n")


def test_it_takes_less_than_ten_minutes():
    limits = re.findall(r'part "[^"]+" (\d+)|at most (\d+) s', SCRIPT.read_text())
    seconds = [int(one or other) for one, other in limits]
    assert len(seconds) == 5
    assert sum(seconds) < 600


def test_checks_find_what_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["device_checks", "--device", "cpu"])
    monkeypatch.setattr(device_checks, "check_amp", lambda *_: "")
    monkeypatch.setattr(device_checks, "check_float32", lambda: "")
    monkeypatch.setattr(device_checks, "check_determinism", lambda: "")
    assert device_checks.main() == 0
    assert "FAILED" not in capsys.readouterr().out
    real = device_checks.attention.explicit

    def wrong(*inputs, **options):
        means, weights = real(*inputs, **options)
        return means + 0.01 * paddle.ones_like(means), weights

    monkeypatch.setattr(device_checks.attention, "explicit", wrong)
    assert device_checks.main() == 1
    assert "attention by one operation: FAILED" in capsys.readouterr().out
