"""The families of models: the only list of them, and the way from a preset's name to its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from paddlenlp_ext.presets.preset import Preset


@dataclass(frozen=True)
class Family:
    """What is called after a family.

    Attributes:
        prefix: What its class names begin with.
        tokenizer: Class of its tokenizers, where neither a preset nor a saved file names one.
    """

    prefix: str
    tokenizer: str


# By `model_type` in config.json, which is also the name of its file here and in `models`.
FAMILIES = {
    "bert": Family("Bert", "BertTokenizer"),
    "rembert": Family("RemBert", "RemBertTokenizer"),
    "ernie_m": Family("ErnieM", "ErnieMTokenizer"),
    "convbert": Family("ConvBert", "ConvBertTokenizer"),
    "electra": Family("Electra", "ElectraTokenizer"),
    "ernie": Family("Ernie", "ErnieTokenizer"),
}


def presets_of(family: str) -> Mapping[str, Preset]:
    """Return a family's rows by name."""
    rows: Mapping[str, Preset] = import_module(f"paddlenlp_ext.presets.{family}").ROWS
    return rows


def all_presets() -> dict[str, Preset]:
    """Return the rows of all families by name."""
    return {name: row for family in FAMILIES for name, row in presets_of(family).items()}


def find_preset(name: str) -> Preset | None:
    """Return the row of a preset; None if there is no preset of this name."""
    family = family_of_preset(name)
    return None if family is None else presets_of(family)[name]


def family_of_preset(name: str) -> str | None:
    """Return the family that a preset belongs to; None if there is no preset of this name."""
    return next((family for family in FAMILIES if name in presets_of(family)), None)


def family_of_class(name: str) -> str | None:
    """Return the family that a class is called after ("ErnieMModel", "BertTokenizer"), if any.

    "ErnieMForTokenClassification" begins with both "Ernie" and "ErnieM": the longer one is meant.
    """
    fitting = [family for family, row in FAMILIES.items() if name.startswith(row.prefix)]
    return max(fitting, key=lambda family: len(FAMILIES[family].prefix), default=None)
