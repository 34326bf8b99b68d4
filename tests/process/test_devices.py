"""What a device can do is asked in one place; devices that are not here are stood in for."""

from __future__ import annotations

import ast
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paddle
import pytest

import paddlenlp_ext
from paddlenlp_ext.errors import DeviceError
from paddlenlp_ext.process import devices, spawn

PACKAGE = Path(paddlenlp_ext.__file__).parent
ASKS = re.compile(
    r"is_\w+_place\(|is_compiled_with|get_device\(\)[.]|device_count"
    r"|(startswith\(|== )\"(cpu|gpu|xpu|npu)\""
)


class Place:
    """A place as Paddle's are asked."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def is_cpu_place(self) -> bool:
        return self.kind == "cpu"

    def is_gpu_place(self) -> bool:
        return self.kind == "gpu"

    def is_xpu_place(self) -> bool:
        return self.kind == "xpu"

    def is_custom_place(self) -> bool:
        return self.kind in ("npu", "mlu")

    def custom_device_type(self) -> str:
        return self.kind


def build(monkeypatch: pytest.MonkeyPatch, **found: int) -> None:
    """Let Paddle be built for these kinds, and find so many devices of each."""
    plugins = [kind for kind in found if kind not in ("cpu", "gpu", "xpu")]
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: "gpu" in found)
    monkeypatch.setattr(paddle, "is_compiled_with_xpu", lambda: "xpu" in found)
    monkeypatch.setattr(paddle.device, "get_all_custom_device_type", lambda: plugins)
    listed = [f"{kind}:{number}" for kind in plugins for number in range(found[kind])]
    monkeypatch.setattr(paddle.device, "get_available_custom_device", lambda: listed)
    for kind in ("gpu", "xpu"):
        module = SimpleNamespace(device_count=partial(found.get, kind, 0))
        monkeypatch.setattr(paddle.device, "cuda" if kind == "gpu" else kind, module)


@pytest.mark.parametrize("kind", ["cpu", "gpu", "xpu", "npu", "mlu"])
def test_a_tensor_and_a_name_lead_to_the_same_device(kind: str, monkeypatch: Any) -> None:
    found = devices.of(SimpleNamespace(place=Place(kind)))  # type: ignore[arg-type]
    assert found == devices.named(kind) == devices.named(f"{kind}:1")
    assert found.kind == kind
    assert found.is_host == (kind == "cpu")
    monkeypatch.setattr(paddle.device, "get_device", lambda: f"{kind}:1")
    assert devices.current() == found


def test_the_cpu_is_here() -> None:
    assert devices.of(paddle.ones([2])) == devices.current() == devices.KINDS["cpu"]
    assert devices.default_device() == "cpu"
    assert (devices.count("cpu"), devices.count("gpu"), devices.count("npu")) == (1, 0, 0)
    assert devices.peak_memory("cpu") == 0
    assert devices.model_of("cpu") == ""


def test_the_device_is_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    build(monkeypatch, gpu=2, npu=3)
    assert devices.default_device() == "gpu"
    devices.check_device("gpu:1")
    devices.check_device("npu")
    with pytest.raises(DeviceError, match="`device` xpu: this PaddlePaddle is a GPU build"):
        devices.check_device("xpu")
    build(monkeypatch, xpu=0, mlu=3)
    assert devices.default_device() == "cpu"
    with pytest.raises(DeviceError, match="`device` xpu: PaddlePaddle finds no XPU; give"):
        devices.check_device("xpu")
    with pytest.raises(DeviceError, match="`device` gpu: this PaddlePaddle is a XPU build"):
        devices.check_device("gpu")
    devices.check_device("mlu:2")
    assert (devices.count("mlu"), devices.count("npu")) == (3, 0)


def test_more_processes_than_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    build(monkeypatch, xpu=2)
    with pytest.raises(DeviceError, match="3 processes need 3 XPUs, and 2 are visible"):
        spawn.spawn(print, 3, device="xpu")


def test_a_type_is_had_by_who_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle.amp, "is_float16_supported", lambda: True)
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: False)
    gpu, cpu = devices.KINDS["gpu"], devices.KINDS["cpu"]
    assert [gpu.computes_in(one) for one in ("float16", "bfloat16")] == [True, False]
    assert [cpu.computes_in(one) for one in ("float16", "bfloat16")] == [False, True]


def test_nobody_else_asks() -> None:
    asking = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Call, ast.Compare, ast.Subscript))
        and ASKS.search(ast.unparse(node).replace("'", '"'))
        and path != Path(devices.__file__)
    ]
    assert not asking
