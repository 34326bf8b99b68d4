"""PaddleNLP's names with PaddleNLP's defaults, for scripts that were written for it.

import paddlenlp_ext.paddlenlp as paddlenlp

Models answer by tensors and tuples, configs can be set, tokenizers encode to dicts; the rest is
this library. See docs/compatibility.md for what is not as there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "2.8.1"  # of PaddleNLP, whose names and defaults these are; scripts compare it

__all__ = ["data", "datasets", "metrics", "ops", "transformers", "utils"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
