"""The metrics of the tasks, on scikit-learn and SciPy.

Each takes all predictions and all labels of a split at once and returns the numbers by the names
under which the scripts report them. A correlation that is not defined, of one example or of values
that are all equal, is 0.0 and not NaN.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

IGNORED = -100  # the label of a place that has none


def accuracy(predictions: Array, labels: Array) -> dict[str, float]:
    """Compute the proportion of right classes.

    Args:
        predictions: Logits; float [N, C].
        labels: Class numbers; int [N].
    """
    return {"acc": float(np.mean(_classes(predictions) == labels))}


def accuracy_and_f1(predictions: Array, labels: Array) -> dict[str, float]:
    """Compute accuracy, and precision, recall and F1 of class 1.

    Args:
        predictions: Logits; float [N, 2].
        labels: Class numbers; int [N].
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, _classes(predictions), average="binary", pos_label=1, zero_division=0.0
    )
    acc = accuracy(predictions, labels)["acc"]
    return {
        "acc": acc,
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "acc and f1": (acc + float(f1)) / 2,
    }


def matthews(predictions: Array, labels: Array) -> dict[str, float]:
    """Compute Matthews' correlation coefficient, 1.0 for a perfect classifier.

    Args:
        predictions: Logits; float [N, C].
        labels: Class numbers; int [N].
    """
    from sklearn.metrics import matthews_corrcoef

    classes = _classes(predictions)
    if len(np.union1d(labels, classes)) < 2:  # 0.0 too, but with a warning
        return {"mcc": 0.0}
    return {"mcc": float(matthews_corrcoef(labels, classes))}


def pearson_and_spearman(predictions: Array, labels: Array) -> dict[str, float]:
    """Compute the correlation of scores and of their ranks, which equal scores have in common.

    Args:
        predictions: Scores; float [N] or [N, 1].
        labels: Gold scores; float [N].
    """
    from scipy.stats import pearsonr, spearmanr

    scores = np.asarray(predictions, np.float64).reshape(len(labels))
    gold = np.asarray(labels, np.float64)
    pearson = spearman = 0.0
    if len(gold) > 1 and np.ptp(scores) > 0 and np.ptp(gold) > 0:
        pearson = float(pearsonr(scores, gold).statistic)
        spearman = float(spearmanr(scores, gold).statistic)
    return {
        "pearson": pearson,
        "spearman": spearman,
        "pearson and spearman": (pearson + spearman) / 2,
    }


def _classes(logits: Array) -> Array:
    """Choose the class with the largest logit; the first of equal ones."""
    return np.asarray(np.argmax(logits, axis=-1))
