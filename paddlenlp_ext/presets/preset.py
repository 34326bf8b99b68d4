"""What a row says about a published model, and what rows of several families have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Paddle's hosting, where PaddleNLP 2.8.1 finds its files.
HOSTING = "https://bj.bcebos.com/paddlenlp/models/transformers/"
HOSTING_NEW = "https://paddlenlp.bj.bcebos.com/models/transformers/"  # newer models

LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
CASED: dict[str, Any] = {"do_lower_case": False, "model_max_length": 512}
UNCASED: dict[str, Any] = {"do_lower_case": True, "model_max_length": 512}


@dataclass(frozen=True)
class Preset:
    """One published model.

    Attributes:
        tokenizer: Class of its tokenizer; it need not be one of ours.
        settings: What that class is given besides files.
        config: Fields of the family's config that differ from the defaults there.
        repository: On the Hugging Face Hub; none if only Paddle has the files.
        files: On Paddle's own hosting: name of a file in a model's folder to its address.
    """

    tokenizer: str
    settings: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    repository: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def hosted(weights: str, vocabulary: str) -> dict[str, str]:
    """Name the two files that most presets have, by their paths on `HOSTING` or whole addresses."""
    files = {"model_state.pdparams": f"{weights}.pdparams", "vocab.txt": f"{vocabulary}.txt"}
    return {n: path if "://" in path else HOSTING + path for n, path in files.items()}
