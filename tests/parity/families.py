"""What is compared with transformers: a row for each family, which all suites here go over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.tiny import FAMILY_SIZES, SIZES

HEADS = (
    "Model",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)


def named(prefix: str, *more: str) -> tuple[str, ...]:
    """Name the classes that every family has, and others."""
    return tuple(prefix + head for head in (*HEADS, *more))


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        classes: Ours.
        theirs: What transformers calls a class, where it has another name there.
        forms: Config fields that differ from those of `tests/tiny.py`, by a name for the test.
        published: Parameters of the bare model, by preset.
        square_masks: Whether transformers takes masks [B, L, L].
    """

    classes: tuple[str, ...]
    theirs: Mapping[str, str] = field(default_factory=dict)
    forms: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"tiny": {}})
    published: Mapping[str, int] = field(default_factory=dict)
    square_masks: bool = True


FAMILIES = {
    "bert": Family(
        named("Bert", "ForMaskedLM", "ForCausalLM", "ForPreTraining", "ForNextSentencePrediction"),
        theirs={"BertForCausalLM": "BertLMHeadModel"},
        published={"bert-base-uncased": 109_482_240},
    ),
    "rembert": Family(named("RemBert", "ForMaskedLM", "ForCausalLM")),  # too large for `published`
    "convbert": Family(
        named("ConvBert", "ForMaskedLM"),
        forms={
            "tiny": {},
            "wide-kernel": {"conv_kernel_size": 9, "num_hidden_layers": 2},
            "kernel-longer-than-the-text": {"conv_kernel_size": 17, "num_hidden_layers": 2},
            "two-groups": {"num_groups": 2, "intermediate_size": 38, "conv_kernel_size": 5},
            "three-groups": {"num_groups": 3, "intermediate_size": 39, "head_ratio": 1},
            "fewer-heads": {"head_ratio": 4, "embedding_size": 24},
            "one-head": {"num_attention_heads": 1, "hidden_act": "relu"},
        },
        published={
            "convbert-base": 105_680_520,
            "convbert-medium-small": 17_475_888,
            "convbert-small": 13_143_768,
        },
    ),
    "ernie_m": Family(
        (*named("ErnieM"), "UIEM"),  # neither library has our ErnieMForMaskedLM
        theirs={"UIEM": "ErnieMForInformationExtraction"},
        published={"ernie-m-base": 278_042_880},
        square_masks=False,
    ),
    "electra": Family(
        named("Electra", "ForMaskedLM", "ForCausalLM", "Discriminator"),
        theirs={"ElectraDiscriminator": "ElectraForPreTraining"},
        forms={
            "narrow-embeddings": {},
            "wide-embeddings": {"embedding_size": 24},
            "plain-summary": {"summary_activation": None, "hidden_act": "relu"},
        },
        published={"electra-small": 13_483_008, "electra-base": 108_891_648},
    ),
    "ernie": Family(
        named("Ernie", "ForMaskedLM", "ForCausalLM", "ForPreTraining", "ForNextSentencePrediction"),
        forms={"tasks": {}, "no-tasks": {"use_task_id": False}},
        published={"ernie-1.0-base-zh": 99_866_112, "ernie-3.0-medium-zh": 75_427_584},
    ),
    "xlm-roberta": Family(
        named("XLMRoberta", "ForMaskedLM", "ForCausalLM"),
        forms={"tiny": {}, "relu": {"hidden_act": "relu"}},
        published={"xlm-roberta-base": 278_043_648},
    ),
}


@dataclass(frozen=True)
class Row:
    """One class of a family in one form."""

    family: str
    name: str
    form: Mapping[str, Any]

    @property
    def theirs(self) -> str:
        """Name of the class of transformers."""
        return FAMILIES[self.family].theirs.get(self.name, self.name)

    @property
    def sizes(self) -> dict[str, Any]:
        """Fields of the config of a tiny model."""
        # Where `tests/tiny.py` is silent, ours pads with 0, as all of transformers but ConvBERT.
        decoder = {"is_decoder": True} if self.name.endswith("ForCausalLM") else {}
        return {"pad_token_id": 0} | SIZES | FAMILY_SIZES[self.family] | decoder | self.form


def rows(*ends: str, every_form: bool = True) -> list[Any]:
    """List the rows of all families, or those of the classes whose names end so, for pytest."""
    return [
        pytest.param(Row(family, name, changes), id=f"{name}-{form}")
        for family, facts in FAMILIES.items()
        for form, changes in list(facts.forms.items())[: None if every_form else 1]
        for name in facts.classes
        if name.endswith(ends or "")
    ]
