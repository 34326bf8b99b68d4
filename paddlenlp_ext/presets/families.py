"""The families of models: the only list of them, and the way from a preset's name to its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from paddlenlp_ext.presets.preset import Preset

# What class names end with: of every family, and of some (PaddleNLP has "Pretraining").
EVERY_FAMILY = """
    Config Model ForMaskedLM ForMultipleChoice ForQuestionAnswering ForSequenceClassification
    ForTokenClassification
"""
_PAIRS = "ForPreTraining ForPretraining ForNextSentencePrediction ForCausalLM"
_REPLACED = "ForPreTraining ForPretraining ForTotalPretraining Discriminator Generator"


@dataclass(frozen=True)
class Family:
    """What a family is called, and what is called after it.

    Attributes:
        prefix: What its class names begin with.
        file: Name of its file here and in `models`.
        tokenizer_file: Name of the file in `tokenizers` that has its tokenizers.
        tokenizers: Their classes; the first is meant where neither a preset nor a saved file names
            one.
        classes: What its class names end with besides those of every family.
        others: Classes in its file that are not called after it.
    """

    prefix: str
    file: str
    tokenizer_file: str
    tokenizers: str
    classes: str = ""
    others: str = ""

    @property
    def tokenizer(self) -> str:
        """Class of its tokenizer, if nothing names another one."""
        return self.tokenizers.split()[0]

    def modules(self) -> dict[str, str]:
        """Return in which modules its public names are; names to modules of the package."""
        names = [self.prefix + end for end in (EVERY_FAMILY + self.classes).split()]
        return {
            **dict.fromkeys([*names, *self.others.split()], f"models.{self.file}"),
            **dict.fromkeys(self.tokenizers.split(), f"tokenizers.{self.tokenizer_file}"),
        }


# By `model_type` in config.json.
FAMILIES = {
    "bert": Family("Bert", "bert", "bert", "BertTokenizer", _PAIRS),
    "rembert": Family(
        "RemBert", "rembert", "rembert", "RemBertTokenizer RemBertTokenizerFast", "ForCausalLM"
    ),
    "ernie_m": Family("ErnieM", "ernie_m", "ernie_m", "ErnieMTokenizer", others="UIEM"),
    "convbert": Family("ConvBert", "convbert", "bert", "ConvBertTokenizer", _REPLACED),
    "electra": Family("Electra", "electra", "bert", "ElectraTokenizer", _REPLACED + " ForCausalLM"),
    "ernie": Family("Ernie", "ernie", "bert", "ErnieTokenizer", _PAIRS, others="UIE"),
    "xlm-roberta": Family(
        "XLMRoberta", "xlm_r", "xlm_r", "XLMRobertaTokenizer XLMRobertaTokenizerFast", "ForCausalLM"
    ),
}


def presets_of(family: str) -> Mapping[str, Preset]:
    """Return a family's rows by name."""
    rows: Mapping[str, Preset] = import_module(
        f"paddlenlp_ext.presets.{FAMILIES[family].file}"
    ).ROWS
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
