"""Examples in lists and streams, each class imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "MapDataset": "dataset",
    "IterDataset": "dataset",
    "DatasetBuilder": "dataset",
    "load_dataset": "loading",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
