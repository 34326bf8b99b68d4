"""Presets of ELECTRA: Google's, and two Chinese ones."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import LARGE, UNCASED, Preset, hosted

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


def _row(name: str) -> Preset:
    """A discriminator; Google's are on the Hub."""
    if name not in GENERATORS:
        files = hosted(f"{name}/{name}", f"{name}/vocab")
        return Preset("ElectraTokenizer", UNCASED, MODELS[name], files=files)
    files = hosted(f"electra/{name}", f"electra/{name}-vocab")
    return Preset("ElectraTokenizer", UNCASED, MODELS[name], f"google/{name}-discriminator", files)


def _generator(name: str) -> Preset:
    """A generator: Paddle has none."""
    config = MODELS[name] | GENERATORS[name]
    return Preset("ElectraTokenizer", UNCASED, config, f"google/{name}-generator")


ROWS = {
    **{name: _row(name) for name in MODELS},
    **{f"{name}-discriminator": _row(name) for name in GENERATORS},
    **{f"{name}-generator": _generator(name) for name in GENERATORS},
}
