"""The public names, as `paddlenlp.transformers` has them: each is imported when it is asked for.

from paddlenlp_ext.transformers import BertForSequenceClassification, BertTokenizer
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

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
# Module, what its names begin with, how they end.
_FAMILIES = (
    ("bert", "Bert", (*_EVERY_FAMILY, *_PAIR)),
    ("rembert", "RemBert", (*_EVERY_FAMILY, "ForCausalLM")),
    ("convbert", "ConvBert", (*_EVERY_FAMILY, *_REPLACED_TOKENS)),
    ("ernie_m", "ErnieM", _EVERY_FAMILY),
    ("electra", "Electra", (*_EVERY_FAMILY, *_REPLACED_TOKENS, "ForCausalLM")),
    ("ernie", "Ernie", (*_EVERY_FAMILY, *_PAIR)),
)
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
_SENTENCEPIECE = ("RemBertTokenizer", "RemBertTokenizerFast", "ErnieMTokenizer")
_WORDPIECE = ("BertTokenizer", "ConvBertTokenizer", "ElectraTokenizer", "ErnieTokenizer")

_MODULES = {
    **{prefix + end: _MODELS + family for family, prefix, ends in _FAMILIES for end in ends},
    **{"Auto" + end: _MODELS + "auto" for end in _AUTO},
    "UIE": _MODELS + "ernie",
    "UIEM": _MODELS + "ernie_m",
    **dict.fromkeys(_WORDPIECE, _TOKENIZERS + "wordpiece"),
    **dict.fromkeys(_SENTENCEPIECE, _TOKENIZERS + "sentencepiece"),
    "AutoTokenizer": _TOKENIZERS + "auto",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
