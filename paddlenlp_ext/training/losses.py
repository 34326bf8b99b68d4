"""Losses, one number a label, so that the loop decides what they are divided by.

A mean over a batch is the wrong thing to average over accumulated batches and processes whose
counts of labels differ: the loop sums these numbers and divides by the count of all of them.
"""

from collections.abc import Callable

import paddle.nn.functional as F
from paddle import Tensor

from paddlenlp_ext.nn.heads import IGNORED

Loss = Callable[[Tensor, Tensor], Tensor]


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


def loss_for(num_labels: int) -> Loss:
    """Choose the loss of a task by the width of its classifier: 1 is a regression."""
    return squared_error if num_labels == 1 else cross_entropy


def count_labels(labels: Tensor) -> int:
    """Count the labels that are not ignored.

    Args:
        labels: int64 or float32 [...].
    """
    return int((labels.numpy() != IGNORED).sum())  # Paddle 2.6 cannot sum what is empty
