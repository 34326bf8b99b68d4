"""PaddleNLP's learning-rate schedules, step by step the same."""

from __future__ import annotations

import math

from paddle.optimizer.lr import LambdaDecay, LRScheduler

from paddlenlp_ext.errors import UserError


def warmup_steps(warmup: float, total_steps: int | None) -> int:
    """Return the steps of a warm-up: `warmup` itself, or as a float that share of all steps.

    Raises:
        UserError: A share is given and the number of all steps is not.
    """
    if isinstance(warmup, int):
        return warmup
    if not total_steps:
        raise UserError("`total_steps` is needed where `warmup` is a share of them")
    return math.floor(warmup * total_steps)


class LinearDecayWithWarmup(LambdaDecay):  # type: ignore[misc]
    """Up to the rate in a straight line, then down to 0 at the last step.

    Args:
        learning_rate: The highest.
        total_steps: When it is 0.
        warmup: Steps until the highest; a float is a share of all.
        last_epoch: The last step made.
        verbose: Whether Paddle prints each rate.
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        warmup: float,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        begin = warmup_steps(warmup, total_steps)

        def factor(step: int) -> float:
            if step < begin:
                return step / begin
            return max(0.0, (total_steps - step) / max(1, total_steps - begin))

        super().__init__(learning_rate, factor, last_epoch, verbose)


class ConstScheduleWithWarmup(LambdaDecay):  # type: ignore[misc]
    """Up to the rate in a straight line, then always that; see `LinearDecayWithWarmup`."""

    def __init__(
        self,
        learning_rate: float,
        warmup: float,
        total_steps: int | None = None,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        begin = warmup_steps(warmup, total_steps)

        def factor(step: int) -> float:
            return step / begin if step < begin else 1.0

        super().__init__(learning_rate, factor, last_epoch, verbose)


class CosineDecayWithWarmup(LambdaDecay):  # type: ignore[misc]
    """Up to the rate in a straight line, then along a cosine; see `LinearDecayWithWarmup`.

    Args:
        learning_rate: The highest.
        total_steps: Where the cosine ends.
        warmup: Steps until the highest; a float is a share of all.
        with_hard_restarts: Whether each half wave begins at the top again, rather than whole waves
            that follow one another.
        num_cycles: How many waves, a whole number, 1 by default; with restarts half waves, a float,
            0.5 by default.
        last_epoch: The last step made.
        verbose: Whether Paddle prints each rate.

    Raises:
        UserError: `num_cycles` is of the other kind.
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        warmup: float,
        with_hard_restarts: bool = False,
        num_cycles: float | None = None,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        begin = warmup_steps(warmup, total_steps)
        if num_cycles is None:
            num_cycles = 0.5 if with_hard_restarts else 1
        if isinstance(num_cycles, float) != with_hard_restarts:
            raise UserError(
                "`num_cycles` is a float with `with_hard_restarts`, and a whole number without"
            )

        def factor(step: int) -> float:
            if step < begin:
                return step / begin
            progress = (step - begin) / max(1, total_steps - begin)
            if not with_hard_restarts:
                turn = 2 * num_cycles * progress
            elif progress < 1:
                turn = num_cycles * progress % 1
            else:
                turn = 1.0
            return max(0.0, 0.5 * (1 + math.cos(math.pi * turn)))

        super().__init__(learning_rate, factor, last_epoch, verbose)


class PolyDecayWithWarmup(LambdaDecay):  # type: ignore[misc]
    """Up to the rate in a straight line, then down along a power; see `LinearDecayWithWarmup`.

    Args:
        learning_rate: The highest.
        total_steps: When it is the lowest.
        warmup: Steps until the highest; a float is a share of all.
        lr_end: The lowest.
        power: Of what is left of the steps.
        last_epoch: The last step made.
        verbose: Whether Paddle prints each rate.

    Raises:
        UserError: The lowest rate is not below the highest.
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        warmup: float,
        lr_end: float = 1e-7,
        power: float = 1.0,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        if lr_end >= learning_rate:
            raise UserError(
                f"`lr_end` {lr_end} must be below `learning_rate` {learning_rate}, where it begins"
            )
        begin = warmup_steps(warmup, total_steps)

        def factor(step: int) -> float:
            if step < begin:
                return step / begin
            if step > total_steps:
                return lr_end / learning_rate
            left = 1 - (step - begin) / max(1, total_steps - begin)
            return float((learning_rate - lr_end) * left**power + lr_end) / learning_rate

        super().__init__(learning_rate, factor, last_epoch, verbose)


class LinearAnnealingWithWarmupDecay(LRScheduler):  # type: ignore[misc]
    """Up to the highest rate, down to the lowest one in a straight line, then always that.

    Args:
        max_lr: The highest.
        min_lr: The lowest.
        warmup_step: Steps until the highest.
        decay_step: Steps until the lowest.
        last_epoch: The last step made.
        verbose: Whether Paddle prints each rate.
    """

    def __init__(
        self,
        max_lr: float,
        min_lr: float,
        warmup_step: int,
        decay_step: int,
        last_epoch: int = -1,
        verbose: bool = False,
    ) -> None:
        self.max_lr = max_lr
        self.min_lr = min_lr
        self.warmup_step = warmup_step
        self.decay_step = decay_step
        super().__init__(max_lr, last_epoch, verbose)

    def get_lr(self) -> float:
        """Return the rate of the step `last_epoch`."""
        if self.warmup_step > 0 and self.last_epoch <= self.warmup_step:
            return float(self.max_lr * self.last_epoch / self.warmup_step)
        if self.last_epoch > self.decay_step:
            return float(self.min_lr)
        done = (self.last_epoch - self.warmup_step) / (self.decay_step - self.warmup_step)
        return float(self.min_lr + self.left(done) * (self.max_lr - self.min_lr))

    def left(self, done: float) -> float:
        """Return how much of the rate is left when this share of the way down is done."""
        return 1 - done


class CosineAnnealingWithWarmupDecay(LinearAnnealingWithWarmupDecay):
    """As `LinearAnnealingWithWarmupDecay`, along a cosine."""

    def left(self, done: float) -> float:
        """Return how much of the rate is left when this share of the way down is done."""
        return 0.5 * (math.cos(math.pi * done) + 1)
