"""The public names, as `paddlenlp.transformers` has them: each is imported when it is asked for.

from paddlenlp_ext.transformers import BertForSequenceClassification, BertTokenizer
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {
    "paddlenlp_ext.models.auto": (
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForMaskedLM",
        "AutoModelForMultipleChoice",
        "AutoModelForNextSentencePrediction",
        "AutoModelForPreTraining",
        "AutoModelForQuestionAnswering",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
    ),
    "paddlenlp_ext.models.bert": (
        "BertConfig",
        "BertModel",
        "BertForCausalLM",
        "BertForMaskedLM",
        "BertForMultipleChoice",
        "BertForNextSentencePrediction",
        "BertForPreTraining",
        "BertForPretraining",
        "BertForQuestionAnswering",
        "BertForSequenceClassification",
        "BertForTokenClassification",
    ),
    "paddlenlp_ext.tokenizers.auto": ("AutoTokenizer",),
    "paddlenlp_ext.tokenizers.wordpiece": ("BertTokenizer",),
    "paddlenlp_ext.training.optimization": ("LinearDecayWithWarmup",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
