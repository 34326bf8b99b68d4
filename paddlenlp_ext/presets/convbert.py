"""Presets of ConvBERT."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import UNCASED, Preset, hosted

MODELS: dict[str, dict[str, Any]] = {
    "convbert-base": {},
    "convbert-medium-small": {
        "embedding_size": 128,
        "hidden_size": 384,
        "num_attention_heads": 8,
        "intermediate_size": 1536,
        "num_groups": 2,
    },
    "convbert-small": {
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
}
# What the generator of a pretraining differs in from the model, which is the discriminator.
GENERATORS: dict[str, dict[str, Any]] = {
    "convbert-base": {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    "convbert-medium-small": {
        "hidden_size": 96,
        "num_attention_heads": 2,
        "intermediate_size": 384,
    },
    "convbert-small": {
        "hidden_size": 64,
        "num_attention_heads": 1,
        "intermediate_size": 256,
        "one_head_convolution": False,
    },
}


def _published(name: str) -> Preset:
    files = hosted(f"convbert/{name}/model_state", f"convbert/{name}/vocab")
    repository = name.replace("convbert-", "YituTech/conv-bert-")
    return Preset("ConvBertTokenizer", UNCASED, MODELS[name], repository, files)


def _sizes(name: str, config: dict[str, Any]) -> Preset:
    """Sizes to begin a pretraining with: nobody has weights."""
    files = {"vocab.txt": _published(name).files["vocab.txt"]}
    return Preset("ConvBertTokenizer", UNCASED, config, files=files)


ROWS = {
    **{name: _published(name) for name in MODELS},
    **{f"{name}-discriminator": _sizes(name, MODELS[name]) for name in MODELS},
    **{f"{name}-generator": _sizes(name, MODELS[name] | GENERATORS[name]) for name in MODELS},
}
