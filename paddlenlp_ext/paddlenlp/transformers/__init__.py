"""Models, configs, tokenizers and schedules, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from paddlenlp_ext.process import runtime

_NAMES = {  # by module
    "auto.modeling": """
        AutoModel AutoModelForMaskedLM AutoModelForMultipleChoice AutoModelForPretraining
        AutoModelForQuestionAnswering AutoModelForSequenceClassification
        AutoModelForTokenClassification
    """,
    "auto.config": "AutoConfig",
    "configuration_utils": "PretrainedConfig",
    "model_utils": "PretrainedModel",
    "optimization": """
        ConstScheduleWithWarmup CosineAnnealingWithWarmupDecay CosineDecayWithWarmup
        LinearAnnealingWithWarmupDecay LinearDecayWithWarmup PolyDecayWithWarmup
    """,
    "tokenizers": """
        AddedToken AutoTokenizer BasicTokenizer BatchEncoding BertFastTokenizer BertTokenizer
        ConvBertTokenizer ElectraTokenizer ErnieFastTokenizer ErnieMFastTokenizer ErnieMTokenizer
        ErnieTokenizer PretrainedTokenizer PretrainedTokenizerBase RemBertTokenizer
        WordpieceTokenizer
    """,
    "criteria": """
        BertPretrainingCriterion ConvBertPretrainingCriterion ElectraPretrainingCriterion
        ErniePretrainingCriterion
    """,
}
_FAMILIES = {"bert": "Bert", "ernie": "Ernie", "ernie_m": "ErnieM", "rembert": "RemBert"} | {
    "convbert": "ConvBert",
    "electra": "Electra",
}
_OF_EVERY_FAMILY = """
    Model PretrainedModel ForMultipleChoice ForQuestionAnswering ForSequenceClassification
    ForTokenClassification
"""
_OF_SOME = {
    "bert": "BertForMaskedLM BertForPretraining",
    "convbert": """
        ConvBertDiscriminator ConvBertForMaskedLM ConvBertForPretraining ConvBertForTotalPretraining
        ConvBertGenerator
    """,
    "electra": """
        ElectraDiscriminator ElectraForMaskedLM ElectraForPretraining ElectraForTotalPretraining
        ElectraGenerator
    """,
    "ernie": "ErnieForMaskedLM ErnieForPretraining UIE",
    "ernie_m": "UIEM",
    "rembert": "RemBertForMaskedLM",
}
_MODULES = {
    **{name: module for module, names in _NAMES.items() for name in names.split()},
    **{f"{prefix}Config": f"{family}.configuration" for family, prefix in _FAMILIES.items()},
    **{
        prefix + name: f"{family}.modeling"
        for family, prefix in _FAMILIES.items()
        for name in _OF_EVERY_FAMILY.split()
    },
    **{name: f"{family}.modeling" for family, names in _OF_SOME.items() for name in names.split()},
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    runtime.tune()
    runtime.import_paddle()
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
