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

_OTHERS = {  # by module, besides those of the families
    "models.auto": """
        AutoConfig AutoModel AutoModelForCausalLM AutoModelForMaskedLM AutoModelForMultipleChoice
        AutoModelForNextSentencePrediction AutoModelForPreTraining AutoModelForQuestionAnswering
        AutoModelForSequenceClassification AutoModelForTokenClassification
    """,
    "tokenizers.auto": "AutoTokenizer",
}

_MODULES = {
    **{name: module for row in FAMILIES.values() for name, module in row.modules().items()},
    **{name: module for module, names in _OTHERS.items() for name in names.split()},
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    runtime.tune()
    if _MODULES[name].startswith("models."):
        runtime.import_paddle()
    return getattr(import_module("paddlenlp_ext." + _MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
