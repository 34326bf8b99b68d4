"""What each kind of device can do: whoever computes or pads otherwise on one asks here.

A device is called "gpu", or "gpu:1" where there are several; its kind is what stands before the
colon. Paddle is imported when a function is called, not with this module.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from paddlenlp_ext.errors import DeviceError

if TYPE_CHECKING:
    from paddle import Tensor

Type = Literal["float16", "bfloat16"]
Level = Literal["O1", "O2"]


@dataclass(frozen=True, slots=True)
class Device:
    """What a kind of device can do.

    Attributes:
        kind: What Paddle calls it.
        backend: Brings the numbers of several of them together.
        is_host: Whether its memory is that of the process: NumPy reads its tensors in place, and
            the layers of `nn.cpu` compute them.
        fuses_attention: Whether Paddle's one operation computes attention, and faster than its
            parts. On a CPU it is the same parts, computed slower than here; on an XPU Paddle takes
            it for another one, whatever the type and the width of heads.
        padding: What lengths of batches are rounded up to: its units multiply blocks of so many.
        amp_types: In which types of 16 bits products may be computed, the best first; whether this
            very device does so `computes_in` asks.
        amp_levels: What is cast: "O1" chosen operations, "O2" the whole model.
        onnx_provider: What ONNX Runtime calls it, if that knows it.
    """

    kind: str
    backend: str
    is_host: bool = False
    fuses_attention: bool = False
    padding: int = 8
    amp_types: tuple[Type, ...] = ("bfloat16", "float16")
    amp_levels: tuple[Level, ...] = ("O1", "O2")
    onnx_provider: str = ""

    def computes_in(self, dtype: Type) -> bool:
        """Whether the device that Paddle computes on now, one of this kind, has a type."""
        from paddle import amp

        if dtype not in self.amp_types or self.is_host:
            return dtype in self.amp_types
        supported = amp.is_float16_supported if dtype == "float16" else amp.is_bfloat16_supported
        return bool(supported())


KINDS = {
    device.kind: device
    for device in (
        Device("cpu", "gloo", is_host=True, padding=1, amp_types=("bfloat16",), amp_levels=("O1",)),
        Device("gpu", "nccl", fuses_attention=True, onnx_provider="CUDAExecutionProvider"),
        Device("xpu", "bkcl"),
        Device("npu", "xccl"),  # as every device that a plugin brings to Paddle
    )
}


def kind_of(name: str) -> str:
    """Return the kind of a device: "gpu" of "gpu:1"."""
    return name.partition(":")[0]


def named(name: str) -> Device:
    """Return what a device can do, by its name; a plugin's, if the kind is none of `KINDS`."""
    kind = kind_of(name)
    return KINDS[kind] if kind in KINDS else replace(KINDS["npu"], kind=kind)


def of(tensor: Tensor) -> Device:
    """Return what the device can do that a tensor is on."""
    place = tensor.place
    if place.is_cpu_place():
        return KINDS["cpu"]
    if place.is_gpu_place():
        return KINDS["gpu"]
    if place.is_xpu_place():
        return KINDS["xpu"]
    return named(place.custom_device_type() if place.is_custom_place() else "npu")


def current() -> Device:
    """Return what the device can do that Paddle computes on now."""
    import paddle

    return named(paddle.device.get_device())


def pinned(tensor: Tensor) -> Tensor:
    """Put a tensor of the host where a GPU reads it by itself: of other memory, a copy waits."""
    is_for_gpu = current().kind == "gpu" and tensor.place.is_cpu_place()
    return tensor.pin_memory() if is_for_gpu else tensor


def on_current(tensor: Tensor) -> Tensor:
    """Copy a tensor of the host to the present device; from pinned memory without waiting."""
    import paddle

    if tensor.place.is_cuda_pinned_place():
        return tensor.cuda(blocking=False)
    is_elsewhere = tensor.place.is_cpu_place() and not current().is_host
    return paddle.to_tensor(tensor.numpy()) if is_elsewhere else tensor


def count(kind: str) -> int:
    """Count the devices of a kind that Paddle finds; of CPUs there is one."""
    import paddle

    if kind in ("gpu", "xpu"):
        return int(_module(kind).device_count())
    found = paddle.device.get_available_custom_device() or []
    return 1 if kind == "cpu" else sum(kind_of(name) == kind for name in found)


def default_device() -> str:
    """A GPU, XPU or NPU if this PaddlePaddle is built for one and finds it, else the CPU."""
    return next((kind for kind in KINDS if kind != "cpu" and count(kind)), "cpu")


def visible_gpus() -> int:
    """Count the GPUs that `CUDA_VISIBLE_DEVICES` names."""
    return sum(bool(name) for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))


def check_device(name: str) -> None:
    """Refuse a device that is not there.

    Raises:
        DeviceError: With what is missing and what to do.
    """
    import paddle

    kind = kind_of(name)
    plugins = paddle.device.get_all_custom_device_type() or []
    built = {
        "cpu": True,
        "gpu": paddle.is_compiled_with_cuda(),
        "xpu": paddle.is_compiled_with_xpu(),
        **dict.fromkeys(("npu", *plugins), False),
        **dict.fromkeys(plugins, True),
    }
    if kind not in built:
        raise DeviceError(f"`device` {name}: unknown; known are {', '.join(built)}")
    if not built[kind]:
        own = next(one for one in ("gpu", "xpu", "cpu") if built[one])
        raise DeviceError(
            f"`device` {name}: this PaddlePaddle is a {own.upper()} build; install the one for "
            f"{kind.upper()}, or give `device` {own}"
        )
    if not count(kind):
        raise DeviceError(
            f"`device` {name}: PaddlePaddle finds no {kind.upper()}; give `device` cpu"
        )


def model_of(kind: str) -> str:
    """Return what the maker calls the present device; empty where Paddle does not say."""
    read = getattr(_module(kind), "get_device_name", None)
    return str(read()) if read else ""


def peak_memory(kind: str) -> int:
    """Return the most bytes that were in use on the present device; 0 where that is not known."""
    read = getattr(_module(kind), "max_memory_allocated", None)
    return int(read()) if read else 0


def _module(kind: str) -> Any:
    """Return Paddle's module for a kind of device; None where it has none."""
    import paddle

    return getattr(paddle.device, {"gpu": "cuda", "xpu": "xpu"}.get(kind, ""), None)
