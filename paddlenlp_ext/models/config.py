"""The configs of all models: frozen, with the field names of `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from paddlenlp_ext.errors import UserError

Config = TypeVar("Config", bound="ModelConfig")

# Other names that checkpoints have for a field of ours.
FIELD_ALIASES = {"num_classes": "num_labels", "dropout": "classifier_dropout"}


@dataclass(frozen=True)
class ModelConfig:
    """Fields that every family has; a family adds its own.

    Attributes:
        hidden_dropout_prob: Dropped share of embeddings and of each sublayer's output.
        attention_probs_dropout_prob: Dropped share of attention weights.
        classifier_dropout: Dropped share before a classifier; `hidden_dropout_prob` if None.
        initializer_range: Standard deviation of new weights.
        pad_token_id: Token that stands for no token: not attended to if no mask is given.
        num_labels: Width of a classifier; 1 means regression.
        id2label: Name of each label; `LABEL_0`, … if None.
        problem_type: `regression`, `single_label_classification` or `multi_label_classification`;
            told from `num_labels` and the type of the labels if None.
        is_decoder: Each token sees the earlier ones only.
        add_cross_attention: A decoder that also attends to another model's output.
    """

    model_type: ClassVar[str] = ""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    max_position_embeddings: int = 512
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    num_labels: int = 2
    id2label: Mapping[int, str] | None = None
    problem_type: str | None = None
    is_decoder: bool = False
    add_cross_attention: bool = False

    def __post_init__(self) -> None:
        if self.add_cross_attention and not self.is_decoder:
            raise UserError("add_cross_attention needs is_decoder: an encoder has no memory")
        if self.id2label is not None and len(self.id2label) != self.num_labels:
            raise UserError(
                f"id2label names {len(self.id2label)} labels, but num_labels is {self.num_labels}"
            )

    @property
    def head_dropout(self) -> float:
        """Dropped share before a classifier."""
        dropout = self.classifier_dropout
        return self.hidden_dropout_prob if dropout is None else dropout

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, by id."""
        if self.id2label is None:
            return tuple(f"LABEL_{index}" for index in range(self.num_labels))
        return tuple(self.id2label[index] for index in range(self.num_labels))

    @classmethod
    def from_dict(cls: type[Config], values: Mapping[str, Any], origin: str = "config") -> Config:
        """Read the fields of a `config.json`; what else the file holds is left.

        Args:
            values: The parsed file.
            origin: Named in errors.

        Raises:
            UserError: A field has another type than ours, or asks for something not built here.
        """
        values = {FIELD_ALIASES.get(name, name): value for name, value in values.items()}
        embedding = values.get("position_embedding_type", "absolute")
        if embedding != "absolute":
            raise UserError(f"{origin}: position_embedding_type {embedding!r} is not built here")
        known = {field.name: field for field in fields(cls)}
        taken = {name: value for name, value in values.items() if name in known}
        labels = taken.pop("id2label", None)
        if labels:
            taken["num_labels"] = len(labels)
            names = {int(index): str(name) for index, name in labels.items()}
            if names != {index: f"LABEL_{index}" for index in names}:
                taken["id2label"] = names
        for name, value in taken.items():
            expected = str(known[name].type).split(" | ", maxsplit=1)[0]
            if value is not None and not _fits(value, expected):
                raise UserError(f"{origin}: {name} must be {expected}, not {value!r}")
        try:
            return cls(**taken)
        except UserError as error:
            raise UserError(f"{origin}: {error}") from None

    def fitted_to(self: Config, shapes: Mapping[str, tuple[int, ...]]) -> Config:
        """Correct what the tensors of a file know better than the config beside them.

        Args:
            shapes: Shape of each tensor, under the file's own name.
        """
        return self

    def to_dict(self) -> dict[str, Any]:
        """Everything that `config.json` needs, readable by transformers and PaddleNLP too."""
        values = asdict(self)
        del values["num_labels"]  # both read it from the names
        names = self.label_names
        values["id2label"] = {str(index): name for index, name in enumerate(names)}
        values["label2id"] = {name: index for index, name in enumerate(names)}
        return {"model_type": self.model_type, **values}

    def replace(self: Config, **changes: Any) -> Config:
        """A copy with other values; `num_classes` and `dropout` are known under those names too.

        Raises:
            UserError: There is no field of that name.
        """
        changes = {FIELD_ALIASES.get(name, name): value for name, value in changes.items()}
        unknown = changes.keys() - {field.name for field in fields(self)}
        if unknown:
            raise UserError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        if changes.get("id2label") is not None:
            changes.setdefault("num_labels", len(changes["id2label"]))
        elif changes.get("num_labels", self.num_labels) != self.num_labels:
            changes["id2label"] = None
        return replace(self, **changes)


def _fits(value: object, expected: str) -> bool:
    if expected == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if expected == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if expected in ("str", "bool"):
        return type(value).__name__ == expected
    return True
