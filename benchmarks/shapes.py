"""The models that are measured: sizes as data, and what their products cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A model without weights.

    Attributes:
        family: Its `model_type`.
        sizes: Fields of its config that differ from those of the preset or, without, the family's.
        preset: A published model's name.
    """

    family: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    preset: str = ""


def narrow(layers: int = 4, vocabulary: int = 30_000) -> Shape:
    """A BERT of MiniLM's width."""
    return bert(384, layers, vocabulary)


def bert(width: int, layers: int, vocabulary: int = 30_522) -> Shape:
    """A BERT with heads of 64 units, or of 32 as in MiniLM."""
    return Shape(
        "bert",
        {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": 12,
            "intermediate_size": 4 * width,
        },
    )


SHAPES: dict[str, Shape] = {
    "bert-base": bert(768, 12),
    "bert-base-4": bert(768, 4),
    "minilm": bert(384, 6),
    "rembert": Shape("rembert", preset="rembert"),
    "ernie-m-base": Shape("ernie_m", preset="ernie-m-base"),
    "convbert-small": Shape("convbert", preset="convbert-small"),
    "convbert-base": Shape("convbert", preset="convbert-base"),
    **{f"narrow-{layers}": narrow(layers) for layers in (4, 8)},
    **{f"narrow-{rows // 1000}k": narrow(vocabulary=rows) for rows in (30_000, 100_000, 250_000)},
    # For tests of the benchmarks themselves.
    "tiny": Shape(
        "bert",
        {
            "vocab_size": 30_522,
            "hidden_size": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 20,
        },
    ),
}


def product_flops(
    width: int, inner: int, layers: int, batch: int, length: int, read: int | None = None
) -> float:
    """Count the floating-point operations of a training step's matrix products.

    Those of the encoder layers: four projections, two of the feed-forward part, and the two of
    attention. The backward pass has two products for each one of the forward pass.

    Args:
        width: Units of the encoder.
        inner: Units of the feed-forward part.
        layers: Of the encoder.
        batch: Rows.
        length: Tokens of a row.
        read: Tokens of a row for which the last layer computes more than keys and values; all if
            None.
    """

    def forward(queries: int) -> int:
        of_all = 4 * batch * length * width * width
        parts = 2 * width * width + 2 * width * inner + 2 * length * width
        return of_all + 2 * batch * queries * parts

    return 3.0 * ((layers - 1) * forward(length) + forward(length if read is None else read))
