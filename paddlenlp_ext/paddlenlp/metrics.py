"""PaddleNLP's metrics of GLUE and of entities, computed over all rows at once, and right.

`Mcc` of a perfect classifier is 1.0, and `PearsonAndSpearman` averages ranks of equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor
from paddle.metric import Metric

from paddlenlp_ext import metrics
from paddlenlp_ext.tasks.entities import find_entities

Array = NDArray[Any]


class _OfAllRows(Metric):  # type: ignore[misc]
    """Keeps predictions and labels until a number is asked for.

    Args:
        name: What the script calls it.
    """

    numbers: ClassVar[tuple[str, ...]]

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self._name = name or type(self).__name__.lower()
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._predictions: list[Array] = []
        self._labels: list[Array] = []

    def compute(self, pred: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `update` takes: predictions [B, C] and labels [B] or [B, 1]."""
        return pred, label

    def update(self, *rows: Any) -> None:
        """Add rows: predictions and labels, as two arguments or as one pair."""
        pred, label = rows[0] if len(rows) == 1 else rows
        labels = np.asarray(label).reshape([-1])
        self._labels.append(labels)
        self._predictions.append(np.asarray(pred).reshape([len(labels), -1]))

    def accumulate(self) -> tuple[float, ...]:
        """Return the numbers of all rows since `reset`; 0.0 if there are none."""
        if not self._labels:
            return (0.0,) * len(self.numbers)
        found = self.measure(np.concatenate(self._predictions), np.concatenate(self._labels))
        return tuple(found[name] for name in self.numbers)

    def measure(self, predictions: Array, labels: Array) -> dict[str, float]:
        """Compute the numbers of all rows: predictions [N, C], labels [N]."""
        raise NotImplementedError

    def name(self) -> str:
        """Return what the script calls it."""
        return self._name


class AccuracyAndF1(_OfAllRows):
    """Accuracy, precision, recall, F1 of class 1, and the mean of accuracy and F1."""

    numbers = ("acc", "precision", "recall", "f1", "acc and f1")
    measure = staticmethod(metrics.accuracy_and_f1)  # type: ignore[assignment]


class Mcc(_OfAllRows):
    """Matthews' correlation coefficient, a tuple of one number."""

    numbers = ("mcc",)
    measure = staticmethod(metrics.matthews)  # type: ignore[assignment]


class PearsonAndSpearman(_OfAllRows):
    """The correlation of scores, of their ranks, and the mean of the two."""

    numbers = ("pearson", "spearman", "pearson and spearman")
    measure = staticmethod(metrics.pearson_and_spearman)  # type: ignore[assignment]


class ChunkEvaluator(Metric):  # type: ignore[misc]
    """Precision, recall and F1 of entities by the rules of `conlleval`.

    Args:
        label_list: The tags by their numbers.
        suffix: Whether a tag is written `person-B`, rather than `B-person`.
    """

    def __init__(self, label_list: Sequence[str], suffix: bool = False) -> None:
        super().__init__()
        self.tags = [self._prefixed(tag) if suffix else tag for tag in label_list]
        self.reset()

    @staticmethod
    def _prefixed(tag: str) -> str:
        kind, _, prefix = tag.rpartition("-")
        return f"{prefix}-{kind}" if kind else tag

    def reset(self) -> None:
        """Forget all rows."""
        self.num_infer_chunks = self.num_label_chunks = self.num_correct_chunks = 0

    def compute(
        self, lengths: Any, predictions: Any, labels: Any, dummy: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Count entities.

        Args:
            lengths: Tokens of each row; int [B].
            predictions: Numbers of tags; int [B, L].
            labels: The same, of the right ones.
            dummy: The labels, where inputs, which are not read, come first, as in older scripts.

        Returns:
            Entities that are predicted, that are right ones, and that are both; int64 [1] each.
        """
        found, gold, both = 0, 0, 0
        if dummy is not None:
            lengths, predictions, labels = predictions, labels, dummy
        for length, row, right in zip(
            np.asarray(lengths), np.asarray(predictions), np.asarray(labels), strict=True
        ):
            one, other = (
                {*find_entities([self._tag(number) for number in numbers[: int(length)]])}
                for numbers in (row, right)
            )
            found, gold, both = found + len(one), gold + len(other), both + len(one & other)
        return paddle.to_tensor([found]), paddle.to_tensor([gold]), paddle.to_tensor([both])

    def _tag(self, number: int) -> str:
        return self.tags[number] if 0 <= number < len(self.tags) else "O"

    def update(self, num_infer_chunks: Any, num_label_chunks: Any, num_correct_chunks: Any) -> None:
        """Add counts: numbers, or arrays or tensors of one."""
        self.num_infer_chunks += np.asarray(num_infer_chunks).item()
        self.num_label_chunks += np.asarray(num_label_chunks).item()
        self.num_correct_chunks += np.asarray(num_correct_chunks).item()

    def accumulate(self) -> tuple[float, float, float]:
        """Return precision, recall and F1; 0.0 where there is nothing to divide by."""
        both = self.num_correct_chunks
        precision = both / self.num_infer_chunks if self.num_infer_chunks else 0.0
        recall = both / self.num_label_chunks if self.num_label_chunks else 0.0
        f1 = 2 * precision * recall / (precision + recall) if both else 0.0
        return precision, recall, f1

    def name(self) -> tuple[str, ...]:
        """Return the names of the three numbers."""
        return "precision", "recall", "f1"
