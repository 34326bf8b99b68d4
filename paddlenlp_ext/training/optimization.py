"""AdamW with decay groups and layer-wise rates, and the schedules of its rate."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial

import paddle
from paddle import Tensor, nn
from paddle.nn.clip import _squared_l2_norm
from paddle.optimizer import AdamW
from paddle.optimizer.lr import LambdaDecay, LRScheduler

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.nn.cpu.layers import on_cpu
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding, trimmed_tables
from paddlenlp_ext.training.schedules import LOWEST, Course

NORMALISATIONS = (nn.LayerNorm, nn.BatchNorm, nn.GroupNorm)
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


class GlobalNormClip(nn.ClipGradByGlobalNorm):  # type: ignore[misc]  # untyped in Paddle
    """Paddle's, with a fast multiplication on a CPU, and none where the norm is small enough.

    Paddle multiplies every gradient with a tensor of one number, also where that is 1; on a CPU a
    plain number takes a quarter of the time.
    """

    def __call__(
        self, params_grads: list[tuple[Tensor, Tensor | None]]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Clip the gradients of parameters, in place on a CPU.

        Raises:
            NonFiniteNormError: Clipping would make every gradient that which one of them is.
        """
        gradients = [gradient for _, gradient in params_grads if gradient is not None]
        is_on_cpu = all(on_cpu(gradient) for gradient in gradients)
        # Squares in float16 overflow; on a GPU, they are added up there and read once.
        squares = [
            _squared_l2_norm(g if g.dtype == paddle.float32 else g.astype("float32"))
            for g in gradients
        ]
        if is_on_cpu:
            norm = math.sqrt(sum(square.item() for square in squares))
        else:
            norm = math.sqrt(paddle.add_n(squares).item())
        if not math.isfinite(norm):
            raise NonFiniteNormError
        if norm <= self.clip_norm:
            return params_grads
        if not is_on_cpu:
            clipped: list[tuple[Tensor, Tensor | None]] = super().__call__(params_grads)
            return clipped
        for gradient in gradients:
            gradient.detach().scale_(self.clip_norm / norm)
        return params_grads


class TableAdamW(AdamW):
    """AdamW that also decays those rows of trimmed tables that are not trained.

    Attributes:
        tables: Trimmed tables, with the decay that an update of learning rate 1 would apply.
    """

    tables: Sequence[tuple[TrimmedEmbedding, float]] = ()

    def step(self) -> None:
        """Make an update; as for any parameter, no gradient means no decay.

        Raises:
            NonFiniteNormError: The norm of the gradients is not finite; nothing was changed.
        """
        # Set by a loss scaler, which calls this also when a gradient overflowed.
        if self._get_auxiliary_var("found_inf"):
            self._set_auxiliary_var("found_inf", True)  # as Paddle's own does, for the scaler
            return
        rate = learning_rate_of(self)
        super().step()
        for table, decay in self.tables:
            if table.weight.grad is not None:
                table.decay(1.0 - rate * decay)


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
