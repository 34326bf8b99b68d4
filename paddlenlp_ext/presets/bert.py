"""Presets of BERT: Google's, Chinese ones of HFL, Baidu and UER, and the small multilingual E5."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import CASED, LARGE, UNCASED, Preset, hosted

_VOCABULARIES = "https://bj.bcebos.com/paddle-hapi/models/bert/"
_CHINESE: dict[str, Any] = {"vocab_size": 21128}
_GOOGLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bert-base-uncased": (UNCASED, {}),
    "bert-large-uncased": (UNCASED, LARGE),
    "bert-base-multilingual-uncased": (UNCASED, {"vocab_size": 105879}),
    "bert-base-cased": (CASED, {"vocab_size": 28996}),
    "bert-large-cased": (CASED, {"vocab_size": 28996, **LARGE}),
    "bert-base-multilingual-cased": (CASED, {"vocab_size": 119547}),
    "bert-base-chinese": (CASED, _CHINESE),
}


def _google(name: str, settings: dict[str, Any], config: dict[str, Any]) -> Preset:
    weights = name if settings is UNCASED else f"bert/{name}"  # the former were there first
    files = hosted(weights, f"{_VOCABULARIES}{name}-vocab")
    return Preset("BertTokenizer", settings, config, f"google-bert/{name}", files)


def _hfl(
    name: str, weights: str, vocabulary: str = "", config: dict[str, Any] | None = None
) -> Preset:
    files = hosted(weights, vocabulary or f"{weights}-vocab")
    return Preset("BertTokenizer", CASED, _CHINESE | (config or {}), f"hfl/{name}", files)


def _uer(size: str, hidden_size: int, layers: int) -> Preset:
    """One of UER's small models, with heads 64 wide."""
    config = _CHINESE | {
        "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden_size // 64,
        "intermediate_size": 4 * hidden_size,
    }
    repository = f"uer/chinese_roberta_L-{layers}_H-{hidden_size}"
    files = hosted(f"uer/chinese_roberta_{size}", "uer/chinese_roberta_vocab")
    return Preset("BertTokenizer", UNCASED, config, repository, files)


_MACBERT = f"{_VOCABULARIES}bert-base-chinese-vocab"
ROWS = {name: _google(name, *row) for name, row in _GOOGLE.items()} | {
    "bert-wwm-chinese": _hfl("chinese-bert-wwm", "bert/bert-wwm-chinese"),
    "bert-wwm-ext-chinese": _hfl("chinese-bert-wwm-ext", "bert/bert-wwm-ext-chinese"),
    "macbert-base-chinese": _hfl("chinese-macbert-base", "macbert/macbert-base-chinese", _MACBERT),
    "macbert-large-chinese": _hfl(
        "chinese-macbert-large", "macbert/macbert-large-chinese", _MACBERT, LARGE
    ),
    "simbert-base-chinese": Preset(
        "BertTokenizer",
        UNCASED,
        {"vocab_size": 13685},
        files=hosted("simbert/simbert-base-chinese-v1", "simbert/vocab"),
    ),
    "uer/chinese-roberta-base": _uer("base", 768, 12),
    "uer/chinese-roberta-medium": _uer("medium", 512, 8),
    "uer/chinese-roberta-6l-768h": _uer("6l_768h", 768, 6),
    "uer/chinese-roberta-small": _uer("small", 512, 4),
    "uer/chinese-roberta-mini": _uer("mini", 256, 4),
    "uer/chinese-roberta-tiny": _uer("tiny", 128, 2),
    # XLM-RoBERTa's pieces with BERT's positions and segments; the larger ones are XLM-RoBERTa's.
    "multilingual-e5-small": Preset(
        "XLMRobertaTokenizer",
        {"model_max_length": 512},
        {"vocab_size": 250037, "hidden_size": 384, "intermediate_size": 1536, "pad_token_id": 1},
        "intfloat/multilingual-e5-small",
    ),
}
