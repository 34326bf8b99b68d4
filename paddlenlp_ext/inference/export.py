"""Export a model for Paddle Inference or ONNX, which then need nothing of this library.

    from paddlenlp_ext.inference.export import export_logits, export_onnx
    export_logits(model, "served")  # served/inference.json and served/inference.pdiparams
    export_onnx(model, "served")  # served/inference.onnx

The exported program takes `input_ids`, `token_type_ids` (where the model has several) and
`attention_mask`, int64 [B, L] each, of any size, and returns the logits. What a call checks before
it computes is not exported: texts must be no longer than the model's positions.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.models.base import Model

OPSET = 17  # of ONNX: the first with layer normalisation
NAME = "inference"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


def export_logits(model: Model, folder: str | Path) -> Path:
    """Write the program that computes a model's logits, and its weights.

    Args:
        model: Of a class whose output has `.logits`.
        folder: For the files; made if it is not there.

    Returns:
        The files' path without an ending, as `paddle.jit.load` takes it.
    """
    has_types = getattr(model.config, "type_vocab_size", 1) > 1
    names = [name for name in INPUTS if has_types or name != "token_type_ids"]
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


def export_onnx(model: Model, folder: str | Path) -> Path:
    """Write the program that computes a model's logits, with its weights, as one ONNX file.

    Args:
        model: Of a class whose output has `.logits`.
        folder: For the file; made if it is not there.

    Returns:
        The file.

    Raises:
        UserError: Paddle2ONNX is not installed.
        WeightsError: The file cannot be written.
    """
    try:
        import paddle2onnx
    except ImportError as error:
        raise UserError(
            f"ONNX needs Paddle2ONNX ({error}): pip install 'paddlenlp-ext[export]'"
        ) from error
    path = Path(folder) / f"{NAME}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own, replace_file(path) as temporary:
        program = export_logits(model, own)
        # Its tools of optimization install what they miss from an index of packages.
        paddle2onnx.export(
            f"{program}.json",
            f"{program}.pdiparams",
            str(temporary),
            opset_version=OPSET,
            optimize_tool="None",
        )
    return path


class _Logits(nn.Layer):
    """A model with tensors alone as its arguments and output, as a program has them."""

    def __init__(self, model: Model, names: list[str]) -> None:
        super().__init__()
        self.names = names
        self.backbone = model.backbone
        if "__class__" in type(model).forward.__code__.co_freevars:
            # It calls `super()`, and what Paddle translates that to calls itself without end.
            self.model = model
            self.compute = paddle.jit.not_to_static(model.__call__)
        else:
            self.compute = model

    def forward(self, inputs: list[Tensor]) -> Tensor:
        # Given, because without them a length is checked that the program does not know yet.
        positions = self.backbone.positions_of(inputs[0])
        named = dict(zip(self.names, inputs))  # noqa: B905  (Paddle's own zip takes no strict)
        logits: Tensor = self.compute(position_ids=positions, **named).logits
        return logits
