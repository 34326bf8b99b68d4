"""Outputs of models: ordered mappings with attributes, as in transformers and PaddleNLP."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

import paddle
from paddle import Tensor
from paddle.jit.sot.psdb import fallback, in_sot

from paddlenlp_ext.errors import InputError, shown
from paddlenlp_ext.nn.attention import KeyValue

Output = TypeVar("Output", bound="ModelOutput")


class _Name(str):
    """A field's name, which stands before those of later fields.

    Paddle sorts the names of a mapping before it makes a program of the values: so they keep their
    order, which is all that an exported program has.
    """

    number: int

    def __new__(cls, name: str, number: int) -> _Name:
        new = super().__new__(cls, name)
        new.number = number
        return new

    def __lt__(self, other: str) -> bool:
        return self.number < other.number if isinstance(other, _Name) else str(self) < other

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)


class _Made(type):
    """Of a class that a translator meets, and leaves to Python."""

    def __call__(cls, *values: Any, **named: Any) -> Any:
        if in_sot():
            fallback(recursive=True)
        return super().__call__(*values, **named)


class ModelOutput(OrderedDict[str, Any], metaclass=_Made):
    """Fields by attribute, by name (`output["logits"]`) or by number (`output[0]`, `output[:2]`).

    A field that is None is an attribute alone: it has no name and no number. To iterate, and so to
    unpack, gives names, as of every mapping; `loss, logits = output.to_tuple()` gives values. A
    mapping can be made of (name, value) pairs alone, so that Paddle's tools can put one together.
    """

    def __post_init__(self) -> None:
        own = fields(self)  # type: ignore[arg-type]
        names = [_Name(field.name, number) for number, field in enumerate(own)]
        first = getattr(self, names[0])
        if isinstance(first, (Mapping, Iterator)):
            setattr(self, names[0], None)
            numbered = dict(zip(names, names, strict=True))
            for name, value in dict(first).items():
                self[numbered.get(name, name)] = value
        else:
            for name in names:
                if (value := getattr(self, name)) is not None:
                    self[name] = value

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the values in order."""
        return tuple(self.values())

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self and value is not None:
            super().__setitem__(name, value)
        super().__setattr__(name, value)


@dataclass(frozen=True)
class DecoderCache:
    """What a decoder keeps between the steps of a generation.

    Attributes:
        key_values: For each layer, those of the self-attention, then of the cross-attention.
        attention_mask: Which earlier tokens may be attended to; int64 [B, L].
    """

    key_values: tuple[tuple[KeyValue, ...], ...]
    attention_mask: Tensor

    @property
    def length(self) -> int:
        """Number of earlier tokens."""
        return int(self.attention_mask.shape[1])

    def reorder(self, rows: Tensor) -> DecoderCache:
        """Take other rows of the batch; `rows` int64 [B']."""
        key_values = tuple(
            tuple((key.index_select(rows), value.index_select(rows)) for key, value in layer)
            for layer in self.key_values
        )
        return DecoderCache(key_values, self.attention_mask.index_select(rows))


# Keys and values of each layer as both libraries have them: float [B, A, P, D] each.
KeyValues: TypeAlias = Sequence[Sequence[Tensor]]


def cache_of(past: KeyValues, layers: int, sizes: tuple[int, int, int]) -> DecoderCache:
    """Return keys and values of earlier tokens, or of a prefix, as a cache of our layout.

    Args:
        past: A key and a value of each layer; all their tokens may be attended to.
        layers: How many the model has.
        sizes: `B`, `A` and `D` of the keys and values.

    Raises:
        InputError: They are others.
    """
    shapes = [[[*part.shape] for part in layer] for layer in past]
    rows, heads, width = sizes
    tokens = shapes[0][0][2:3] if shapes and shapes[0] else []
    if shapes != [[[rows, heads, *tokens, width]] * 2] * layers:
        raise InputError(
            f"`past_key_values`: expected of each of {layers} layers a key and a value, "
            f"[{rows}, {heads}, P, {width}] each, got {shown(shapes)}"
        )
    pairs = [tuple(part.transpose([0, 2, 1, 3]) for part in layer) for layer in past]
    mask = paddle.ones(pairs[0][0].shape[:2], dtype="int64")
    return DecoderCache(tuple(((key, value),) for key, value in pairs), mask)


def key_values_of(layers: Sequence[Sequence[KeyValue]]) -> KeyValues:
    """Return keys and values of each layer as both libraries have them; undoes `cache_of`."""
    return tuple(tuple(part.transpose([0, 2, 1, 3]) for part in layer[0]) for layer in layers)


@dataclass
class States:
    """What a model without a head computes; `hidden_states` begins with the embeddings."""

    last_hidden_state: Tensor  # [B, L, H]
    pooler_output: Tensor | None = None  # [B, H]
    past_key_values: DecoderCache | KeyValues | None = None
    hidden_states: tuple[Tensor, ...] | None = None  # layers + 1 times [B, L, H]
    attentions: tuple[Tensor, ...] | None = None  # layers times [B, A, L, L]
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass
class BaseModelOutput(ModelOutput):
    """Output of a model without a head: its `States`."""

    last_hidden_state: Tensor = None
    pooler_output: Tensor | None = None
    past_key_values: DecoderCache | KeyValues | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass
class HeadOutput(ModelOutput):
    """Output of a model with one head: [B, num_labels], [B, L, num_labels], [B, C] or [B, L, V]."""

    loss: Tensor | None = None
    logits: Tensor = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class CausalLMOutput(ModelOutput):
    """Output of a decoder with a language-model head; `logits` [B, L, V]."""

    loss: Tensor | None = None
    logits: Tensor = None
    past_key_values: DecoderCache | KeyValues | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass
class QuestionAnsweringOutput(ModelOutput):
    """Scores of each token as the first and as the last of the answer; [B, L] each."""

    loss: Tensor | None = None
    start_logits: Tensor = None
    end_logits: Tensor = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class PreTrainingOutput(ModelOutput):
    """Scores of masked tokens, [B, L, V] or [M, V], and of the second text being random, [B, 2]."""

    loss: Tensor | None = None
    prediction_logits: Tensor = None
    seq_relationship_logits: Tensor = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
