"""Configs that scripts of PaddleNLP can change: `config.num_labels = 3`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.sources import Source
from paddlenlp_ext.models.config import NO_PADDING, ModelConfig
from paddlenlp_ext.models.config_keywords import FIELD_ALIASES, FIXED, REFUSED

ASKED = ("return_dict", "output_hidden_states", "output_attentions")

Settable = TypeVar("Settable", bound="PretrainedConfig")


class PretrainedConfig(ModelConfig):
    """A config of this library, in front of whose class this one comes, as PaddleNLP has it.

    Its fields can be set at any time; a model is built from what they are then, and refuses what no
    model has or what is not built here. It takes keywords that are no fields of the library, and
    keeps them, as attributes and in `config.json`.

    Attributes:
        defaults: Where PaddleNLP's default of a field differs from the library's.
        asked: What models answer where a call does not say; its names are attributes, too:
            `return_dict`, by name and not by a tensor or a tuple; `output_hidden_states` and
            `output_attentions`, those of every layer. A model holds this very mapping, which
            Paddle reads where it traces, as it reads no config.
        label2id: Number of each label, by name.
        max_length: Of generated texts.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    attribute_map: ClassVar[Mapping[str, str]] = FIELD_ALIASES
    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    is_composition: ClassVar[bool] = False

    label2id: Any = None
    max_length: Any = 20
    architectures = None
    dtype = None

    def __init__(self, **values: Any) -> None:
        vars(self)["asked"] = dict.fromkeys(ASKED, False)
        values = {**self.defaults, **self._renamed(values)}
        label2id = values.pop("label2id", None)
        if values.get("id2label") is None and label2id:
            values["id2label"] = {number: name for name, number in label2id.items()}
        if values.get("id2label") is not None:
            values["id2label"] = _by_number(values["id2label"])
            if values.get("num_labels") is None:
                values["num_labels"] = len(values["id2label"])
        if values.get("pad_token_id", NO_PADDING) is None:
            values["pad_token_id"] = NO_PADDING
        names = {field.name for field in fields(self)}
        super().__init__(**{name: value for name, value in values.items() if name in names})
        if self.id2label is None:
            vars(self)["id2label"] = dict(enumerate(self.label_names))
        vars(self)["label2id"] = label2id or _by_name(self.id2label)
        for name in values.keys() - names:
            setattr(self, name, values[name])

    def __post_init__(self) -> None:
        """Take any values: `check` is for those that a model is built from."""

    def check(self) -> None:
        """Refuse what no model of this library has.

        Raises:
            UserError: A field has such a value, or what is asked for is not built here.
        """
        for name in REFUSED:
            if (value := vars(self).get(name)) and value not in FIXED[name]:
                raise UserError(f"{name} {shown(value)} is not built here")
        super().__post_init__()

    @classmethod
    def of(cls: type[Settable], config: ModelConfig) -> Settable:
        """Return a config of the library as one of PaddleNLP's kind; such a one as it is."""
        if isinstance(config, cls):
            return config
        values = {field.name: getattr(config, field.name) for field in fields(config)}
        return cls(**values.pop("others", {}) | values)

    @classmethod
    def from_dict(
        cls: type[Settable], values: Mapping[str, Any], origin: str = "config", **changes: Any
    ) -> Settable:
        """Read the fields of a `config.json`, and keep what else the file holds.

        Args:
            values: The parsed file. What it lacks has the library's default.
            origin: Named in errors.
            changes: Other values of attributes.

        Raises:
            UserError: A field has a value that no model has, or asks for something not built here.
        """
        library_class: Any = next(
            base for base in cls.__mro__ if not issubclass(base, PretrainedConfig)
        )
        config = cls.of(library_class.from_dict(values, origin))
        for name in values.keys() - {"model_type", "label2id", *cls.attribute_map, *vars(config)}:
            setattr(config, name, values[name])
        return config.replace(**changes)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # PaddleNLP's pair
        cls: type[Settable],
        name_or_folder: str | Path | Source,
        *,
        return_unused_kwargs: bool = False,
        **overrides: Any,
    ) -> Settable | tuple[Settable, dict[str, Any]]:
        """Read the config of a preset, a folder, or a repository of the Hugging Face Hub.

        Args:
            name_or_folder: Which; or a config's JSON file.
            return_unused_kwargs: Return keywords that are no attributes beside the config.
            overrides: Attributes to change.

        Raises:
            UserError: There is none, it is another family's, or a keyword is no attribute.
        """
        if Path(str(name_or_folder)).is_file():
            config = cls.from_json_file(name_or_folder)
        else:
            config = super().from_pretrained(name_or_folder)
        if not return_unused_kwargs:
            return config.replace(**overrides)
        used = {name: value for name, value in overrides.items() if hasattr(config, name)}
        unused = {name: value for name, value in overrides.items() if name not in used}
        return config.replace(**used), unused

    @classmethod
    def from_json_file(cls: type[Settable], file: Any) -> Settable:
        """Read a config's JSON file."""
        return cls.from_dict(json.loads(Path(file).read_text(encoding="utf-8")), str(file))

    def replace(self: Settable, **changes: Any) -> Settable:
        """Return a copy with other values of attributes.

        Raises:
            UserError: There is no attribute of that name.
        """
        changes = self._renamed(changes)
        unknown = sorted(name for name in changes if not hasattr(self, name))
        if unknown:
            raise UserError(f"{type(self).__name__} has no attribute {', '.join(unknown)}")
        values = {**vars(self), **self.asked, **changes}
        del values["asked"]
        if not changes.keys().isdisjoint(("id2label", "label2id")):
            values |= {"num_labels": None, "id2label": None, "label2id": None, **changes}
        elif values["num_labels"] != self.num_labels:
            values |= {"id2label": None, "label2id": None}
        return type(self)(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return what `config.json` needs, attributes that are no fields of the library too."""
        known = {field.name for field in fields(self)} | {"architectures"}
        others = {name: value for name, value in vars(self).items() if name not in known}
        asked = {name: value for name, value in others.pop("asked").items() if value}
        return {**super().to_dict(), **others, **asked}

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the text of `config.json`; all of it, with or without `use_diff`."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        """Write the text of `config.json` into a file."""
        Path(json_file_path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set attributes."""
        for name, value in config_dict.items():
            setattr(self, name, value)

    @property
    def use_return_dict(self) -> bool:
        """Whether models answer by name."""
        return bool(self.return_dict)

    def __setattr__(self, name: str, value: Any) -> None:
        name = self.attribute_map.get(name, name)
        if name == "num_labels" and value != self.num_labels:
            self["id2label"] = {index: f"LABEL_{index}" for index in range(value)}
        if name == "id2label":
            value = _by_number(value)
            vars(self).update(num_labels=len(value), label2id=_by_name(value))
        if name in ASKED:
            self.asked[name] = bool(value)
            return
        if name == "label2id":
            self["id2label"] = {number: label for label, number in value.items()}
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in ASKED:
            return vars(self)["asked"][name]
        if name in self.attribute_map:
            return getattr(self, self.attribute_map[name])
        return super().__getattr__(name)  # type: ignore[misc]  # hidden from mypy

    def _renamed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {self.attribute_map.get(name, name): value for name, value in values.items()}

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name, None)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or a default where there is none."""
        return getattr(self, name, default)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def _by_number(labels: Mapping[Any, str]) -> dict[int, str]:
    """Return the names of labels by numbers, which a file has as texts."""
    return {int(number): name for number, name in labels.items()}


def _by_name(labels: Mapping[int, str] | None) -> dict[str, int]:
    """Return the numbers of labels by their names."""
    return {name: number for number, name in (labels or {}).items()}
