"""Presets of ELECTRA: Google's, and two Chinese ones."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import HOSTING, LARGE, UNCASED, VOCABULARY, WEIGHTS, Preset

_BASE: dict[str, Any] = {
    "embedding_size": 768,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
_NARROW = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}

MODELS: dict[str, dict[str, Any]] = {
    "electra-small": {},
    "electra-base": _BASE,
    "electra-large": {"embedding_size": 1024, **LARGE},
    "chinese-electra-small": {"vocab_size": 21128},
    "chinese-electra-base": {"vocab_size": 21128, **_BASE},
}
# What the generator of a pretraining differs in from the model, which is the discriminator.
GENERATORS: dict[str, dict[str, Any]] = {
    "electra-small": {},
    "electra-base": _NARROW,
    "electra-large": _NARROW,
}


def _google(name: str, role: str, config: dict[str, Any]) -> Preset:
    files = {
        WEIGHTS: f"{HOSTING}electra/{name}.pdparams",
        VOCABULARY: f"{HOSTING}electra/{name}-vocab.txt",
    }
    if role == "generator":
        files = {}  # Paddle has none
    return Preset("ElectraTokenizer", UNCASED, config, f"google/{name}-{role}", files)


def _chinese(name: str) -> Preset:
    files = {
        WEIGHTS: f"{HOSTING}{name}/{name}.pdparams",
        VOCABULARY: f"{HOSTING}{name}/vocab.txt",
    }
    return Preset("ElectraTokenizer", UNCASED, MODELS[name], files=files)


ROWS = {
    **{name: _google(name, "discriminator", MODELS[name]) for name in GENERATORS},
    **{
        f"{name}-discriminator": _google(name, "discriminator", MODELS[name]) for name in GENERATORS
    },
    **{
        f"{name}-generator": _google(name, "generator", MODELS[name] | GENERATORS[name])
        for name in GENERATORS
    },
    **{name: _chinese(name) for name in ("chinese-electra-small", "chinese-electra-base")},
}
