"""Export a model for Paddle Inference or ONNX, which then need nothing of this library.

    from paddlenlp_ext.inference.export import export_logits, export_onnx
    export_logits(model, "served")  # served/inference.json and served/inference.pdiparams
    export_onnx(model, "served")  # served/inference.onnx

The exported program takes `input_ids`, `token_type_ids` (where the model has several) and
`attention_mask`, int64 [B, L] each, of any size, [B, C, L] for a choice, and returns the tensors of
the model's output in order: the logits, both of an answer, or the hidden states and the pooled
vector of a bare model. What a call checks before it computes is not exported: texts must be no
longer than the model's positions, and ids must be of the vocabulary.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.generator_discriminator import ForReplacedTokens
from paddlenlp_ext.models.heads import ForMultipleChoice
from paddlenlp_ext.models.outputs import ModelOutput

OPSET = 17  # of ONNX: the first with layer normalisation
NAME = "inference"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


def export_logits(model: Model, folder: str | Path) -> Path:
    """Write the program that computes a model's output, and its weights.

    Args:
        model: Of any class but the joint pretraining by replaced tokens.
        folder: For the files; made if it is not there.

    Returns:
        The files' path without an ending, as `paddle.jit.load` takes it.

    Raises:
        UserError: The model is two models, of which one has to be chosen.
    """
    if isinstance(model, ForReplacedTokens):
        raise UserError(
            f"{type(model).__name__} is two models for training; export its discriminator or its "
            "generator"
        )
    has_types = getattr(model.config, "type_vocab_size", 1) > 1
    names = [name for name in INPUTS if has_types or name != "token_type_ids"]
    sizes = [None, None, None] if isinstance(model, ForMultipleChoice) else [None, None]
    was_training = model.training
    program = _Program(model, names)
    program.eval()
    specs = [InputSpec(sizes, "int64", name) for name in names]
    path = Path(folder) / NAME
    try:
        paddle.jit.save(program, str(path), input_spec=[specs])
    finally:
        if was_training:
            model.train()
    return path


def export_onnx(model: Model, folder: str | Path) -> Path:
    """Write the program that computes a model's output, with its weights, as one ONNX file.

    Args:
        model: As `export_logits`.
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


class _Program(nn.Layer):
    """A model with tensors alone as its arguments and output, as a program has them."""

    def __init__(self, model: Model, names: list[str]) -> None:
        super().__init__()
        self.names = names
        self.model = model
        backbone: Any = getattr(model, "backbone", model)
        self.positions_of = backbone.positions_of

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        # Given, because what Paddle2ONNX makes of those that a model makes itself has no sizes.
        positions = self.positions_of(inputs[0])
        named = dict(zip(self.names, inputs))  # noqa: B905  (Paddle's own zip takes no strict)
        output = self.model(position_ids=positions, **named)
        return list(output.values() if isinstance(output, ModelOutput) else output)
