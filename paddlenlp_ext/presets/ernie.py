"""Presets of ERNIE 1.0 to 3.0 and of information extraction with it (UIE)."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import HOSTING_NEW, LARGE, UNCASED, Preset, hosted

# ERNIE 1.0 and 2.0, Chinese and English; the first has one position more than usual.
_CHINESE: dict[str, Any] = {"vocab_size": 18000, "hidden_act": "relu"}
_FIRST: dict[str, Any] = {"max_position_embeddings": 513, **_CHINESE}
_ENGLISH: dict[str, Any] = {"type_vocab_size": 4}


def _sizes(layers: int, hidden_size: int, heads: int = 12, task_types: int = 16) -> dict[str, Any]:
    """Config of one of the Chinese models of ERNIE 3.0."""
    return {
        "vocab_size": 40000,
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden_size,
        "max_position_embeddings": 2048,
        "type_vocab_size": 4,
        "task_type_vocab_size": task_types,
        "use_task_id": True,
    }


_ERNIE_3 = {
    "base": _sizes(12, 768, task_types=3),
    "medium": _sizes(6, 768),
    "mini": _sizes(6, 384),
    "micro": _sizes(4, 384),
    "nano": _sizes(4, 312),
}


def _row(
    config: dict[str, Any],
    weights: str,
    vocabulary: str = "",
    *,
    hub: str = "",
    longest: int = 512,
    tokenizer: str = "ErnieTokenizer",
) -> Preset:
    """One model; its vocabulary is vocab.txt in the folder of the weights, if nothing is said."""
    files = hosted(weights, vocabulary or f"{weights.partition('/')[0]}/vocab")
    settings = UNCASED | {"model_max_length": longest}
    return Preset(tokenizer, settings, config, f"nghuyong/{hub}" if hub else None, files)


def _ernie_3(size: str, config: dict[str, Any]) -> Preset:
    path, hub = f"ernie_3.0/ernie_3.0_{size}_zh", f"ernie-3.0-{size}-zh"
    return _row(config, path, f"{path}_vocab", hub=hub, longest=2048)


def _tiny_v2(size: str, config: dict[str, Any]) -> Preset:
    path = f"ernie_3.0/ernie_3.0_tiny_{size}_v2"
    return _row(config | {"use_task_id": False}, path, f"{path}_vocab", longest=2048)


def _uie(name: str, size: str = "base", hosting: str = "") -> Preset:
    weights = f"{hosting}uie/uie_{name.replace('-', '_')}"
    return _row(_ERNIE_3[size], weights, f"ernie_3.0/ernie_3.0_{size}_zh_vocab")


_FIRST_ROW = _row(_FIRST, "ernie/ernie_v1_chn_base", hub="ernie-1.0-base-zh", longest=513)

ROWS = {
    "ernie-1.0": _FIRST_ROW,
    "ernie-1.0-base-zh": _FIRST_ROW,
    "ernie-1.0-base-zh-cw": _row(
        {"vocab_size": 40000, "type_vocab_size": 4, "use_task_id": True},
        "ernie/ernie_1.0_base_zh_cw",
        "ernie/ernie_1.0_base_zh_cw_vocab",
    ),
    "ernie-1.0-large-zh-cw": _row(
        _CHINESE | LARGE | {"intermediate_size": 3072}, "ernie/ernie_1.0_large_zh_cw"
    ),
    # Words cut by a dictionary, then pieces of sentencepiece: WordPiece gives other ids.
    "ernie-tiny": _row(
        _CHINESE
        | LARGE
        | {"vocab_size": 50006, "max_position_embeddings": 600}
        | {"num_hidden_layers": 3},
        "ernie_tiny/ernie_tiny",
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
        _CHINESE | LARGE | {"vocab_size": 12800, "type_vocab_size": 4},
        "ernie_2.0/ernie_2.0_large_zh",
        "ernie_2.0/ernie_2.0_large_zh_vocab",
    ),
    "ernie-2.0-base-en": _row(_ENGLISH, "ernie_v2_base/ernie_v2_eng_base", hub="ernie-2.0-base-en"),
    "ernie-2.0-base-en-finetuned-squad": _row(
        _ENGLISH, "ernie_v2_base/ernie_v2_eng_base_finetuned_squad"
    ),
    "ernie-2.0-large-en": _row(
        _ENGLISH | LARGE, "ernie_v2_large/ernie_v2_eng_large", hub="ernie-2.0-large-en"
    ),
    "ernie-3.0-xbase-zh": _ernie_3("xbase", _sizes(20, 1024, 16)),
    **{f"ernie-3.0-{size}-zh": _ernie_3(size, config) for size, config in _ERNIE_3.items()},
    # The same files under another name.
    **{f"ernie-3.0-tiny-{size}-v1-zh": _ernie_3(size, config) for size, config in _ERNIE_3.items()},
    **{f"ernie-3.0-tiny-{size}-v2-zh": _tiny_v2(size, config) for size, config in _ERNIE_3.items()},
    "ernie-3.0-tiny-pico-v2-zh": _tiny_v2("pico", _sizes(3, 128, 2)),
    **{f"uie-{size}": _uie(size, size) for size in _ERNIE_3},
    "uie-senta-base": _uie("senta-base", hosting=HOSTING_NEW),
    **{f"uie-senta-{size}": _uie(f"senta-{size}", size) for size in _ERNIE_3 if size != "base"},
    "uie-base-answer-extractor": _uie("base-answer-extractor"),
    "uie-base-qa-filter": _uie("base-qa-filter"),
    "uie-base-en": _row(_ENGLISH | {"use_task_id": True}, "uie/uie_base_en", "ernie_v2_base/vocab"),
}
