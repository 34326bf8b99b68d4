"""AdamW with decay groups and layer-wise rates, and the schedules of its rate."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn.clip import _squared_l2_norm
from paddle.optimizer import AdamW
from paddle.optimizer.lr import LambdaDecay, LRScheduler

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding, trimmed_tables
from paddlenlp_ext.process import devices
from paddlenlp_ext.training.schedules import LOWEST, Course

NORMALISATIONS = (nn.LayerNorm, nn.BatchNorm, nn.GroupNorm)
STATE = ("moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc")  # Paddle's names of AdamW's
CHUNK = 1 << 16  # numbers that a block of a GPU updates
LAYER_NUMBER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def rate_schedule(
    learning_rate: float,
    total_steps: int,
    *,
    kind: str = "linear",
    warmup_steps: int = 0,
    warmup_proportion: float = 0.0,
) -> LRScheduler:
    """Raise the learning rate from 0 during the warm-up, then let it run as `SCHEDULES` says.

    Args:
        learning_rate: The highest rate.
        total_steps: Updates of the whole run.
        kind: Of `training.schedules`; "linear" falls to 0 at the last step, as BERT's.
        warmup_steps: Updates of the warm-up; above 0 it wins over the proportion.
        warmup_proportion: Part of all updates that are warm-up, rounded down as in PaddleNLP.

    Raises:
        UserError: The schedule falls to a rate that is above the highest.
    """
    if kind == "polynomial" and learning_rate <= LOWEST:
        raise UserError(
            f"`lr_scheduler_type` polynomial: falls to {LOWEST}; give a `learning_rate` above that"
        )
    warmup = warmup_steps if warmup_steps > 0 else math.floor(warmup_proportion * total_steps)
    course = Course(learning_rate, total_steps, warmup)
    return LambdaDecay(learning_rate, partial(course.factor, kind))


def adamw(
    model: nn.Layer,
    learning_rate: float | LRScheduler,
    *,
    weight_decay: float = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    max_grad_norm: float = 0.0,
    layerwise_decay: float = 1.0,
) -> AdamW:
    """Build the optimizer of a model.

    Args:
        model: Its trainable parameters are optimized.
        learning_rate: A number, or a schedule, which the training loop advances at each update.
        weight_decay: For all parameters but biases and the weights of normalisations.
        beta1: Memory of the mean of the gradients.
        beta2: Memory of their squares.
        epsilon: Lower bound of the denominator.
        max_grad_norm: Largest norm of all gradients together; 0 does not clip. A norm that is not
            finite makes `step` raise `NonFiniteNormError` in either case.
        layerwise_decay: Factor of the learning rate from one encoder layer to the one below.
    """
    decayed = decayed_parameters(model)
    ratios = layerwise_ratios(model, layerwise_decay)
    trained = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    for name, parameter in trained.items():
        # Paddle's own `lr_ratio` argument is not implemented on a CPU.
        parameter.optimize_attr["learning_rate"] = ratios[name]
    decayed_tensors = {trained[name].name for name in decayed if name in trained}
    optimizer = TableAdamW(
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        parameters=list(trained.values()),
        weight_decay=weight_decay,
        apply_decay_param_fun=decayed_tensors.__contains__,
        grad_clip=GlobalNormClip(max_grad_norm or math.inf),
    )
    optimizer.tables = [
        (table, ratios[name] * weight_decay if name in decayed else 0.0)
        for name, table in trimmed_tables(model).items()
    ]
    return optimizer


class NonFiniteNormError(ArithmeticError):
    """The norm of all gradients is infinite or not a number; no weight was changed."""


def squared_norms(gradients: Sequence[Tensor]) -> Tensor:
    """Compute the square of each gradient's norm, without waiting for it; float32 [N].

    Squares in float16 overflow, so all are in float32.
    """
    kernels = compiled.kernels()
    if kernels is not None and all(map(_is_simple, gradients)):
        return paddle.to_tensor([kernels.sum_squares(g) for g in gradients], "float32")
    squares = [
        _squared_l2_norm(g if g.dtype == paddle.float32 else g.astype("float32")) for g in gradients
    ]
    return paddle.concat([square.reshape([1]) for square in squares])


class GlobalNormClip(nn.ClipGradByGlobalNorm):  # type: ignore[misc]  # untyped in Paddle
    """Paddle's, with a fast multiplication, and none where the norm is small enough.

    Paddle multiplies every gradient with a tensor of one number, also where that is 1; on a CPU a
    plain number takes a quarter of the time.

    Attributes:
        known: The norm of the next gradients, where it was read already, and by how much they are
            to be divided before they are clipped, as the norm was.
        is_left: Which gradients of which parameters are left as they are, for the optimizer to
            multiply.
        factor: What it is to multiply them with.
    """

    known: tuple[float, float] | None = None
    factor: float = 1.0

    def __init__(self, clip_norm: float) -> None:
        super().__init__(clip_norm)
        self.is_left: Callable[[Tensor, Tensor], bool] = lambda parameter, gradient: False

    def __call__(
        self, params_grads: list[tuple[Tensor, Tensor | None]]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Clip the gradients of parameters, in place.

        Raises:
            NonFiniteNormError: Clipping would make every gradient that which one of them is.
        """
        gradients = [gradient for _, gradient in params_grads if gradient is not None]
        if self.known is None:
            norm, divisor = math.sqrt(sum(squared_norms(gradients).tolist())), 1.0
        else:
            (norm, divisor), self.known = self.known, None
        if not math.isfinite(norm):
            raise NonFiniteNormError
        self.factor = (1.0 if norm <= self.clip_norm else self.clip_norm / norm) / divisor
        for parameter, gradient in params_grads if self.factor != 1.0 else ():
            if gradient is not None and not self.is_left(parameter, gradient):
                gradient.detach().scale_(self.factor)
        return params_grads


def apply_gradients(
    optimizer: paddle.optimizer.Optimizer,
    gradients: Sequence[Tensor],
    norm: float,
    divisor: float = 1.0,
) -> None:
    """Make an update by gradients of which the norm is known.

    Args:
        optimizer: Of any kind; one that `adamw` built does not ask for the norm again.
        gradients: Of its parameters.
        norm: Of all of them together, after the division.
        divisor: What they are divided by: the scale of the loss.
    """
    clip = getattr(optimizer, "_grad_clip", None)
    if isinstance(clip, GlobalNormClip):
        clip.known = norm, divisor
    elif divisor != 1.0:
        for gradient in gradients:
            gradient.detach().scale_(1.0 / divisor)
    optimizer.step()


class TableAdamW(AdamW):
    """AdamW that also decays those rows of trimmed tables that are not trained.

    Float32 parameters are updated by one kernel for many of them: on a CPU by one in C, which clips
    in the same pass; where the device has memory of its own by Paddle's, if that does there what
    it does for each alone.

    Attributes:
        tables: Trimmed tables, with the decay that an update of learning rate 1 would apply.
    """

    tables: Sequence[tuple[TrimmedEmbedding, float]] = ()

    def __init__(self, **options: Any) -> None:
        """Take what Paddle's takes."""
        super().__init__(**options)
        self._at_once: list[tuple[Tensor, Tensor]] = []
        self._compiled: list[tuple[Tensor, Tensor]] = []
        if isinstance(self._grad_clip, GlobalNormClip):
            self._grad_clip.is_left = is_compiled

    def step(self) -> None:
        """Make an update; as for any parameter, no gradient means no decay.

        Raises:
            NonFiniteNormError: The norm of the gradients is not finite; nothing was changed.
        """
        # A `paddle.amp.GradScaler` sets it, and calls this also when a gradient overflowed; the
        # training loop has its own scale and none of those.
        if self._get_auxiliary_var("found_inf"):
            self._set_auxiliary_var("found_inf", True)  # as Paddle's own does, for the scaler
            return
        rate = learning_rate_of(self)
        super().step()
        for table, decay in self.tables:
            if table.weight.grad is not None:
                table.decay(1.0 - rate * decay)

    def _append_optimize_op(self, block: Any, pair: tuple[Tensor, Tensor]) -> None:
        """Update a parameter, or note it for `_finish_update`."""
        if is_compiled(*pair):
            self._compiled.append(pair)
        elif (
            not devices.of(pair[0]).is_host
            and all(tensor.dtype == paddle.float32 for tensor in pair)
            and updates_at_once()
        ):
            self._at_once.append(pair)
        else:
            super()._append_optimize_op(block, pair)

    def _finish_update(self, block: Any, pairs: Any) -> None:
        """Update the parameters that were noted."""
        compiled_pairs, self._compiled = self._compiled, []
        self._update_compiled(compiled_pairs)
        # Those with one rate and decay together.
        groups: dict[tuple[float, float], list[tuple[Tensor, Tensor]]] = {}
        noted, self._at_once = self._at_once, []
        for pair in noted:
            groups.setdefault(self._ratio_and_decay(pair[0]), []).append(pair)
        for (_, decay), group in groups.items():
            parameters = [parameter for parameter, _ in group]
            update_at_once(
                parameters,
                [gradient for _, gradient in group],
                self._create_param_lr(group[0]),
                *([self._state(p)[place] for p in parameters] for place in range(len(STATE))),
                betas=(self._beta1, self._beta2),
                epsilon=self._epsilon,
                decay=decay,
            )

    def _update_compiled(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Update parameters by the kernel in C."""
        kernels = compiled.kernels()
        if kernels is None or not pairs:
            return
        rate, clip = learning_rate_of(self), self._grad_clip
        rows = []
        for parameter, gradient in pairs:
            ratio, decay = self._ratio_and_decay(parameter)
            state = self._state(parameter)
            rows.append(
                compiled.Updated(parameter, gradient, *state, parameter.size, rate * ratio, decay)
            )
        kernels.update(
            rows,
            betas=(self._beta1, self._beta2),
            epsilon=self._epsilon,
            factor=clip.factor if isinstance(clip, GlobalNormClip) else 1.0,
        )

    def _ratio_and_decay(self, parameter: Tensor) -> tuple[float, float]:
        """Return a parameter's part of the learning rate, and its decay."""
        is_decayed = self._apply_decay_param_fun is None or self._apply_decay_param_fun(
            parameter.name
        )
        ratio = float(parameter.optimize_attr["learning_rate"])
        return ratio, self._weight_decay if is_decayed else 0.0

    def _state(self, parameter: Tensor) -> list[Tensor]:
        return [self._get_accumulator_master(name, parameter) for name in STATE]


def is_compiled(parameter: Tensor, gradient: Tensor) -> bool:
    """Whether the kernel in C updates a parameter by its gradient."""
    return compiled.kernels() is not None and _is_simple(parameter) and _is_simple(gradient)


def _is_simple(tensor: Tensor) -> bool:
    """Whether the kernels in C read a tensor: on a CPU, float32, and in one piece."""
    return bool(
        devices.of(tensor).is_host
        and tensor.dtype == paddle.float32
        and tensor.is_dense()
        and tensor.is_contiguous()
    )


def update_at_once(
    parameters: list[Tensor],
    gradients: list[Tensor],
    rate: Tensor,
    means: list[Tensor],
    squares: list[Tensor],
    powers1: list[Tensor],
    powers2: list[Tensor],
    *,
    betas: tuple[float, float],
    epsilon: float,
    decay: float,
) -> None:
    """Make an update of AdamW of several float32 parameters, by one kernel.

    Args:
        parameters: What is updated.
        gradients: Of each.
        rate: The learning rate of all; float32 [1].
        means: Of gradients; of each parameter's shape.
        squares: Means of their squares; the same.
        powers1: The first beta to the power of the updates, of each; float32 [1].
        powers2: The second.
        betas: Memory of the means.
        epsilon: Lower bound of the denominator.
        decay: Of the weights, in an update of learning rate 1.
    """
    paddle._C_ops.fused_adam_(
        parameters, gradients, rate, means, squares, None, powers1, powers2, None, None,
        *betas, epsilon, CHUNK, decay, True, False, False, False,
    )  # fmt: skip


@cache
def updates_at_once() -> bool:
    """Whether Paddle's kernel for many parameters is there, and does what that for one does.

    It is tried once, on the present device. PaddlePaddle 2.6 calls it otherwise.
    """
    weights = [paddle.to_tensor([0.5, -2.0, 1.5]), paddle.to_tensor([[1.0], [-0.25]])]
    found = []
    for is_at_once in (False, True):
        parameters = [weight.clone() for weight in weights]
        gradients = [(3.0 * weight).square() for weight in weights]
        state = [[paddle.zeros_like(weight) for weight in weights] for _ in range(2)]
        cpu = paddle.CPUPlace()
        powers = [[paddle.to_tensor([beta], place=cpu) for _ in weights] for beta in (0.9, 0.99)]
        rate = paddle.to_tensor([0.125])
        try:
            for _ in range(2):
                if is_at_once:
                    update_at_once(
                        parameters, gradients, rate, *state, *powers,
                        betas=(0.9, 0.99), epsilon=1e-8, decay=0.5,
                    )  # fmt: skip
                    continue
                for number, parameter in enumerate(parameters):
                    mean, square, power1, power2 = (one[number] for one in (*state, *powers))
                    paddle._C_ops.adamw_(
                        parameter, gradients[number], rate, mean, square, None, power1, power2,
                        None, None, 0.9, 0.99, 1e-8, 1.0, 0.5, True, False, 1000, False, False,
                        False,
                    )  # fmt: skip
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False
        found.append(np.concatenate([p.numpy().ravel() for p in (*parameters, *state[0])]))
    return bool(np.allclose(found[0], found[1], rtol=1e-5, atol=1e-6))


def decayed_parameters(model: nn.Layer) -> set[str]:
    """Name the parameters that weight decay applies to: no biases and no normalisations."""
    decayed = set()
    for prefix, layer in model.named_sublayers(include_self=True):
        if isinstance(layer, NORMALISATIONS):
            continue
        for name, _ in layer.named_parameters(include_sublayers=False):
            if "bias" not in name:
                decayed.add(f"{prefix}.{name}" if prefix else name)
    # A tied parameter has several names; `named_parameters` gives its first.
    return decayed & {name for name, _ in model.named_parameters()}


def layerwise_ratios(model: nn.Layer, decay: float) -> Mapping[str, float]:
    """Compute the ratio of each parameter's learning rate to the highest one.

    The top encoder layer has `decay`, the one below `decay ** 2` and so on, embeddings one more
    than the lowest layer, and what lies outside the encoder 1 (ERNIE's `layerwise_decay`).
    """
    names = [name for name, _ in model.named_parameters()]
    numbers = {name: int(found[1]) for name in names if (found := LAYER_NUMBER.search(name))}
    layers = 1 + max(numbers.values(), default=-1)

    def ratio(name: str) -> float:
        if name in numbers:
            return decay ** (layers - numbers[name])
        return decay ** (layers + 1) if "embedding" in name else 1.0

    return {name: ratio(name) for name in names}


def learning_rate_of(optimizer: paddle.optimizer.Optimizer) -> float:
    """Read the learning rate that the next update will use."""
    return float(optimizer.get_lr())


def schedule_of(optimizer: paddle.optimizer.Optimizer) -> LRScheduler | None:
    """Return the optimizer's schedule; None if its rate is a number."""
    # Private in Paddle, but a schedule that is handed around beside its optimizer can be forgotten,
    # and the rate then stays at the 0 with which every warm-up begins.
    schedule = optimizer._learning_rate
    return schedule if isinstance(schedule, LRScheduler) else None
