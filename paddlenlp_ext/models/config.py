"""The configs of all models: frozen, with the field names of `config.json`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from numpy.typing import NDArray

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.sources import Source, located, without_neutral
from paddlenlp_ext.models.config_keywords import (
    FIELD_ALIASES,
    FIXED,
    KEPT,
    OF_CALLS,
    REFUSED,
    is_kept,
    others_of,
    renamed,
)
from paddlenlp_ext.nn.encoder import ACTIVATIONS
from paddlenlp_ext.presets.families import FAMILIES, family_of_preset
from paddlenlp_ext.weights import folders

Config = TypeVar("Config", bound="ModelConfig")

MOST = 2**31 - 1  # of any size or id
NO_PADDING = -1  # as a `pad_token_id`
MAX_EPS = 1e-3  # what Paddle's layer normalization takes
ACTIVATION_FIELDS = ("hidden_act", "pool_act", "summary_activation")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
_WHOLE_NUMBER = re.compile("-?[0-9]{1,10}")
_MAY_BE_0 = ("type_vocab_size", "task_type_vocab_size")


def takes_keywords(cls: type[Config]) -> type[Config]:
    """Let a config's constructor take the keywords of both libraries; see `ModelConfig`."""
    typed: Any = cls  # mypy lets no method be replaced
    build = typed.__init__

    @wraps(build)
    def init(self: Config, *values: Any, **keywords: Any) -> None:
        build(self, *values, **cls.fields_of(keywords))

    typed.__init__ = init
    return cls


@takes_keywords
@dataclass(frozen=True)
class ModelConfig:
    """Fields that every family has; a family adds its own.

    The constructor, `replace` and `from_pretrained` also take PaddleNLP's and transformers' names:
    `num_classes` and `dropout`, `label2id`, and what changes no number (`use_cache`, `num_choices`,
    ids of tokens), which is kept in `others` and is an attribute, too. What would change one and is
    not built here is refused by its name.

    Attributes:
        hidden_dropout_prob: Dropout probability of embeddings and of each sublayer's output.
        attention_probs_dropout_prob: Dropout probability of attention weights.
        classifier_dropout: Dropout probability before a classifier; `hidden_dropout_prob` if None.
        initializer_range: Standard deviation of new weights.
        pad_token_id: Padding token id; padding is not attended to if no mask is given. -1, or null
            in a file: no token is padding.
        num_labels: Width of a classifier; 1 means regression.
        id2label: Name of each label; `LABEL_0`, … if None.
        problem_type: `regression`, `single_label_classification` or `multi_label_classification`;
            found from `num_labels` and the type of the labels if None.
        is_decoder: Each token sees the preceding ones only.
        add_cross_attention: A decoder that also attends to another model's output.
        tie_word_embeddings: Whether a language model scores words by its word embeddings, or by a
            table of their size that is its head's own.
        others: What is kept for whoever asks, by name; see `config_keywords.KEPT`.
    """

    model_type: ClassVar[str] = ""
    # Read by PaddleNLP's tools: no layer is split over devices, and no output left out.
    tensor_parallel_degree: ClassVar[int] = -1
    keys_to_ignore_at_inference: ClassVar[list[str]] = []
    other_model_types: ClassVar[tuple[str, ...]] = ()  # names of the same model elsewhere
    unread: ClassVar[tuple[str, ...]] = ()  # fields of other families, without a use in this one
    attribute_map: ClassVar[Mapping[str, str]] = FIELD_ALIASES

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
    tie_word_embeddings: bool = True
    others: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        cls: Any = type(self)
        hints = _hints(cls)
        for one in fields(self):
            if problem := _problem(one.name, hints[one.name], getattr(self, one.name)):
                raise UserError(problem)
        told = {name: value for name, value in self.others.items() if value != KEPT[name][0]}
        object.__setattr__(self, "others", told)
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} must be a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )
        if self.pad_token_id >= self.vocab_size:
            raise UserError(
                f"pad_token_id {self.pad_token_id} must be below vocab_size {self.vocab_size}"
            )
        if self.add_cross_attention and not self.is_decoder:
            raise UserError("add_cross_attention needs is_decoder: an encoder has no memory")
        if self.id2label is not None and len(self.id2label) != self.num_labels:
            raise UserError(
                f"id2label names {len(self.id2label)} labels, but num_labels is {self.num_labels}"
            )
        if self.id2label is not None and {*self.id2label} != {*range(self.num_labels)}:
            raise UserError(f"id2label must name the labels 0 to {self.num_labels - 1}, each once")

    if not TYPE_CHECKING:  # for which a misspelt field is none

        def __getattr__(self, name: str) -> Any:
            """Answer for a keyword that is no field: what was given, or what holds without it."""
            if name in KEPT:
                return self.__dict__.get("others", {}).get(name, KEPT[name][0])
            if name in FIXED:
                return FIXED[name][0]
            if name in FIELD_ALIASES:
                return getattr(self, FIELD_ALIASES[name])
            raise AttributeError(f"{type(self).__name__} has no field {name}")

    @property
    def label2id(self) -> dict[str, int]:
        """Number of each label, by its name."""
        return {name: number for number, name in enumerate(self.label_names)}

    @property
    def head_dropout(self) -> float:
        """Dropout probability before a classifier."""
        dropout = self.classifier_dropout
        return self.hidden_dropout_prob if dropout is None else dropout

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, by id."""
        if self.id2label is None:
            return tuple(f"LABEL_{index}" for index in range(self.num_labels))
        return tuple(self.id2label[index] for index in range(self.num_labels))

    @property
    def max_length(self) -> int:
        """Tokens of the longest text: those that there are positions for."""
        return self.max_position_embeddings

    @classmethod
    def from_pretrained(
        cls: type[Config], name_or_folder: str | Path | Source, **overrides: Any
    ) -> Config:
        """Read the config of a preset, a folder, a repository of the Hugging Face Hub, or a file.

        Args:
            name_or_folder: Which.
            overrides: Fields to change (`num_labels=3`), as the constructor takes them.

        Raises:
            UserError: There is none, it is another family's, or a field has a wrong value.
        """
        if not isinstance(name_or_folder, Source) and Path(name_or_folder).is_file():
            return cls.from_json_file(name_or_folder).replace(**without_neutral(overrides, {}))
        source, overrides = located(name_or_folder, overrides)
        overrides = without_neutral(overrides, {})
        if source.preset:
            values, family = source.preset.config, family_of_preset(source.name)
        else:
            values = folders.read_config(source)
            family = values.get("model_type", cls.model_type)
        cls._require_family(family, source)
        return cls.from_dict(values, origin=f"{source}/config.json").replace(**overrides)

    @classmethod
    def _require_family(cls, family: object, source: str | Path | Source) -> None:
        if family not in (cls.model_type, *cls.other_model_types):
            named = family if str(family) in FAMILIES else shown(family)
            raise UserError(
                f"{source}: this is a {named} model, and {cls.__name__} is of "
                f"{cls.model_type}; take the classes of that family"
            )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, which is made if it is not there.

        Raises:
            WeightsError: It cannot be written.
        """
        folders.write_config(Path(folder), self.to_dict())

    @classmethod
    def from_json_file(cls: type[Config], file: str | Path) -> Config:
        """Read a `config.json`, or PaddleNLP's older `model_config.json`.

        Raises:
            UserError: It is none, or a field has a wrong value.
        """
        values = folders.read_config_file(Path(file))
        cls._require_family(values.get("model_type", cls.model_type), file)
        return cls.from_dict(values, origin=str(file))

    def to_json_file(self, file: str | Path) -> None:
        """Write what `save_pretrained` does under a name of one's own.

        Raises:
            WeightsError: It cannot be written.
        """
        folders.write_config(Path(file).parent, self.to_dict(), Path(file).name)

    def to_json_string(self) -> str:
        """Return the text of that file."""
        return folders.config_text(self.to_dict())

    @classmethod
    def from_dict(cls: type[Config], values: Mapping[str, Any], origin: str = "config") -> Config:
        """Read the fields of a `config.json`; what else the file holds is left.

        Args:
            values: The parsed file.
            origin: Named in errors.

        Raises:
            UserError: A field has another type than ours, a value that no model has, or asks for
                something not built here.
        """
        values = renamed(values)
        for name in REFUSED:
            built = FIXED[name][0]
            if (value := values.get(name, built)) != built and value:
                raise UserError(f"{origin}: {name} {shown(value)} is not built here")
        known = {one.name: one for one in fields(cls) if one.name != "others"}
        # Another token that a file says there is none of is our default: it is not used then.
        if "pad_token_id" in values and values["pad_token_id"] is None:
            values["pad_token_id"] = NO_PADDING
        taken = {
            name: value
            for name, value in values.items()
            if name in known and not (value is None and name.endswith("_token_id"))
        }
        kept = {
            name: value
            for name, value in values.items()
            if name not in known and name in KEPT and name not in OF_CALLS and is_kept(name, value)
        }
        try:
            taken.pop("id2label", None)
            if names := _label_names(values):
                taken.setdefault("num_labels", len(names))
                # Names that a library made up may be those of its default number.
                if names != {index: f"LABEL_{index}" for index in range(len(names))}:
                    taken["id2label"] = names
            return cls(**taken, others=kept)
        except UserError as error:
            raise UserError(f"{origin}: {error}") from None

    @classmethod
    def fields_of(cls, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of fields that keywords of either library ask for.

        Raises:
            UserError: One would change a model and is not built here, or nobody knows it.
        """
        values = renamed(keywords)
        known = {one.name for one in fields(cls)} | {"label2id"}
        rest = {name: values.pop(name) for name in [*values] if name not in known}
        if others := others_of(cls.__name__, rest, cls.unread):
            values["others"] = {**values.get("others", {}), **others}
        numbers = values.pop("label2id", None)
        if isinstance(numbers, Mapping) and values.get("id2label") is None:
            values["id2label"] = {number: name for name, number in numbers.items()}
        if isinstance(names := values.get("id2label"), Mapping):
            values["id2label"] = _numbered(names)
            values.setdefault("num_labels", len(names))
        if "pad_token_id" in values and values["pad_token_id"] is None:
            values["pad_token_id"] = NO_PADDING
        return values

    def with_sizes_from(self: Config, weights: Mapping[str, NDArray[Any]]) -> Config:
        """Correct what weights show otherwise than the config beside them says.

        Args:
            weights: The tensors of a file, under its own names.
        """
        return self

    def require_rows(self, tokens: int) -> None:
        """Refuse a tokenizer with ids that the word embeddings have no rows for.

        Args:
            tokens: How many ids it has; fewer than rows are as good.

        Raises:
            UserError: It has more.
        """
        if tokens > self.vocab_size:
            raise UserError(
                f"the tokenizer has {tokens:,} tokens, the model {self.vocab_size:,} word "
                "embeddings; take the model's own tokenizer, or enlarge the model by "
                "`resize_token_embeddings()` and save it"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return what `config.json` needs, readable by transformers and PaddleNLP too."""
        values = asdict(self)
        del values["num_labels"]  # both read it from the names
        others = values.pop("others")
        values |= {name: value for name, value in others.items() if name not in OF_CALLS}
        names = self.label_names
        values["id2label"] = {str(index): name for index, name in enumerate(names)}
        values["label2id"] = {name: index for index, name in enumerate(names)}
        return {"model_type": self.model_type, **values}

    def replace(self: Config, **changes: Any) -> Config:
        """Return a copy with other values; arguments as the constructor's.

        Raises:
            UserError: There is no field of that name.
        """
        changes = self.fields_of(changes)
        if "others" in changes:
            changes["others"] = {**self.others, **changes["others"]}
        if changes.get("num_labels", self.num_labels) != self.num_labels:
            changes.setdefault("id2label", None)
        return replace(self, **changes)


def _label_names(values: Mapping[str, Any]) -> dict[int, str]:
    """Read the names of labels from a file: `id2label`, whose keys are text, or else `label2id`.

    Numbers that begin with 1, or have gaps, are taken in their order: weights have no gaps.

    Raises:
        UserError: It is not an object of numbers and names.
    """
    field, labels = "id2label", values.get("id2label")
    if labels is None:
        field, labels = "label2id", values.get("label2id")
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise UserError(f"{field} must be an object of numbers and names, not {shown(labels)}")
    pairs = [
        (name, label) if field == "id2label" else (label, name) for name, label in labels.items()
    ]
    numbers = [number for number, _ in pairs]
    try:
        names = {_label_number(number): str(name) for number, name in pairs}
    except ValueError:
        raise UserError(f"{field} must have whole numbers, not {shown(numbers)}") from None
    if len(names) != len(pairs):
        raise UserError(f"{field} must have each number once, not {shown(numbers)}")
    if min(names, default=0) < 0:
        raise UserError(f"{field} must have numbers from 0 on, not {shown(numbers)}")
    return {index: names[number] for index, number in enumerate(sorted(names))}


def _numbered(names: Mapping[Any, str]) -> dict[int, str]:
    """Return labels by their numbers, which may be given as text.

    Raises:
        UserError: One is no number.
    """
    try:
        return {_label_number(number): name for number, name in names.items()}
    except ValueError:
        raise UserError(f"id2label must have whole numbers, not {shown([*names])}") from None


def _label_number(number: object) -> int:
    """Read the number of a label: one of JSON, or digits; `int` takes more (`1_0`, `١`, ` 1 `).

    Raises:
        ValueError: It is none.
    """
    if isinstance(number, str) and _WHOLE_NUMBER.fullmatch(number):
        number = int(number)
    if type(number) is not int or number > MOST:
        raise ValueError(number)
    return number


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """Return the types of fields, which a file may write as types or as text."""
    return get_type_hints(cls)


def _problem(name: str, hint: Any, value: Any) -> str | None:
    """Say what is wrong with the value of a field; None if a model can be built with it."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and (NoneType in kinds or name == "pool_act"):
        return None
    kind = next(kind for kind in kinds if kind is not NoneType)
    kind = get_origin(kind) or kind
    if kind in (int, float):
        least, most = _range(name, kind)
        is_number = isinstance(value, Integral if kind is int else Real)
        fits = is_number and not isinstance(value, bool) and least <= value <= most
        fits = fits and value < math.inf
        wanted = f"a number from {least:g}" + (f" to {most:g}" if math.isfinite(most) else "")
        if kind is int:
            wanted = f"a whole number from {least:.0f} to {most:,.0f}"
    elif name in ACTIVATION_FIELDS:
        fits = isinstance(value, str) and (value in ACTIVATIONS or not value)
        fits = fits and (bool(value) or name != "hidden_act")
        wanted = f"one of {', '.join(sorted(ACTIVATIONS))}"
    elif name == "problem_type":
        fits, wanted = value in PROBLEM_TYPES, f"one of {', '.join(PROBLEM_TYPES)}"
    else:
        fits, wanted = isinstance(value, kind), kind.__name__
    return None if fits else f"{name} must be {wanted}, not {shown(value)}"


def _range(name: str, kind: type) -> tuple[float, float]:
    """Return the least and the greatest value of a field that is a number."""
    if name == "pad_token_id":
        return NO_PADDING, MOST
    if kind is int:
        return (0 if name.endswith("_id") or name in _MAY_BE_0 else 1), MOST
    if "dropout" in name:
        return 0, 1
    return 0, MAX_EPS if name == "layer_norm_eps" else math.inf
