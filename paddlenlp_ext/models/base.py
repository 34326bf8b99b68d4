"""What every model can do: begin, load, save, grow its vocabulary, save memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import paddle
from paddle import Tensor, nn

from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.files.disk import origin_of
from paddlenlp_ext.files.sources import Source, located, resolve, without_neutral
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.config_keywords import renamed
from paddlenlp_ext.models.outputs import Output
from paddlenlp_ext.models.paddlenlp_tools import KnownToPaddleNLP
from paddlenlp_ext.nn.arrays import fill
from paddlenlp_ext.nn.autocast import Autocast
from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from paddlenlp_ext.nn.trimmed_embedding import whole_parameters
from paddlenlp_ext.process.devices import Type
from paddlenlp_ext.weights import folders
from paddlenlp_ext.weights.files import FORMATS
from paddlenlp_ext.weights.files import Format as Format  # the families' files take it from here
from paddlenlp_ext.weights.formats.pdparams import widen_bfloat16
from paddlenlp_ext.weights.names import BACKBONE, NameTable, collapse
from paddlenlp_ext.weights.states import (
    Array,
    LoadReport,
    export_state,
    load_state,
    require_fit,
)

logger = logging.getLogger(__name__)

AnyModel = TypeVar("AnyModel", bound="Model")

# What a model may have besides twice what its weight file holds, so that tiny files are loaded too.
NEW_NUMBERS = 1 << 24
NEW_TENSORS = 64

# Weights of every format are read, in float32, into as little memory as there can be.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("convert_from_torch", "low_cpu_mem_usage"), (True, False, None)),
    **dict.fromkeys(("use_safetensors", "load_state_as_np"), (True, False, None)),
    **dict.fromkeys(("ignore_mismatched_sizes", "output_loading_info"), (False, None)),
    **dict.fromkeys(("state_dict", "device_map", "variant"), (None,)),
}
# What both libraries' trainers say in saving; a model is written as one file, by ways of our own.
NEUTRAL_IN_SAVING: dict[str, tuple[Any, ...]] = {
    "merge_tensor_parallel": (True, False, None),
    "save_to_hf": (False, None),
    "push_to_hub": (False, None),
    **dict.fromkeys(("state_dict", "config_to_save", "variant"), (None,)),
}
LOGGED = 50  # names of a kind that a log line writes out

_filling = False  # while the weights of a file are about to replace those of a new model


class Model(KnownToPaddleNLP):
    """A model with a config, weights under two foreign formats, and presets.

    Args:
        config: The sizes.

    Attributes:
        config_class: Type of `config`.
        presets: Configs by name.
        names: The table of names of each foreign format.
        foreign_names: What the library that has a format calls this class, if something else.
        load_report: What the weight file lacked and what was left of it; none before loading.
    """

    config_class: ClassVar[type[ModelConfig]] = ModelConfig
    presets: ClassVar[Mapping[str, ModelConfig]] = {}
    names: ClassVar[Mapping[Format, NameTable]] = {}
    foreign_names: ClassVar[Mapping[Format, str]] = {}
    # Modules that weight files may lack: they are then newly initialized, with a warning.
    optional_modules: ClassVar[tuple[str, ...]] = ("pooler.",)
    # Whether the head is made by fine-tuning, so that nobody expects it in a checkpoint.
    head_is_new: ClassVar[bool] = False
    # Fields of the config that ask for a head of another size than the checkpoint's.
    sizes_of_head: ClassVar[tuple[str, ...]] = ("num_labels", "id2label")

    base_model_prefix: ClassVar[str] = BACKBONE.rstrip(".")  # what heads call the bare model

    _autocast: Autocast | None = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.return_dict = config.others.get("return_dict") is not False  # if a call does not say
        self.load_report: LoadReport | None = None

    # ---- beginning -------------------------------------------------------------------------

    def initialize_weights(self) -> None:
        """Draw new weights; every class calls this at the end of its `__init__`.

        Linear and embedding weights are normal with `initializer_range`, biases zero. The weights
        of an inner model were drawn by that model.
        """
        if not _filling:
            for layer in self._own_layers():
                self._initialize_layer(layer)

    def _own_layers(self) -> Iterator[nn.Layer]:
        waiting: list[nn.Layer] = [self]
        while waiting:
            for layer in waiting.pop().children():
                if not isinstance(layer, Model):
                    yield layer
                    waiting.append(layer)

    def _initialize_layer(self, layer: nn.Layer) -> None:
        """Draw the weights of one layer; a family with layers of its own adds to this."""
        if isinstance(layer, (nn.Linear, nn.Embedding)):
            std = self.config.initializer_range
            layer.weight.set_value(paddle.randn(layer.weight.shape) * std)
        if isinstance(layer, nn.LayerNorm):
            layer.weight.set_value(paddle.ones_like(layer.weight))
        if isinstance(layer, (nn.Linear, nn.LayerNorm)) and layer.bias is not None:
            layer.bias.set_value(paddle.zeros_like(layer.bias))

    @property
    def base_model(self) -> Model:
        """The model without its head, or itself."""
        return self

    @property
    def num_labels(self) -> int:
        """Width of a classifier, as the config says."""
        return self.config.num_labels

    @property
    def dtype(self) -> Any:
        """Type of the weights."""
        return self.parameters()[0].dtype

    # ---- answering -------------------------------------------------------------------------

    def as_asked(self, output: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        """Return an output, or its values if `return_dict` is false; `self.return_dict` if None."""
        is_whole = self.return_dict if return_dict is None else return_dict
        if is_whole or isinstance(output, tuple):  # already values in a program
            return output
        return output.to_tuple()

    # ---- loading ---------------------------------------------------------------------------

    @classmethod
    def from_config(cls: type[AnyModel], config: ModelConfig, **config_overrides: Any) -> AnyModel:
        """Build a model with new weights.

        Args:
            config: The sizes.
            config_overrides: Fields of it to change.

        Raises:
            UserError: The config is of another family.
        """
        cls._require_own(config)
        return cls(config.replace(**config_overrides))

    @classmethod
    def _require_own(cls, config: ModelConfig) -> None:
        if not isinstance(config, cls.config_class):
            raise UserError(
                f"{cls.__name__} is built of a {cls.config_class.__name__}, not of a "
                f"{type(config).__name__}; take the classes of that family"
            )

    @classmethod
    def from_pretrained(
        cls: type[AnyModel],
        name_or_folder: str | Path | Source,
        *,
        config: ModelConfig | None = None,
        **config_overrides: Any,
    ) -> AnyModel:
        """Build a model and fill it with published or saved weights.

        Args:
            name_or_folder: A folder of ours, PaddleNLP's or transformers' (then the network is not
                touched), a preset, or a repository of the Hugging Face Hub.
            config: To be taken in place of the one that is beside the weights.
            config_overrides: Fields of the config to change (`num_labels=3`); `subfolder`, where
                the files are there; `cache_dir`, where downloads are kept. Arguments of PaddleNLP's
                and transformers' that ask for what is done anyway are taken.

        Raises:
            UserError: There is no such folder or preset, a file is broken, or the weights leave a
                hole in the model that is not a new head. A head of another width is new only where
                one of `sizes_of_head` asks for one, or another class than this one was saved.
        """
        source, config_overrides = located(name_or_folder, config_overrides)
        config_overrides = without_neutral(config_overrides, NEUTRAL)
        asked = not {*cls.sizes_of_head}.isdisjoint(renamed(config_overrides))
        asked = asked or config is not None or cls._was_saved_otherwise(source)
        config = cls.read_config(source) if config is None else config
        cls._require_own(config)
        config.replace(**config_overrides)  # a wrong one is refused before the weights are fetched
        tensors, format = folders.read_model(source)
        config = config.with_sizes_from(tensors)
        numbers = sum(array.size for array in tensors.values())
        try:
            with _to_be_filled(_Zeros(tensors, source.name)):
                model = cls(config.replace(**config_overrides))
        except MemoryError as error:
            raise UserError(
                f"{source}: there is too little memory for a model whose weights have {numbers:,} "
                "numbers; take a smaller one, or end other programs"
            ) from error
        model._fill(tensors, format, source.name, head_may_differ=asked)  # empties `tensors`
        model.eval()
        return model

    @classmethod
    def read_config(cls, name_or_folder: str | Path | Source) -> ModelConfig:
        """Read the config of a preset, a folder or a repository.

        Raises:
            UserError: There is none, or it is another family's.
        """
        source = resolve(name_or_folder)
        if source.preset and source.name in cls.presets:
            return cls.presets[source.name]
        return cls.config_class.from_pretrained(source)

    @classmethod
    def _was_saved_otherwise(cls, source: Source) -> bool:
        """Return whether the folder was saved by another class, as far as it says so."""
        classes = [] if source.preset else folders.read_config(source).get("architectures") or []
        own = {cls.__name__, *(cls.foreign_class_name(format) for format in FORMATS)}
        return not own.issuperset(classes[:1])

    def _fill(
        self, tensors: dict[str, Array], format: Format, source: str, *, head_may_differ: bool
    ) -> None:
        parameters = dict(self.named_parameters())
        placeholders = self._all_placeholders(format)  # a file may hold these, and need not
        shapes = {name: tuple(value.shape) for name, value in (placeholders | parameters).items()}
        transposed = self.linear_weights() if FORMATS[format].out_in else ()
        state, report = load_state(tensors, self.name_table(format), shapes, transposed)
        for name, array in state.items():
            if array.dtype.kind != "f":
                raise UserError(
                    f"{source}: {name} is of type {array.dtype} in the weights, and the model has "
                    "floating-point numbers there; take weights that are not quantized"
                )
        missing = tuple(name for name in report.missing if name in parameters)
        self._check_load_report(replace(report, missing=missing), source, head_may_differ)
        new = parameters.keys() - state.keys()
        tensors.clear()  # from here on, what has been copied is freed
        for name in parameters.keys() - new:
            fill(parameters[name], state.pop(name))
        for path, layer in self.named_sublayers():
            if any(f"{path}.{name}" in new for name, _ in layer.named_parameters("", False)):
                self._initialize_layer(layer)

    def _check_load_report(self, report: LoadReport, source: str, head_may_differ: bool) -> None:
        """Say what is new, refuse holes; a head of another width may be new where it may differ."""
        prefix = "" if self.names["huggingface"].is_bare(self._parameter_names()) else BACKBONE

        def is_of_head(name: str) -> bool:
            return not name.startswith(prefix)

        def may_be_new(name: str) -> bool:
            inner = name.removeprefix(prefix)
            return is_of_head(name) or inner.startswith(self.optional_modules)

        fatal = tuple(row for row in report.mismatched if not is_of_head(row[0]))
        require_fit(replace(report, mismatched=fatal, differing=()), source, may_be_new)
        if report.mismatched and not head_may_differ:
            shapes = LoadReport(mismatched=report.mismatched).describe()
            raise WeightsError(
                f"{source}: the config does not fit the weights of the head, {shapes}; correct "
                "config.json, or give `num_labels`: the weights' number, or another for a new head"
            )
        self.load_report = report
        head = {name for name in self._parameter_names() if is_of_head(name)}
        expected = self.head_is_new and head == {*report.missing} and not report.mismatched
        expected = expected and not report.differing
        is_new = bool(report.missing or report.mismatched or report.differing)
        said = []
        if report.missing:
            names = collapse(report.missing, LOGGED)
            said.append(f"newly initialized, not in the checkpoint: {names}")
        for what, part in (
            ("newly initialized", LoadReport(mismatched=report.mismatched)),
            ("not used", replace(report, missing=(), mismatched=())),
        ):
            if part != LoadReport():
                said.append(f"{what}, {part.describe(LOGGED)}")
        if said:
            level = logging.WARNING if is_new and not expected else logging.INFO
            logger.log(level, "%s: %s", source, "; ".join(said))

    # ---- saving ----------------------------------------------------------------------------

    def save_pretrained(
        self,
        folder: str | Path,
        format: Format = "paddle",
        *,
        is_main_process: bool = True,
        save_function: object = None,
        max_shard_size: object = None,
        **neutral: Any,
    ) -> None:
        """Write the config and the weights.

        Args:
            folder: Where to; made if it is not there.
            format: `paddle`, what PaddleNLP loads (`model_state.pdparams`); or `huggingface`, what
                transformers loads strictly (`model.safetensors`).
            is_main_process: Whether to write anything.
            save_function: What PaddleNLP and transformers write with; here files are never written
                by halves, which takes another.
            max_shard_size: How much they put into a file; here there is one.
            neutral: Other arguments of theirs that ask for what is done anyway.

        Raises:
            UserError: One asks for something else.
            WeightsError: The format has no name for some of the weights.
        """
        without_neutral(neutral, NEUTRAL_IN_SAVING)
        if not is_main_process:
            return
        transposed = self.linear_weights() if FORMATS[format].out_in else ()
        state = {name: _as_float32(array) for name, array in whole_parameters(self).items()}
        state |= self._all_placeholders(format)
        tensors = export_state(state, self.name_table(format), transposed)
        config = {"architectures": [self.foreign_class_name(format)], **self.config.to_dict()}
        folders.write_model(Path(folder), tensors, config, format)

    def name_table(self, format: Format) -> NameTable:
        """Return the table of names of a format for this model."""
        return self.names[format]

    @classmethod
    def foreign_class_name(cls, format: Format) -> str:
        """Return the name of this class in the library that has the format."""
        return cls.foreign_names.get(format, cls.__name__)

    def placeholder_weights(self, format: Format) -> dict[str, Array]:
        """Return tensors, by our names, that this model lacks and the format's library needs."""
        return {}

    def _all_placeholders(self, format: Format) -> dict[str, Array]:
        return {
            f"{path}.{name}".lstrip("."): array
            for path, layer in self.named_sublayers(include_self=True)
            if isinstance(layer, Model)
            for name, array in layer.placeholder_weights(format).items()
        }

    def linear_weights(self) -> set[str]:
        """Name the weights that PyTorch keeps as [out, in] and Paddle as [in, out]."""
        return {
            f"{path}.weight"
            for path, layer in self.named_sublayers()
            if isinstance(layer, nn.Linear)
        }

    # ---- vocabulary and memory ---------------------------------------------------------------

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        raise NotImplementedError

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Take another table of word embeddings, as it is; what scores words by them does too."""
        raise NotImplementedError

    def get_output_embeddings(self) -> nn.Embedding | None:
        """Return what scores words, if there is such a head."""
        return None

    def tie_weights(self) -> None:
        """Do nothing: a head that scores by the word embeddings has no copy of them."""

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Embedding:
        """Give the word embeddings, and what scores words, another number of rows.

        Args:
            new_num_tokens: New `V`; added rows are drawn at random, rows beyond it are cut off. If
                None, nothing changes.

        Returns:
            The word embeddings.
        """
        if new_num_tokens is not None:
            with paddle.no_grad():
                self._resize_vocabulary(new_num_tokens)
            for layer in self.sublayers(include_self=True):
                if isinstance(layer, Model):
                    layer.config = layer.config.replace(vocab_size=new_num_tokens)
        return self.get_input_embeddings()

    def _resize_vocabulary(self, vocab_size: int) -> None:
        self._resize_table(self.get_input_embeddings(), vocab_size)

    def _resize_table(self, table: nn.Embedding, rows: int) -> None:
        table.weight = self._resized(table.weight, rows)
        table._num_embeddings = rows

    def _resized(self, parameter: Tensor, rows: int) -> Tensor:
        """Give a parameter another first axis; new rows normal, new entries of a bias zero."""
        kept = min(rows, parameter.shape[0])
        is_bias = parameter.ndim == 1
        grown = self.create_parameter([rows, *parameter.shape[1:]], is_bias=is_bias)
        values = paddle.randn(grown.shape) * (0.0 if is_bias else self.config.initializer_range)
        values[:kept] = parameter[:kept]
        grown.set_value(values)
        return grown

    def enable_recompute(self, recompute: bool = True) -> None:
        """Forget activations in training and compute them again in the backward pass."""
        for layer in self.sublayers(include_self=True):
            if isinstance(layer, Encoder):
                layer.enable_recompute = recompute

    def compute_unread(self, compute: bool = True) -> None:
        """Compute the last layer for all positions, also those that the head does not read."""
        for layer in self.sublayers(include_self=True):
            if isinstance(layer, Encoder):
                layer.skips_unread = not compute

    def compile_layers(self, compile: bool = True) -> None:
        """Compute encoder layers by kernels in C, on a CPU and where they know the layer's parts.

        A new model does so where the installation has them. Where they compute all layers, padding
        is left out unless it is read: the bare model, for one, returns the hidden states of padding
        too.

        Raises:
            UserError: The installation has no kernels.
        """
        if compile and compiled.kernels() is None:
            raise UserError(
                "`compiled_layers`: this installation of paddlenlp_ext has no kernels, which a C "
                "compiler builds where it is installed: install one (gcc) and paddlenlp_ext again, "
                "or leave it out"
            )
        for layer in self.sublayers():
            if isinstance(layer, EncoderLayer):
                layer.is_compiled = compile

    def compute_in(self, dtype: Type | None, *, asked: str = "amp_dtype") -> None:
        """Compute large products in a type, but not in training, which `mixed_precision` is for.

        The weights stay as they are. On a CPU their casts are kept until `train()` is called.

        Args:
            dtype: The type; None computes in float32 again.
            asked: The setting that asks for it, for messages.

        Raises:
            DeviceError: The device does not compute in this type.
        """
        self._autocast = None if dtype is None else Autocast(dtype, asked=asked)

    def __call__(self, *inputs: Any, **named_inputs: Any) -> Any:
        """Compute what `forward` does."""
        if self._autocast is None or self.training:
            return super().__call__(*inputs, **named_inputs)
        with self._autocast():
            return super().__call__(*inputs, **named_inputs)

    def train(self) -> None:
        """Let dropout drop: what follows changes the weights."""
        if self._autocast is not None:
            self._autocast.forget()
        super().train()

    def _parameter_names(self) -> list[str]:
        return [name for name, _ in self.named_parameters()]


def _as_float32(array: Array) -> Array:
    """Widen the numbers of a model that computes in float16 or bfloat16."""
    return (
        widen_bfloat16(array) if array.dtype == np.uint16 else array.astype(np.float32, copy=False)
    )


class _Zeros(nn.initializer.Constant):  # type: ignore[misc]
    """Begins all weights with zeros, and ends a config that asks for far more than its file has.

    A model may have new heads, which the file lacks, and a head of its own vocabulary; neither is
    as large as all that the file has.
    """

    def __init__(self, tensors: Mapping[str, Array], source: str) -> None:
        super().__init__(0.0)
        self.source = source
        # One number of a file may stand for many in its tensors.
        origins = {id(origin): origin for origin in map(origin_of, tensors.values())}
        self.held = min(
            sum(array.size for array in tensors.values()),
            sum(memoryview(origin).nbytes for origin in origins.values()),
        )
        self.numbers_left = 2 * self.held + NEW_NUMBERS
        self.tensors_left = 2 * len(tensors) + NEW_TENSORS

    def forward(self, var: Tensor, block: Any = None) -> Any:
        self.numbers_left -= math.prod(var.shape)
        self.tensors_left -= 1
        if self.numbers_left < 0 or self.tensors_left < 0:
            raise UserError(
                f"{self.source}: the config asks for a model of more than twice the size of the "
                f"weights, which have {self.held:,} numbers; take the config.json of these weights"
            )
        return super().forward(var, block)


@contextmanager
def _to_be_filled(zeros: _Zeros) -> Iterator[None]:
    """Build models without drawing their weights: those of a file come next."""
    global _filling
    paddle.nn.initializer.set_global_initializer(zeros)
    _filling = True
    try:
        yield
    finally:
        _filling = False
        paddle.nn.initializer.set_global_initializer(None)
