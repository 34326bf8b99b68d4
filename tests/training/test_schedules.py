"""Courses of the learning rate: numbers of transformers 4.57.6, and those by which it computes."""

from __future__ import annotations

import math

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.training.optimization import rate_schedule
from paddlenlp_ext.training.schedules import SCHEDULES

RATE, STEPS, WARMUP = 2e-5, 11, 3
# `transformers.get_scheduler(kind, optimizer, num_warmup_steps=3, num_training_steps=11)`, the
# rates of its updates over the highest; "constant" is its "constant_with_warmup".
FACTORS = {
    "linear": [0, 1 / 3, 2 / 3, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
    "cosine": [
        0, 1 / 3, 2 / 3, 1, 0.96193977, 0.85355339, 0.69134172, 0.5, 0.30865828, 0.14644661,
        0.03806023,
    ],
    "constant": [0, 1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1, 1],
    "polynomial": [
        0, 1 / 3, 2 / 3, 1, 0.875625, 0.75125, 0.626875, 0.5025, 0.378125, 0.25375, 0.129375,
    ],
    "inverse_sqrt": [
        0, 1 / 3, 2 / 3, 1, 0.8660254, 0.77459667, 0.70710678, 0.65465367, 0.61237244, 0.57735027,
        0.54772256,
    ],
}  # fmt: skip


def factors(kind: str, steps: int, warmup: int, rate: float = RATE) -> list[float]:
    schedule = rate_schedule(rate, steps, kind=kind, warmup_steps=warmup)
    found = []
    for _ in range(steps):
        found.append(schedule() / rate)
        schedule.step()
    return found


@pytest.mark.parametrize("kind", SCHEDULES)
def test_factors_are_transformers(kind):
    assert factors(kind, STEPS, WARMUP) == pytest.approx(FACTORS[kind], abs=1e-8)


@pytest.mark.parity
@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize(("steps", "warmup"), [(11, 3), (29, 0), (7, 1)])
def test_factors_against_transformers(kind, steps, warmup):
    import torch
    import transformers

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], RATE)
    theirs = transformers.get_scheduler(
        "constant_with_warmup" if kind == "constant" else kind,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
    )
    found = []
    for _ in range(steps):
        found.append(theirs.get_last_lr()[0] / RATE)
        optimizer.step()
        theirs.step()
    assert factors(kind, steps, warmup) == pytest.approx(found, abs=1e-9)


def test_an_inverse_square_root_without_warm_up_has_a_scale_of_its_own():
    assert factors("inverse_sqrt", 101, 0)[100] == pytest.approx(math.sqrt(10_000 / 10_100))


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2])
def test_very_short_runs_have_a_rate(kind, steps):
    for warmup in range(3):
        assert all(0 <= factor <= 1 for factor in factors(kind, steps, warmup))


def test_a_polynomial_needs_room_to_fall():
    with pytest.raises(UserError, match=r"`lr_scheduler_type` polynomial: .*`learning_rate`"):
        rate_schedule(1e-8, 5, kind="polynomial")
