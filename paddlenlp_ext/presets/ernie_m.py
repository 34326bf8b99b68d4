"""Presets of ERNIE-M and of information extraction with it (UIE-M)."""

from __future__ import annotations

from typing import Any

from paddlenlp_ext.presets.preset import HOSTING, HOSTING_NEW, LARGE, Preset, hosted


def _row(repository: str | None, weights: str, config: dict[str, Any]) -> Preset:
    files = hosted(f"{HOSTING_NEW}{weights}", "ernie_m/ernie_m.vocab")
    files["sentencepiece.bpe.model"] = f"{HOSTING}ernie_m/ernie_m.sentencepiece.bpe.model"
    return Preset("ErnieMTokenizer", {"model_max_length": 512}, config, repository, files)


ROWS = {
    "ernie-m-base": _row("susnato/ernie-m-base_pytorch", "ernie_m/ernie_m_base", {}),
    "ernie-m-large": _row("susnato/ernie-m-large_pytorch", "ernie_m/ernie_m_large", LARGE),
    "uie-m-base": _row(None, "uie_m/uie_m_base", {}),
    "uie-m-large": _row(None, "uie_m/uie_m_large", LARGE),
}
