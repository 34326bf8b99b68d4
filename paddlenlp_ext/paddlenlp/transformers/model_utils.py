"""Models that answer as PaddleNLP's do: by a tensor or a tuple, unless names are asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from paddle import nn

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.sources import Source
from paddlenlp_ext.models.base import AnyModel, Format, Model
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.paddlenlp.transformers.configuration_utils import PretrainedConfig
from paddlenlp_ext.weights.names import NameTable, Row

Class = TypeVar("Class", bound=type[Model])

# What the config can ask for, too.
LEFT_TO_CONFIG = ("output_hidden_states", "output_attentions")


class PretrainedModel(Model):
    """A model of this library, in front of whose class this one comes, as PaddleNLP has it.

    A user's own classes stand on a family's (`BertPretrainedModel`), hold its bare model under
    PaddleNLP's name for it (`self.bert = BertModel(config)`), and are loaded and saved with what
    they have besides.

    Args:
        config: The sizes; or, for a model with a head, its bare model, as before PaddleNLP 2.5.
        values: Without a config, its fields; with a bare model, fields to change (`num_classes`).

    Attributes:
        asked: The config's; what models answer where a call does not say.
        base_model_prefix: The name of the bare model in a model with a head.
    """

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    base_model_prefix: ClassVar[str] = "backbone"
    asked: dict[str, bool]
    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    main_input_name: ClassVar[str] = "input_ids"
    with_pooler: ClassVar[bool] = True  # PaddleNLP's models have it under every head
    config: Any

    def __init__(self, config: ModelConfig | Model | None = None, **values: Any) -> None:
        if isinstance(config, Model):
            bare = config
            self.__dict__["backbone_class"] = lambda _, *, with_pooler: bare
            config = bare.config.replace(**values)
        elif config is None:
            config = self.config_class(**values)
        settled = self.config_class.of(config)
        settled.check()
        super().__init__(settled)
        self.asked = settled.asked
        self.__dict__.pop("backbone_class", None)

    def as_asked(self, output: Any, return_dict: bool | None) -> Any:
        """Return an output by name if the call, or else the config, says so.

        Otherwise a tuple of what there is; what would stand in it alone is the answer.
        """
        by_name = self.asked["return_dict"] if return_dict is None else return_dict
        if by_name or isinstance(output, tuple):  # already values in a program
            return output
        values = output.to_tuple()
        return values if len(values) > 1 else values[0]

    # ---- beginning and loading -------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path | Source, **config_overrides: Any) -> Any:
        """Load a model, dropout at work, as PaddleNLP does; see `Model.from_pretrained`."""
        by_name = config_overrides.pop("return_dict", None)
        model = super().from_pretrained(name_or_folder, **config_overrides)
        if by_name is not None:
            model.config.return_dict = by_name
        model.train()
        return model

    @classmethod
    def read_config(cls, name_or_folder: str | Path | Source) -> ModelConfig:
        """Read the config of a preset, a folder or a repository."""
        return cls.config_class.of(super().read_config(name_or_folder))

    @classmethod
    def from_config(cls: type[AnyModel], config: ModelConfig, **values: Any) -> AnyModel:
        """Begin a model with new weights; `values` are fields of the config to change."""
        return cls(config.replace(**values))

    @property
    def model_name_list(self) -> list[str]:
        """Names of the presets."""
        return [*self.pretrained_init_configuration]

    def init_weights(self, layer: nn.Layer | None = None) -> None:
        """Draw the weights of one layer, as by `self.apply(self.init_weights)`, or all own ones."""
        if layer is None:
            self.initialize_weights()
        else:
            self._initialize_layer(layer)

    @classmethod
    def constructed_from_pretrained_config(cls, init_func: Any = None) -> bool:
        """Say that a config can be written to."""
        return True

    # ---- the bare model --------------------------------------------------------------------

    @property
    def base_model(self) -> Any:
        """The bare model, which a model without a head is itself."""
        return self._sub_layers.get("backbone", self)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__("backbone" if name == self.base_model_prefix else name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__("backbone" if name == self.base_model_prefix else name, value)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        base = self.base_model
        return super().get_input_embeddings() if base is self else base.get_input_embeddings()

    # ---- weights under PaddleNLP's names ---------------------------------------------------

    def name_table(self, format: Format) -> NameTable:
        """Return the names of a format; what a user's class has besides keeps its own."""
        table = super().name_table(format)
        if "backbone" not in self._sub_layers:
            return table
        own = (name for name in self._parameter_names() if not name.startswith("backbone."))
        rows = {_pattern(name): None for name in own if not _has_row(table, name)}
        return table.with_heads([_Tensor(row, row) for row in rows]) if rows else table

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return the weights under PaddleNLP's names, tied ones under both.

        Under our names if a part of a larger model asks for them (`structured_name_prefix`).
        """
        state: dict[str, Any] = super().state_dict(*args, **options)
        if args or options.get("structured_name_prefix"):
            return state
        table = self.name_table("paddle")
        names = self._parameter_names()
        theirs = table.to_theirs(names)
        own = {theirs[name]: state[name] for name in names if name in state}
        return own | {tied: state[name] for tied, name in table.tied_to(names).items()}

    def set_state_dict(
        self, state_dict: Mapping[str, Any], *args: Any, **options: Any
    ) -> tuple[list[str], list[str]]:
        """Take weights under PaddleNLP's names or under ours.

        Returns:
            Our names that are missing, and names that the model lacks.
        """
        names = self._parameter_names()
        table = self.name_table("paddle")
        ours_alone = {*names} - {*table.to_theirs(names).values()}
        if state_dict.keys().isdisjoint(ours_alone):
            renaming = table.to_ours(state_dict, bare=table.is_bare(names))
            ours = renaming.repeats | renaming.names
            state_dict = {ours.get(name, name): value for name, value in state_dict.items()}
        missing, unexpected = nn.Layer.set_state_dict(self, state_dict, *args, **options)
        return [name for name in missing if name in names], unexpected

    set_dict = load_dict = set_state_dict


def leaving_to_config(cls: Class) -> Class:
    """Let a class of models return what its config asks for, besides what a call asks for."""
    run: Any = cls.run  # type: ignore[attr-defined]

    @wraps(run)
    def run_as_configured(self: Any, **inputs: Any) -> Any:
        for name in LEFT_TO_CONFIG:
            inputs[name] = inputs.get(name) or self.asked[name]
        return run(self, **inputs)

    cls.run = run_as_configured  # type: ignore[attr-defined]
    return cls


class _Tensor(Row):
    """A row for one tensor, whatever its name ends with."""

    def tensors(self) -> list[tuple[str, str]]:
        return [(self.ours, self.theirs)]


def _has_row(table: NameTable, name: str) -> bool:
    try:
        return bool(table.to_theirs([name]))
    except WeightsError:
        return False


def _pattern(name: str) -> str:
    """Write a name as a row has it, numbers as `{}`."""
    return re.sub(r"(?<=\.)[0-9]+(?=\.)", "{}", name)
