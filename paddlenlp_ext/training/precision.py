"""Mixed precision in training: see `nn.autocast`, and the scale of losses that float16 needs."""

from contextlib import AbstractContextManager
from typing import Any

import paddle
from paddle import Tensor, amp, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.nn.autocast import Autocast
from paddlenlp_ext.process.devices import Level, Type


class MixedPrecision:
    """How a run computes in mixed precision; `mixed_precision` makes it.

    Args:
        compute: In which type.
        scaler: Scales losses so that small float16 gradients do not vanish.
    """

    def __init__(self, compute: Autocast, scaler: amp.GradScaler):
        self.compute = compute
        self.scaler = scaler

    def autocast(self) -> AbstractContextManager[None]:
        """Cast what is computed in the `with` block."""
        return self.compute()

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
            self.compute.forget()
        return bool(optimizer._get_auxiliary_var("found_inf"))

    def state(self) -> dict[str, Any]:
        """Return the scaler's numbers as plain values, for a checkpoint."""
        state = dict(self.scaler.state_dict())
        if "scale" in state:
            state["scale"] = float(state["scale"][0])
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the numbers of a checkpoint."""
        self.compute.forget()
        if "scale" in state:
            scale = paddle.to_tensor([state["scale"]], dtype="float32").numpy()
            self.scaler.load_state_dict(state | {"scale": scale})


def mixed_precision(
    model: nn.Layer,
    optimizer: Optimizer,
    *,
    level: Level = "O1",
    dtype: Type = "float16",
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
    compute = Autocast(dtype, level=level, asked="use_amp")
    if level == "O2":
        amp.decorate(model, optimizer, level=level, dtype=dtype, save_dtype="float32")
    scaler = amp.GradScaler(enable=dtype == "float16", init_loss_scaling=scale_loss)
    return MixedPrecision(compute, scaler)
