"""Presets of XLM-RoBERTa, and of InfoXLM and multilingual E5, which have its shape."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import LARGE, Preset

_BASE: dict[str, Any] = {
    "vocab_size": 250002,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}


def _row(repository: str, sizes: dict[str, Any]) -> Preset:
    return Preset("XLMRobertaTokenizer", {"model_max_length": 512}, _BASE | sizes, repository)


# multilingual-e5-small is a BERT with this family's tokenizer: its row is BERT's.
ROWS = {
    f"{name}-{size}": _row(f"{owner}/{name}-{size}", sizes)
    for owner, name in (
        ("FacebookAI", "xlm-roberta"),
        ("microsoft", "infoxlm"),
        ("intfloat", "multilingual-e5"),
    )
    for size, sizes in (("base", {}), ("large", LARGE))
}
