"""Presets of BERT: Google's, and Chinese ones of HFL, Baidu and UER."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import (
    CASED,
    HOSTING,
    LARGE,
    UNCASED,
    VOCABULARY,
    WEIGHTS,
    Preset,
)

_VOCABULARIES = "https://bj.bcebos.com/paddle-hapi/models/bert/"
_CHINESE: dict[str, Any] = {"vocab_size": 21128}


def _google(name: str, weights: str, settings: dict[str, Any], config: dict[str, Any]) -> Preset:
    files = {
        WEIGHTS: f"{HOSTING}{weights}.pdparams",
        VOCABULARY: f"{_VOCABULARIES}{name}-vocab.txt",
    }
    return Preset("BertTokenizer", settings, config, f"google-bert/{name}", files)


def _chinese(
    repository: str | None,
    weights: str,
    vocabulary: str,
    settings: dict[str, Any],
    config: dict[str, Any],
) -> Preset:
    files = {WEIGHTS: f"{HOSTING}{weights}.pdparams", VOCABULARY: vocabulary}
    return Preset("BertTokenizer", settings, config, repository, files)


def _uer(size: str, hidden_size: int, layers: int) -> Preset:
    """One of UER's small models, with heads 64 wide."""
    config = _CHINESE | {
        "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden_size // 64,
        "intermediate_size": 4 * hidden_size,
    }
    repository = f"uer/chinese_roberta_L-{layers}_H-{hidden_size}"
    vocabulary = f"{HOSTING}uer/chinese_roberta_vocab.txt"
    return _chinese(repository, f"uer/chinese_roberta_{size}", vocabulary, UNCASED, config)


ROWS = {
    name: _google(name, weights, settings, config)
    for name, weights, settings, config in (
        ("bert-base-uncased", "bert-base-uncased", UNCASED, {}),
        ("bert-large-uncased", "bert-large-uncased", UNCASED, LARGE),
        (
            "bert-base-multilingual-uncased",
            "bert-base-multilingual-uncased",
            UNCASED,
            {"vocab_size": 105879},
        ),
        ("bert-base-cased", "bert/bert-base-cased", CASED, {"vocab_size": 28996}),
        ("bert-large-cased", "bert/bert-large-cased", CASED, {"vocab_size": 28996, **LARGE}),
        (
            "bert-base-multilingual-cased",
            "bert/bert-base-multilingual-cased",
            CASED,
            {"vocab_size": 119547},
        ),
        ("bert-base-chinese", "bert/bert-base-chinese", CASED, _CHINESE),
    )
} | {
    "bert-wwm-chinese": _chinese(
        "hfl/chinese-bert-wwm",
        "bert/bert-wwm-chinese",
        f"{HOSTING}bert/bert-wwm-chinese-vocab.txt",
        CASED,
        _CHINESE,
    ),
    "bert-wwm-ext-chinese": _chinese(
        "hfl/chinese-bert-wwm-ext",
        "bert/bert-wwm-ext-chinese",
        f"{HOSTING}bert/bert-wwm-ext-chinese-vocab.txt",
        CASED,
        _CHINESE,
    ),
    "macbert-base-chinese": _chinese(
        "hfl/chinese-macbert-base",
        "macbert/macbert-base-chinese",
        f"{_VOCABULARIES}bert-base-chinese-vocab.txt",
        CASED,
        _CHINESE,
    ),
    "macbert-large-chinese": _chinese(
        "hfl/chinese-macbert-large",
        "macbert/macbert-large-chinese",
        f"{_VOCABULARIES}bert-base-chinese-vocab.txt",
        CASED,
        _CHINESE | LARGE,
    ),
    "simbert-base-chinese": _chinese(
        None,
        "simbert/simbert-base-chinese-v1",
        f"{HOSTING}simbert/vocab.txt",
        UNCASED,
        {"vocab_size": 13685},
    ),
    "uer/chinese-roberta-base": _uer("base", 768, 12),
    "uer/chinese-roberta-medium": _uer("medium", 512, 8),
    "uer/chinese-roberta-6l-768h": _uer("6l_768h", 768, 6),
    "uer/chinese-roberta-small": _uer("small", 512, 4),
    "uer/chinese-roberta-mini": _uer("mini", 256, 4),
    "uer/chinese-roberta-tiny": _uer("tiny", 128, 2),
}
