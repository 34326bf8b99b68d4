"""Find the config of a checkpoint."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from paddlenlp_ext.files.sources import Source, located
from paddlenlp_ext.presets.families import FAMILIES
from paddlenlp_ext.weights.folders import family_of


class AutoConfig:
    """The config of whatever family the checkpoint is of."""

    @staticmethod
    def from_pretrained(name_or_folder: str | Path | Source, **overrides: Any) -> Any:
        """Read a preset's, folder's or repository's config."""
        source, overrides = located(name_or_folder, overrides)
        row = FAMILIES[family_of(source)]
        module = import_module(f"paddlenlp_ext.paddlenlp.transformers.{row.file}.configuration")
        return getattr(module, f"{row.prefix}Config").from_pretrained(source, **overrides)
