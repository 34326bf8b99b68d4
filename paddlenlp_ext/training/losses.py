"""Losses, one number a label, so that the loop decides what they are divided by.

A mean over a batch is the wrong thing to average over accumulated batches and processes whose
counts of labels differ: the loop sums these numbers and divides by the count of all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.outputs import QuestionAnsweringOutput
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.tasks.label_orders import label_order
from paddlenlp_ext.tasks.task import Metric, Task

Loss = Callable[[Tensor, Tensor], Tensor]

NOWHERE = -1e4  # score of padding as an answer or its place: no probability, in float16 too


def logits_of(output: Any, batch: Batch) -> Tensor:
    """Read what a model's output says of a batch's labels.

    Args:
        output: Of the model, with logits of any shape, in which a choice that is lacking counts for
            nothing; or scores of the first and of the last token of a span, in which padding then
            counts for nothing, so that it does not matter which rows are batched together.
        batch: What the model was called with.

    Returns:
        The logits; of spans float [B, L, 2].
    """
    if batch["input_ids"].ndim == 3:
        is_choice = batch["attention_mask"].sum(-1) > 1  # see `ChoiceFeatures.choices`
        lacking = paddle.full_like(output.logits, NOWHERE)
        return paddle.where(is_choice, output.logits, lacking)
    if not isinstance(output, QuestionAnsweringOutput):
        return output.logits
    scores = paddle.stack([output.start_logits, output.end_logits], axis=-1)
    is_token = batch["attention_mask"].astype("bool").unsqueeze(-1).expand_as(scores)
    return paddle.where(is_token, scores, paddle.full_like(scores, NOWHERE))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the negative log-likelihood of the right classes.

    Args:
        logits: One row a label; float [..., V].
        labels: Class numbers, or `IGNORED`; int64 [...].

    Returns:
        A loss a label, 0 for ignored ones; float32 [N], with N labels.
    """
    losses = F.cross_entropy(
        logits.reshape([-1, logits.shape[-1]]).astype("float32"),
        labels.reshape([-1]),
        reduction="none",
        ignore_index=IGNORED,
    )
    return losses.reshape([-1])


def span_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the negative log-likelihood of the first and of the last token of spans.

    Args:
        logits: Of each token as the first and as the last; float [B, L, 2].
        labels: Numbers of these tokens, or `IGNORED`; int64 [B, 2].

    Returns:
        Two losses an example, 0 for ignored ones; float32 [2B].
    """
    return cross_entropy(logits.transpose([0, 2, 1]), labels)


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the squared distance of scores from the right ones.

    Args:
        scores: float [B, 1] or [B].
        labels: float32 [B].

    Returns:
        A loss an example; float32 [B].
    """
    difference = scores.reshape([-1]).astype("float32") - labels.reshape([-1])
    return difference * difference


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the negative log-likelihood of each label's presence or absence.

    Args:
        logits: float [B, C].
        labels: Ones for the labels of a row among zeros; float32 [B, C].

    Returns:
        A loss a label, row by row; float32 [B * C].
    """
    losses = F.binary_cross_entropy_with_logits(logits.astype("float32"), labels, reduction="none")
    return losses.reshape([-1])


def loss_for(task: Task) -> Loss:
    """Choose the loss of a task by its kind of labels."""
    if task.labels is None:
        return squared_error
    return binary_cross_entropy if task.is_multi_label else cross_entropy


def judge(task: Task, model: nn.Layer) -> tuple[Loss, Metric]:
    """Choose the loss and the metric of a task for a model.

    Args:
        task: Numbers the labels, and has the metric.
        model: Where its config has the labels in another order, its logits are put into the task's.
    """
    loss, metric = loss_for(task), task.metric
    config = getattr(model, "config", None)
    order = label_order(task, config.label_names) if config is not None and task.labels else None
    if order is None or order == tuple(range(task.num_labels)):
        return loss, metric
    columns, index = list(order), paddle.to_tensor(order, "int64")

    def loss_in_order(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(paddle.index_select(logits, index, axis=-1), labels)

    def metric_in_order(
        predictions: npt.NDArray[Any], labels: npt.NDArray[Any]
    ) -> dict[str, float]:
        return metric(predictions[..., columns], labels)

    return loss_in_order, metric_in_order


@dataclass(frozen=True, slots=True)
class Emphasis:
    """What training minimises of the loss of a task with classes; evaluations report that as it is.

    Attributes:
        smoothing: Part of a label that all classes share, the right one among them.
        by_class: Weight of the labels of each class, in the task's order; float32 [C]. None weighs
            them the same.
    """

    smoothing: float = 0.0
    by_class: Tensor | None = None
    _by_class: npt.NDArray[Any] | None = field(init=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Read the weights once: labels are counted on the host."""
        if self.by_class is not None:
            object.__setattr__(self, "_by_class", self.by_class.numpy())

    def losses(self, loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the losses whose sum, divided by `count`, is minimised.

        Args:
            loss: A cross-entropy, or any loss where nothing is emphasised.
            logits: One row a label; float [..., C].
            labels: Class numbers, or `IGNORED`; int64 [...].

        Returns:
            A loss a label, 0 for ignored ones; float32 [N], with N labels.
        """
        losses = loss(logits, labels)
        if self.smoothing == 0.0 and self.by_class is None:
            return losses
        flat = labels.reshape([-1])
        is_there = flat != IGNORED
        if self.smoothing:
            rows = logits.reshape([-1, logits.shape[-1]]).astype("float32")
            even = paddle.logsumexp(rows, axis=-1) - rows.mean(-1)  # mean loss of all classes
            even = paddle.where(is_there, even, paddle.zeros_like(even))
            losses = (1.0 - self.smoothing) * losses + self.smoothing * even
        if self.by_class is not None:
            # What is ignored has no loss, so any weight will do.
            classes = paddle.where(is_there, flat, paddle.zeros_like(flat))
            losses = losses * paddle.gather(self.by_class, classes)
        return losses

    def count(self, labels: Tensor) -> float:
        """Count the labels that are not ignored, each by its weight.

        Args:
            labels: Of the host; int64 or float32 [...].
        """
        if self._by_class is None:
            return count_labels(labels)
        classes = labels.numpy()
        return float(self._by_class[classes[classes != IGNORED]].sum(dtype="float64"))


def count_labels(labels: Tensor) -> int:
    """Count the labels that are not ignored.

    Args:
        labels: Of the host, where counting waits for no device; int64 or float32 [...].
    """
    return int((labels.numpy() != IGNORED).sum())  # Paddle 2.6 cannot sum what is empty
