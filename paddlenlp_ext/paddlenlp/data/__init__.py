"""Batches from examples, each class imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {  # by module
    "collate": "Dict Pad Stack Tuple",
    "data_collator": """
        DataCollator DataCollatorForLanguageModeling
        DataCollatorForTokenClassification DataCollatorWithPadding DefaultDataCollator
        default_data_collator
    """,
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
