"""Export a model for Paddle Inference, which then needs nothing of this library.

    from paddlenlp_ext.export import export_logits
    export_logits(model, "served")  # served/inference.json and served/inference.pdiparams

The exported program takes `input_ids`, `token_type_ids` (where the model has them) and
`attention_mask`, int64 [B, L] each, of any size, and answers the logits. What a call checks before
it computes is not exported: texts must be no longer than the model's positions.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from paddlenlp_ext.models.base import Model

NAME = "inference"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


def export_logits(model: Model, folder: str | Path) -> Path:
    """Write the program that computes a model's logits, and its weights.

    Args:
        model: Of a class whose answer has `.logits`.
        folder: For the files; made if it is not there.

    Returns:
        The files' path without an ending, as `paddle.jit.load` takes it.
    """
    names = [name for name in INPUTS if name in inspect.signature(model.forward).parameters]
    was_training = model.training
    program = _Logits(model, names)
    program.eval()
    specs = [InputSpec([None, None], "int64", name) for name in names]
    path = Path(folder) / NAME
    try:
        paddle.jit.save(program, str(path), input_spec=[specs])
    finally:
        if was_training:
            model.train()
    return path


class _Logits(nn.Layer):
    """A model with tensors alone as its arguments and answer, as a program has them."""

    def __init__(self, model: Model, names: list[str]) -> None:
        super().__init__()
        self.names = names
        if "__class__" in type(model).forward.__code__.co_freevars:
            # It calls `super()`, and what Paddle translates that to calls itself without end.
            self.model = model
            self.compute = paddle.jit.not_to_static(model.__call__)
        else:
            self.compute = model

    def forward(self, inputs: list[Tensor]) -> Tensor:
        # Given, because without them a length is checked that the program does not know yet.
        positions = paddle.arange(inputs[0].shape[1]).unsqueeze(0).expand_as(inputs[0])
        named = dict(zip(self.names, inputs))  # noqa: B905  (Paddle's own zip takes no strict)
        logits: Tensor = self.compute(position_ids=positions, **named).logits
        return logits
