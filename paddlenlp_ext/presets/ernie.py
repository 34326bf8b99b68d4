"""Presets of ERNIE 1.0 to 3.0 and of information extraction with it (UIE)."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import (
    HOSTING,
    HOSTING_NEW,
    LARGE,
    UNCASED,
    VOCABULARY,
    WEIGHTS,
    Preset,
)

# ERNIE 1.0 and 2.0, Chinese and English; the first has one position more than usual.
_CHINESE: dict[str, Any] = {"vocab_size": 18000, "hidden_act": "relu"}
_FIRST: dict[str, Any] = {"max_position_embeddings": 513, **_CHINESE}
_ENGLISH: dict[str, Any] = {"type_vocab_size": 4}


def _sizes(layers: int, hidden_size: int, heads: int = 12) -> dict[str, Any]:
    """Config of one of the Chinese models of ERNIE 3.0."""
    return {
        "vocab_size": 40000,
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden_size,
        "max_position_embeddings": 2048,
        "type_vocab_size": 4,
        "task_type_vocab_size": 16,
        "use_task_id": True,
    }


_ERNIE_3 = {
    "base": _sizes(12, 768) | {"task_type_vocab_size": 3},
    "medium": _sizes(6, 768),
    "mini": _sizes(6, 384),
    "micro": _sizes(4, 384),
    "nano": _sizes(4, 312),
}
_XBASE = _sizes(20, 1024, 16)
_PICO = _sizes(3, 128, 2)


def _row(
    config: dict[str, Any],
    weights: str,
    vocabulary: str,
    *,
    repository: str | None = None,
    longest: int = 512,
    tokenizer: str = "ErnieTokenizer",
    hosting: str = HOSTING,
) -> Preset:
    files = {
        WEIGHTS: f"{hosting}{weights}.pdparams",
        VOCABULARY: f"{HOSTING}{vocabulary}.txt",
    }
    settings = UNCASED | {"model_max_length": longest}
    return Preset(tokenizer, settings, config, repository, files)


def _ernie_3(size: str, config: dict[str, Any]) -> Preset:
    path = f"ernie_3.0/ernie_3.0_{size}_zh"
    repository = f"nghuyong/ernie-3.0-{size}-zh"
    return _row(config, path, f"{path}_vocab", repository=repository, longest=2048)


def _tiny_v2(size: str, config: dict[str, Any]) -> Preset:
    path = f"ernie_3.0/ernie_3.0_tiny_{size}_v2"
    return _row(config | {"use_task_id": False}, path, f"{path}_vocab", longest=2048)


def _uie(name: str, size: str = "base", hosting: str = HOSTING) -> Preset:
    weights = f"uie/uie_{name.replace('-', '_')}"
    vocabulary = f"ernie_3.0/ernie_3.0_{size}_zh_vocab"
    return _row(_ERNIE_3[size], weights, vocabulary, hosting=hosting)


_FIRST_ROW = _row(
    _FIRST,
    "ernie/ernie_v1_chn_base",
    "ernie/vocab",
    repository="nghuyong/ernie-1.0-base-zh",
    longest=513,
)

ROWS = {
    "ernie-1.0": _FIRST_ROW,
    "ernie-1.0-base-zh": _FIRST_ROW,
    "ernie-1.0-base-zh-cw": _row(
        {"vocab_size": 40000, "type_vocab_size": 4, "use_task_id": True},
        "ernie/ernie_1.0_base_zh_cw",
        "ernie/ernie_1.0_base_zh_cw_vocab",
    ),
    "ernie-1.0-large-zh-cw": _row(
        _CHINESE | LARGE | {"intermediate_size": 3072},
        "ernie/ernie_1.0_large_zh_cw",
        "ernie/vocab",
    ),
    # Words cut by a dictionary, then pieces of sentencepiece: WordPiece gives other ids.
    "ernie-tiny": _row(
        LARGE
        | {
            "vocab_size": 50006,
            "hidden_act": "relu",
            "max_position_embeddings": 600,
            "num_hidden_layers": 3,
        },
        "ernie_tiny/ernie_tiny",
        "ernie_tiny/vocab",
        longest=600,
        tokenizer="ErnieTinyTokenizer",
    ),
    "ernie-2.0-base-zh": _row(
        _FIRST | {"type_vocab_size": 4},
        "ernie_2.0/ernie_2.0_base_zh",
        "ernie_2.0/ernie_2.0_base_zh_vocab",
        longest=513,
    ),
    "ernie-2.0-large-zh": _row(
        LARGE | {"vocab_size": 12800, "hidden_act": "relu", "type_vocab_size": 4},
        "ernie_2.0/ernie_2.0_large_zh",
        "ernie_2.0/ernie_2.0_large_zh_vocab",
    ),
    "ernie-2.0-base-en": _row(
        _ENGLISH,
        "ernie_v2_base/ernie_v2_eng_base",
        "ernie_v2_base/vocab",
        repository="nghuyong/ernie-2.0-base-en",
    ),
    "ernie-2.0-base-en-finetuned-squad": _row(
        _ENGLISH,
        "ernie_v2_base/ernie_v2_eng_base_finetuned_squad",
        "ernie_v2_base/vocab",
    ),
    "ernie-2.0-large-en": _row(
        _ENGLISH | LARGE,
        "ernie_v2_large/ernie_v2_eng_large",
        "ernie_v2_large/vocab",
        repository="nghuyong/ernie-2.0-large-en",
    ),
    "ernie-3.0-xbase-zh": _ernie_3("xbase", _XBASE),
    **{f"ernie-3.0-{size}-zh": _ernie_3(size, config) for size, config in _ERNIE_3.items()},
    # The same files under another name.
    **{f"ernie-3.0-tiny-{size}-v1-zh": _ernie_3(size, config) for size, config in _ERNIE_3.items()},
    **{f"ernie-3.0-tiny-{size}-v2-zh": _tiny_v2(size, config) for size, config in _ERNIE_3.items()},
    "ernie-3.0-tiny-pico-v2-zh": _tiny_v2("pico", _PICO),
    **{f"uie-{size}": _uie(size, size) for size in _ERNIE_3},
    "uie-senta-base": _uie("senta-base", hosting=HOSTING_NEW),
    **{f"uie-senta-{size}": _uie(f"senta-{size}", size) for size in _ERNIE_3 if size != "base"},
    "uie-base-answer-extractor": _uie("base-answer-extractor"),
    "uie-base-qa-filter": _uie("base-qa-filter"),
    "uie-base-en": _row(_ENGLISH | {"use_task_id": True}, "uie/uie_base_en", "ernie_v2_base/vocab"),
}
