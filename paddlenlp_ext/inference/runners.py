"""Run a model wherever it is: loaded from its folder, as an exported program, as an ONNX file.

All three are called alike, with arrays by the names of a model's arguments, and return the tensors
of its output in order. What they need besides, the config and the tokenizer, lies in the same
folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import paddle

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.inference.export import NAME
from paddlenlp_ext.models.auto import AutoConfig, family_of, model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.process import devices
from paddlenlp_ext.process.devices import Type, check_device
from paddlenlp_ext.tokenizers.auto import class_of
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.weights.files import WEIGHT_FILES

PROGRAM_ENDINGS = (".json", ".pdmodel")  # Paddle 3's and 2's; the weights are beside it
ONNX_ENDING = ".onnx"
Inputs = Mapping[str, npt.NDArray[np.int64]]  # [B, L] each, [B, C, L] of a choice
Outputs = list[npt.NDArray[np.float32]]


class Runner(Protocol):
    """Computes what a model does."""

    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the tensors of the model's output, in order."""


@dataclass(frozen=True)
class ModelRunner:
    """Runs a model of this library."""

    model: Model

    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the tensors of the model's output, in order."""
        given = {name: paddle.to_tensor(values) for name, values in inputs.items()}
        with paddle.no_grad():
            output = self.model(**given)
        return [value.astype("float32").numpy() for value in output.values()]


class ProgramRunner:
    """Runs what `export_logits` has written.

    Args:
        path: Of its files, without an ending.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.program = paddle.jit.load(str(path))
        except (RuntimeError, ValueError, OSError) as error:  # Paddle's own are of these kinds
            raise _broken(path, error) from error
        self.program.eval()
        self.names = [spec.name for spec in self.program._input_spec()]

    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the tensors of the model's output, in order."""
        with paddle.no_grad():
            given = [paddle.to_tensor(values) for values in _named(self.names, inputs).values()]
            output = self.program(*given)
        found = output if isinstance(output, (list, tuple)) else [output]
        return [value.numpy() for value in found]


class OnnxRunner:
    """Runs what `export_onnx` has written.

    Args:
        path: The file.
        device: "gpu" or one of several ("gpu:1"); anything else is the CPU.

    Raises:
        UserError: ONNX Runtime is not installed, or this is no file of ONNX.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                f"{path}: needs ONNX Runtime ({error}): pip install 'paddlenlp-ext[export]'"
            ) from error
        number = int(device.partition(":")[2] or 0)
        providers: list[Any] = ["CPUExecutionProvider"]
        if provider := devices.named(device).onnx_provider:
            providers.insert(0, (provider, {"device_id": number}))
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=providers)
        except Exception as error:  # a dozen types of its own, without a common one
            raise _broken(path, error) from error
        self.names = [one.name for one in self.session.get_inputs()]

    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the tensors of the model's output, in order."""
        found: Outputs = self.session.run(None, _named(self.names, inputs))
        return found


@dataclass(frozen=True)
class Loaded:
    """A model that can be run, and what belongs to it.

    Attributes:
        runner: Runs it.
        config: Its sizes, and the names of its labels.
        tokenizer: Its own.
        name: What the user called it, for messages.
        model: Itself, where it is one of this library and no program.

    Raises:
        UserError: The tokenizer is another model's, with more tokens.
    """

    runner: Runner
    config: ModelConfig
    tokenizer: Tokenizer
    name: str
    model: Model | None = None

    def __post_init__(self) -> None:
        self.config.require_rows(len(self.tokenizer))

    @property
    def max_length(self) -> int:
        """Tokens of the longest row: what there are positions for, if the tokenizer allows it."""
        return min(self.config.max_length, self.tokenizer.model_max_length)


def load(
    model: str | Path | Source | Model,
    task: str,
    *,
    tokenizer: str | Path | Tokenizer | None = None,
    device: str | None = None,
    amp_dtype: Type | None = None,
) -> Loaded:
    """Load a model to run, and its tokenizer.

    Args:
        model: A model; its folder, a preset or a repository; or what was exported: an ONNX file, a
            program's path with or without its ending, or their folder. Of a folder that holds all
            of these, the model is taken.
        task: What the class's name ends with: `ForSequenceClassification`.
        tokenizer: Its own, or where it is; by default beside the model. Always beside an exported
            one with its config.json.
        device: "cpu", "gpu", "xpu" or "npu", or one of several; by default Paddle's choice.
        amp_dtype: In which type a model's large products are computed; None is float32, or what a
            model that is loaded already computes in.

    Raises:
        UserError: There is no such thing, it has no head for the task, or no tokenizer.
        DeviceError: The device is not there, or does not compute in this type.
    """
    if device is not None:
        check_device(device)
        paddle.set_device(device)
    if isinstance(model, Model):
        if tokenizer is None:
            raise UserError("give the `tokenizer` of a model that is loaded already")
        _require_head(model, task, type(model).__name__)
        model.eval()
        if amp_dtype is not None:
            model.compute_in(amp_dtype)
        own = _tokenizer(tokenizer, task)
        return Loaded(ModelRunner(model), model.config, own, type(model).__name__, model)
    exported = None if isinstance(model, Source) else exported_path(model)
    if exported is not None:
        if amp_dtype is not None:
            raise UserError(
                f"{exported}: `amp_dtype`: what was exported computes as it was exported; give the "
                "folder of the model, or leave it out"
            )
        folder = resolve(exported.parent)
        on = device or paddle.device.get_device()
        is_onnx = exported.suffix == ONNX_ENDING
        runner: Runner = OnnxRunner(exported, on) if is_onnx else ProgramRunner(exported)
        config = AutoConfig.from_pretrained(folder)
        return Loaded(runner, config, _tokenizer(tokenizer or folder, task), str(exported))
    source = resolve(model)
    found = model_class(family_of(source), task).from_pretrained(source)
    _require_head(found, task, source.name)
    found.compute_in(amp_dtype)
    own = _tokenizer(tokenizer or source, task)
    return Loaded(ModelRunner(found), found.config, own, source.name, found)


def _tokenizer(found: str | Path | Source | Tokenizer, task: str) -> Tokenizer:
    if isinstance(found, Tokenizer):
        return found
    cls = class_of(found)
    # UIE-M's weights are PaddleNLP's, whose ids they were trained with.
    of_uie_m = task == "ForExtraction" and cls is ErnieMTokenizer
    return cls.from_pretrained(found, **({"drop_lone_space": True} if of_uie_m else {}))


def exported_path(model: str | Path) -> Path | None:
    """Return an ONNX file, or the path of a program without its ending; None for anything else."""
    path = Path(model).expanduser()
    if path.is_dir():
        if any((path / name).is_file() for name in WEIGHT_FILES):
            return None
        path /= NAME
    elif path.suffix == ONNX_ENDING and path.is_file():
        return path
    elif path.suffix in PROGRAM_ENDINGS:
        path = path.with_suffix("")
    if any(Path(f"{path}{ending}").is_file() for ending in PROGRAM_ENDINGS):
        return path
    onnx = Path(f"{path}{ONNX_ENDING}")
    return onnx if onnx.is_file() else None


def _named(names: list[str], inputs: Inputs) -> dict[str, npt.NDArray[np.int64]]:
    """Return what a program takes, in its order: token types are all 0 where none are made."""
    return {
        name: inputs[name] if name in inputs else np.zeros_like(inputs["input_ids"])
        for name in names
    }


def _require_head(model: Model, task: str, name: str) -> None:
    """Refuse a model of another class, and one whose head nobody has trained.

    Raises:
        UserError: It is such a model.
    """
    if not any(cls.__name__.endswith(task) for cls in type(model).__mro__):
        raise UserError(f"{name}: expected a model {task}, got {type(model).__name__}")
    report = model.load_report
    lacking = ", ".join((*report.missing, *(row[0] for row in report.mismatched))) if report else ""
    if lacking:
        raise UserError(
            f"{name}: its weights have no {lacking}: it was not trained for this; give the folder "
            "of a model that was fine-tuned"
        )


def _broken(path: Path, error: Exception) -> UserError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UserError(f"{path}: cannot be loaded ({lines[-1] if lines else error}); export it again")
