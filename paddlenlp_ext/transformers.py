"""The public names, as `paddlenlp.transformers` has them: each is imported when it is asked for.

from paddlenlp_ext.transformers import BertForSequenceClassification, BertTokenizer

The first of them also tunes the process to its CPU, before Paddle reads how (`process.runtime`),
as the scripts do by themselves; no module behind this one does that.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from paddlenlp_ext.presets.families import FAMILIES
from paddlenlp_ext.process import runtime

_MODELS = "paddlenlp_ext.models."
_TOKENIZERS = "paddlenlp_ext.tokenizers."
_EVERY_FAMILY = (
    "Config",
    "Model",
    "ForMaskedLM",
    "ForMultipleChoice",
    "ForQuestionAnswering",
    "ForSequenceClassification",
    "ForTokenClassification",
)
_PAIR = ("ForPreTraining", "ForPretraining", "ForNextSentencePrediction", "ForCausalLM")
_REPLACED_TOKENS = (
    "ForPreTraining",
    "ForPretraining",
    "ForTotalPretraining",
    "Discriminator",
    "Generator",
)
_OWN = {  # by family, besides those that every family has
    "bert": _PAIR,
    "rembert": ("ForCausalLM",),
    "convbert": _REPLACED_TOKENS,
    "ernie_m": (),
    "electra": (*_REPLACED_TOKENS, "ForCausalLM"),
    "ernie": _PAIR,
}
_AUTO = (
    "Config",
    "Model",
    "ModelForCausalLM",
    "ModelForMaskedLM",
    "ModelForMultipleChoice",
    "ModelForNextSentencePrediction",
    "ModelForPreTraining",
    "ModelForQuestionAnswering",
    "ModelForSequenceClassification",
    "ModelForTokenClassification",
)
_BERT_TOKENIZERS = ("BertTokenizer", "ConvBertTokenizer", "ElectraTokenizer", "ErnieTokenizer")

_MODULES = {
    **{
        row.prefix + end: _MODELS + family
        for family, row in FAMILIES.items()
        for end in (*_EVERY_FAMILY, *_OWN[family])
    },
    **{"Auto" + end: _MODELS + "auto" for end in _AUTO},
    "UIE": _MODELS + "ernie",
    "UIEM": _MODELS + "ernie_m",
    **dict.fromkeys(_BERT_TOKENIZERS, _TOKENIZERS + "bert"),
    "RemBertTokenizer": _TOKENIZERS + "rembert",
    "RemBertTokenizerFast": _TOKENIZERS + "rembert",
    "ErnieMTokenizer": _TOKENIZERS + "ernie_m",
    "XLMRobertaTokenizer": _TOKENIZERS + "xlm_r",
    "XLMRobertaTokenizerFast": _TOKENIZERS + "xlm_r",
    "AutoTokenizer": _TOKENIZERS + "auto",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    runtime.tune()
    if _MODULES[name].startswith(_MODELS):
        runtime.import_paddle()
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
