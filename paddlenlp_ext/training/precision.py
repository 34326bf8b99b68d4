"""Mixed precision: float16 or bfloat16 computation with float32 where it matters.

Paddle does this on GPUs and XPUs. On a CPU its `auto_cast` leaves every tensor float32 and its
scaler switches itself off, with no more than a warning, so asking for it there is an error here.
"""

from contextlib import AbstractContextManager
from typing import Any, Literal

import paddle
from paddle import Tensor, amp, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import DeviceError


class MixedPrecision:
    """How a run computes in mixed precision; `mixed_precision` makes it.

    Args:
        level: "O1" casts chosen operations, "O2" the whole model but its normalisations.
        dtype: "float16" or "bfloat16".
        scaler: Scales losses so that small float16 gradients do not vanish.
    """

    def __init__(self, level: Literal["O1", "O2"], dtype: str, scaler: amp.GradScaler):
        self.level = level
        self.dtype = dtype
        self.scaler = scaler

    def autocast(self) -> AbstractContextManager[None]:
        """Cast what is computed in the `with` block."""
        context: AbstractContextManager[None] = amp.auto_cast(level=self.level, dtype=self.dtype)
        return context

    def scale(self, loss: Tensor) -> Tensor:
        """Multiply a loss by the current scale."""
        return self.scaler.scale(loss)

    def step(self, optimizer: Optimizer) -> bool:
        """Update the weights unless a gradient overflowed, and adapt the scale.

        Returns:
            Whether the update was left out.
        """
        try:
            self.scaler.step(optimizer)
        finally:
            self.scaler.update()
        return bool(optimizer._get_auxiliary_var("found_inf"))

    def state(self) -> dict[str, Any]:
        """Return the scaler's numbers as plain values, for a checkpoint."""
        state = dict(self.scaler.state_dict())
        if "scale" in state:
            state["scale"] = float(state["scale"][0])
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the numbers of a checkpoint."""
        if "scale" in state:
            scale = paddle.to_tensor([state["scale"]], dtype="float32").numpy()
            self.scaler.load_state_dict(state | {"scale": scale})


def mixed_precision(
    model: nn.Layer,
    optimizer: Optimizer,
    *,
    level: Literal["O1", "O2"] = "O1",
    dtype: Literal["float16", "bfloat16"] = "float16",
    scale_loss: float = 2.0**15,
) -> MixedPrecision:
    """Prepare a model and its optimizer for mixed precision.

    Args:
        model: With "O2" its weights become `dtype`.
        optimizer: With "O2" it keeps float32 master weights.
        level: What is cast: "O1" chosen operations, "O2" the whole model.
        dtype: What it is cast to.
        scale_loss: First loss scale; for float16 only.

    Raises:
        DeviceError: The device does not compute in this type.
    """
    device = paddle.device.get_device()
    if device.startswith("cpu"):
        raise DeviceError(
            "`use_amp`: PaddlePaddle has no mixed precision on a CPU; leave it out, or train with "
            "`device` gpu"
        )
    supported = amp.is_float16_supported if dtype == "float16" else amp.is_bfloat16_supported
    if not supported():
        raise DeviceError(f"`use_amp`: {device} does not compute in {dtype}; choose another type")
    if level == "O2":
        amp.decorate(model, optimizer, level=level, dtype=dtype, save_dtype="float32")
    scaler = amp.GradScaler(enable=dtype == "float16", init_loss_scaling=scale_loss)
    return MixedPrecision(level, dtype, scaler)
