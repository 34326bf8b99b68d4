"""Training and evaluation by programs that Paddle makes of a model (`to_static`)."""

from __future__ import annotations

import paddle

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.training.settings import RunSettings


def make_static(model: Model, settings: RunSettings) -> None:
    """Let calls of a model run programs, made when they are first needed.

    Args:
        model: What is trained.
        settings: Of the run.

    Raises:
        UserError: Something is asked for that programs do not do.
    """
    if settings.recompute:
        raise UserError(
            "`to_static`: a program keeps what its backward pass needs, and computes nothing "
            "again; leave out `recompute`"
        )
    if settings.use_amp and settings.is_on_host:
        raise UserError(
            "`to_static`: on a CPU, a program computes in float32 alone; leave out `use_amp`"
        )
    paddle.jit.to_static(model)
