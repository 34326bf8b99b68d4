"""Batches from examples that tokenizers made, padded and with labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import IGNORED

Array = NDArray[Any]
DataCollator = Callable[[Sequence[Any]], Mapping[str, Any]]

LABELS = ("label", "label_ids")  # in an example, which a batch calls `labels`


def default_data_collator(features: Sequence[Any], return_tensors: str = "pd") -> dict[str, Any]:
    """Stack the columns of examples; text is left out.

    Args:
        features: Mappings, or objects with attributes, of values of one shape each.
        return_tensors: "pd", or "np".
    """
    rows = [one if isinstance(one, Mapping) else vars(one) for one in features]
    columns = {
        name: [row[name] for row in rows]
        for name, value in rows[0].items()
        if value is not None and not isinstance(value, str)
    }
    return _tensors(_with_labels(columns), return_tensors)


@dataclass
class DefaultDataCollator:
    """`default_data_collator` as an object.

    Attributes:
        return_tensors: "pd", or "np".
    """

    return_tensors: str = "pd"

    def __call__(
        self, features: Sequence[Any], return_tensors: str | None = None
    ) -> dict[str, Any]:
        """Stack the columns of examples."""
        return default_data_collator(features, return_tensors or self.return_tensors)


@dataclass
class DataCollatorWithPadding:
    """Pad examples to the longest of a batch.

    Attributes:
        tokenizer: Its `pad` does it.
        padding: As in a call of the tokenizer, as the next four.
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pd"
    return_attention_mask: bool | None = None

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the columns of a batch; `label` or `label_ids` as `labels`."""
        padded = self.tokenizer.pad(
            [*features],
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_attention_mask=self.return_attention_mask,
        )
        return _tensors(_with_labels(padded), self.return_tensors)


@dataclass
class DataCollatorForTokenClassification:
    """Pad examples and the labels of their tokens to the longest of a batch.

    Attributes:
        tokenizer: Its `pad` does it.
        padding: As in a call of the tokenizer, as the next two.
        label_pad_token_id: Label of padding, which losses leave out.
        return_tensors: "pd", or "np".
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = IGNORED
    return_tensors: str = "pd"

    def __call__(
        self, features: Sequence[Mapping[str, Any]], return_tensors: str | None = None
    ) -> dict[str, Any]:
        """Return the columns of a batch; labels under the name that they have in the examples."""
        name = "label" if "label" in features[0] else "labels"
        batch = self.tokenizer.pad(
            [{key: value for key, value in row.items() if key != name} for row in features],
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
        )
        columns = dict(batch)
        if name in features[0]:
            length = len(columns["input_ids"][0])
            columns[name] = [self._padded([*row[name]], length) for row in features]
        return _tensors(columns, return_tensors or self.return_tensors)

    def _padded(self, labels: list[int], length: int) -> list[int]:
        fill = [self.label_pad_token_id] * (length - len(labels))
        return labels + fill if self.tokenizer.padding_side == "right" else fill + labels


@dataclass
class DataCollatorForLanguageModeling:
    """Mask tokens of a batch, anew each time: 80 % [MASK], 10 % any token, 10 % as they are.

    A random token is an ordinary one here; in PaddleNLP it may be `[CLS]`, too.

    Attributes:
        tokenizer: Pads, and knows the special tokens, which are not masked.
        mlm: Whether to mask; if not, the labels are the ids, -100 at padding.
        mlm_probability: Share of the tokens that are predicted.
        pad_to_multiple_of: As in a call of the tokenizer.
        return_tensors: "pd", or "np".
    """

    tokenizer: Any
    mlm: bool = True
    mlm_probability: float = 0.15
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pd"

    def __call__(
        self, features: Sequence[Any], return_tensors: str | None = None
    ) -> dict[str, Any]:
        """Return the columns of a batch, `labels` among them, -100 where nothing is predicted."""
        rows = [one if isinstance(one, Mapping) else {"input_ids": one} for one in features]
        columns = dict(self.tokenizer.pad(rows, pad_to_multiple_of=self.pad_to_multiple_of))
        if not isinstance(features[0], Mapping):
            columns = {"input_ids": columns["input_ids"]}
        ids = np.asarray(columns["input_ids"], "int64")
        special = columns.pop("special_tokens_mask", None)
        if self.mlm:
            ids, labels = self._masked(ids, self._special(ids, special))
        else:
            labels = np.where(ids == self.tokenizer.pad_token_id, IGNORED, ids)
        columns |= {"input_ids": ids, "labels": labels}
        return _tensors(columns, return_tensors or self.return_tensors)

    def _special(self, ids: Array, marked: Any) -> Array:
        """Return which tokens are special, padding too; bool [B, L]."""
        mask = (
            np.isin(ids, self.tokenizer.all_special_ids)
            if marked is None
            else np.asarray(marked, bool)
        )
        special: Array = mask | (ids == self.tokenizer.pad_token_id)
        return special

    def _masked(self, ids: Array, special: Array) -> tuple[Array, Array]:
        chosen = (np.random.random(ids.shape) < self.mlm_probability) & ~special
        draw = np.random.random(ids.shape)
        every = np.arange(len(self.tokenizer))
        ordinary = np.setdiff1d(every, self.tokenizer.all_special_ids)
        masked = np.where(chosen & (draw < 0.8), self.tokenizer.mask_token_id, ids)
        replaced = np.where(
            chosen & (draw >= 0.9),
            np.random.choice(ordinary if ordinary.size else every, size=ids.shape),
            masked,
        )
        return replaced, np.where(chosen, ids, IGNORED)


def _with_labels(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {"labels" if name in LABELS else name: value for name, value in columns.items()}


def _tensors(columns: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Make arrays or tensors of columns: whole numbers int64, others float32."""
    if kind not in ("pd", "np"):
        raise UserError(f"return_tensors must be 'pd' or 'np', not {kind!r}")
    arrays = {name: _array(column) for name, column in columns.items()}
    if kind == "np":
        return arrays
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}


def _array(column: Sequence[Any]) -> Array:
    array = np.asarray([np.asarray(value) for value in column])
    return array.astype({"f": "float32", "b": "bool"}.get(array.dtype.kind, "int64"))
