"""What models answer: fields by name, and in order when unpacked, as in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from paddle import Tensor

from paddlenlp_ext.nn.attention import KeyValue


@dataclass(frozen=True)
class ModelOutput:
    """Fields by attribute or key; `loss, logits = output` unpacks those that are there."""

    def to_tuple(self) -> tuple[object, ...]:
        """The fields that are there, in order."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if value is not None)

    def __iter__(self) -> Iterator[object]:
        return iter(self.to_tuple())

    def __getitem__(self, key: int | slice | str) -> object:
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]


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


@dataclass(frozen=True)
class BaseModelOutput(ModelOutput):
    """Output of a model without a head; `hidden_states` begins with the embeddings."""

    last_hidden_state: Tensor  # [B, L, H]
    pooler_output: Tensor | None = None  # [B, H]
    past_key_values: DecoderCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None  # layers + 1 times [B, L, H]
    attentions: tuple[Tensor, ...] | None = None  # layers times [B, A, L, L]
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class HeadOutput(ModelOutput):
    """Output of a model with one head: [B, num_labels], [B, L, num_labels], [B, C] or [B, L, V]."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class CausalLMOutput(ModelOutput):
    """Output of a decoder with a language-model head; `logits` [B, L, V]."""

    loss: Tensor | None
    logits: Tensor
    past_key_values: DecoderCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class QuestionAnsweringOutput(ModelOutput):
    """Scores of each token as the first and as the last of the answer; [B, L] each."""

    loss: Tensor | None
    start_logits: Tensor
    end_logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class PreTrainingOutput(ModelOutput):
    """Scores of masked tokens, [B, L, V] or [M, V], and of the second text being random, [B, 2]."""

    loss: Tensor | None
    prediction_logits: Tensor
    seq_relationship_logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
