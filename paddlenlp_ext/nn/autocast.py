"""In which type products are computed: float16 or bfloat16, with float32 where it matters.

On GPUs and XPUs Paddle does it. On a CPU Paddle's `auto_cast` leaves every tensor float32 with no
more than a warning; there `nn.cpu.bfloat16` computes the large products, and nothing else changes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import paddle
from paddle import amp

from paddlenlp_ext.errors import DeviceError
from paddlenlp_ext.nn.cpu import bfloat16
from paddlenlp_ext.process import devices
from paddlenlp_ext.process.devices import Device, Level, Type


class Autocast:
    """Computation in a type, on the present device.

    Args:
        dtype: The type.
        level: "O1" casts chosen operations, "O2" the whole model but its normalisations.
        asked: The setting that asks for it, for messages.

    Attributes:
        casts: Those of weights that are kept on a CPU, else None.

    Raises:
        DeviceError: The device does not compute in this type.
    """

    def __init__(self, dtype: Type, *, level: Level = "O1", asked: str = "amp_dtype") -> None:
        self.dtype = dtype
        self.level = level
        self.casts: bfloat16.Casts | None = None
        device = devices.current()
        if device.is_host:
            self.casts = bfloat16.Casts()
            if refused := _refused_on_cpu(device, dtype, level):
                raise DeviceError(f"`{asked}`: {refused}")
        elif not device.computes_in(dtype):
            raise DeviceError(
                f"`{asked}`: {paddle.device.get_device()} does not compute in {dtype}; choose "
                "another type"
            )

    def __call__(self) -> AbstractContextManager[None]:
        """Compute so in the `with` block."""
        if self.casts is not None:
            return bfloat16.bfloat16_products(self.casts)
        context: AbstractContextManager[None] = amp.auto_cast(level=self.level, dtype=self.dtype)
        return context

    def forget(self) -> None:
        """Cast weights anew: they have changed."""
        if self.casts is not None:
            self.casts.clear()

    @property
    def notice(self) -> str:
        """What to know of it on this machine; empty if nothing."""
        if self.casts is None or not bfloat16.is_slow():
            return ""
        return (
            "bfloat16: this processor has no AMX (amx_bf16) and multiplies float32 numbers twice "
            "as fast; it is slower, not faster"
        )


def _refused_on_cpu(device: Device, dtype: Type, level: Level) -> str:
    """Say why a CPU does not compute so, and what to do; empty if it does."""
    cure = "or compute on a GPU (`device` gpu)"
    if dtype not in device.amp_types:
        return (
            f"PaddlePaddle has no mixed precision on a CPU; give `amp_dtype` bfloat16, which is "
            f"computed here, leave it out, {cure}"
        )
    if level not in device.amp_levels:
        return f"weights stay float32 on a CPU; give `amp_level` O1, {cure}"
    if lacking := bfloat16.lacking():
        return f"bfloat16: {lacking}; leave it out, {cure}"
    return ""
