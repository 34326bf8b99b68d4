"""Mixed precision in training: see `nn.autocast`, and the scale of losses that float16 needs."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from paddle import amp, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.nn.autocast import Autocast
from paddlenlp_ext.process.devices import Level, Type
from paddlenlp_ext.training import distributed

RATIO = 2.0  # by which the scale of losses changes
GROW_AFTER = 2000  # updates without an overflow


@dataclass(slots=True)
class LossScale:
    """What losses are multiplied by so that small float16 gradients do not vanish.

    It goes as that of `paddle.amp.GradScaler`, but asks no device: whether a gradient overflowed is
    seen by their norm, which is read anyway.

    Attributes:
        value: The present scale.
        good: Updates since it changed.
    """

    value: float = 2.0**15
    good: int = 0

    def adapt(self, overflowed: bool) -> None:
        """Lower the scale after an overflow, and raise it after long without one."""
        if overflowed:
            if distributed.rank() == 0:  # in Paddle's words
                scale = f"{self.value}, decrease to: {self.value}*{1 / RATIO}"
                print(f"Found inf or nan, current scale is: {scale}")
            self.value, self.good = self.value / RATIO, 0
            return
        self.good += 1
        if self.good == GROW_AFTER:
            self.value, self.good = self.value * RATIO, 0


class MixedPrecision:
    """How a run computes in mixed precision; `mixed_precision` makes it.

    Args:
        compute: In which type.
        loss_scale: Of float16; None where losses are not scaled.
    """

    def __init__(self, compute: Autocast, loss_scale: LossScale | None = None):
        self.compute = compute
        self.loss_scale = loss_scale

    @property
    def has_master_gradients(self) -> bool:
        """Whether gradients of weights that are not float32 become float32 before an update."""
        return self.compute.level == "O2"

    @property
    def is_scaled(self) -> bool:
        """Whether losses are scaled, so that an overflow only asks for another scale."""
        return self.loss_scale is not None

    @property
    def scale(self) -> float:
        """What a loss is multiplied by before the backward pass; gradients have it, too."""
        return 1.0 if self.loss_scale is None else self.loss_scale.value

    def autocast(self) -> AbstractContextManager[None]:
        """Cast what is computed in the `with` block."""
        return self.compute()

    def end_update(self, *, overflowed: bool) -> None:
        """Adapt the scale after an update, which was left out if a gradient overflowed."""
        if self.loss_scale is not None:
            self.loss_scale.adapt(overflowed)
        self.compute.forget()

    def state(self) -> dict[str, Any]:
        """Return the numbers of the scale for a checkpoint, under Paddle's names."""
        scale = self.loss_scale
        return {} if scale is None else {"scale": scale.value, "incr_count": scale.good}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the numbers of a checkpoint."""
        self.compute.forget()
        if self.loss_scale is not None and "scale" in state:
            self.loss_scale = LossScale(float(state["scale"]), int(state["incr_count"]))


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
        optimizer: With "O2" it keeps float32 master weights, and gets float32 gradients.
        level: What is cast: "O1" chosen operations, "O2" the whole model.
        dtype: What it is cast to.
        scale_loss: First loss scale; for float16 only.

    Raises:
        DeviceError: The device does not compute in this type.
    """
    compute = Autocast(dtype, level=level, asked="use_amp")
    if level == "O2":
        amp.decorate(
            model, optimizer, level=level, dtype=dtype, save_dtype="float32", master_grad=True
        )
    return MixedPrecision(compute, LossScale(scale_loss) if dtype == "float16" else None)
