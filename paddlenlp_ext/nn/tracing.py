"""Whether operations are computed at once, or become a program (`paddle.jit.to_static`, export)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import paddle
from paddle.jit.sot.psdb import in_sot

if TYPE_CHECKING:
    from typing_extensions import TypeIs

T = TypeVar("T")


def is_traced() -> bool:
    """Return whether what calls this is being made into a program.

    What computes otherwise on a CPU, or looks at numbers, has no place in a program. Neither of
    Paddle's translators takes this for a question: to one, which runs the code with placeholders in
    place of tensors, dynamic mode is off; the other only reads the code, and puts True here.
    """
    return in_sot() or not paddle.in_dynamic_mode()


def is_given(value: T | None) -> TypeIs[T]:
    """Return whether a value is not None.

    Of `if tensor is None`, compiled by Python 3.11, SOT believes that it looks into the tensor, and
    cuts the program in two there. A function's answer it knows.
    """
    return value is not None
