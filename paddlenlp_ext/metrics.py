"""The metrics of the tasks, on scikit-learn and SciPy.

Each takes all predictions and all labels of a split at once and returns the numbers by the names
under which the scripts report them. A correlation that is not defined, of one example or of values
that are all equal, is 0.0 and not NaN.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

IGNORED = -100  # the label of a place that has none
LOWER_IS_BETTER = ("loss", "perplexity", "mse")  # also "generator loss"; all others: higher


def is_lower_better(name: str) -> bool:
    """Return whether a smaller number of this name is that of a better model."""
    return name.rpartition(" ")[2] in LOWER_IS_BETTER


class ClassScores(NamedTuple):
    """How well one class is found, and how many rows have it."""

    precision: float
    recall: float
    f1: float
    support: int


class Metrics(dict[str, float]):
    """Metrics by their names.

    Attributes:
        classes: Those of each class, by its name.
    """

    def __init__(self, values: Mapping[str, float], classes: Mapping[str, ClassScores]) -> None:
        super().__init__(values)
        self.classes = classes


def class_scores(metrics: Mapping[str, float]) -> Mapping[str, ClassScores]:
    """Return the scores of each class by its name; none where the metrics have none."""
    return metrics.classes if isinstance(metrics, Metrics) else {}


def class_table(metrics: Mapping[str, float]) -> str:
    """Write the numbers of each class as a table; nothing where the metrics have none."""
    classes = class_scores(metrics)
    if not classes:
        return ""
    rows: list[tuple[str, ...]] = [("label", "precision", "recall", "f1", "support")]
    for name, one in classes.items():
        rows.append((name, *(f"{v:.4f}" for v in one[:3]), str(one.support)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        f"{row[0]:<{widths[0]}}  {'  '.join(map(str.rjust, row[1:], widths[1:]))}\n" for row in rows
    )


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


def single_label(predictions: Array, labels: Array, names: Sequence[str]) -> Metrics:
    """Compute accuracy, and F1 over all classes: of their mean, and of all decisions together.

    Args:
        predictions: Logits; float [N, C].
        labels: Class numbers; int [N].
        names: Of the classes.
    """
    from sklearn.metrics import f1_score

    found = _classes(predictions)
    acc = accuracy(predictions, labels)["acc"]
    macro, micro = (
        float(f1_score(labels, found, average=average, zero_division=0.0))
        for average in ("macro", "micro")
    )
    values = {"acc": acc, "macro_f1": macro, "micro_f1": micro}
    return Metrics(values, _class_scores(labels, found, names))


def multi_label(predictions: Array, labels: Array, names: Sequence[str]) -> Metrics:
    """Compute F1 and the mean average precision, where rows have any number of labels.

    A label is predicted where its probability is at least one half. The average precision is that
    of the labels that occur.

    Args:
        predictions: Logits; float [N, C].
        labels: Ones for a row's labels among zeros; float [N, C].
        names: Of the labels.
    """
    from sklearn.metrics import average_precision_score

    gold, found = np.asarray(labels, np.int64), np.asarray(predictions >= 0, np.int64)
    scores = _class_scores(gold, found, names)
    right = int((gold & found).sum())
    precisions = [
        average_precision_score(gold[:, label], predictions[:, label])
        for label in np.flatnonzero(gold.any(axis=0))
    ]
    values = {
        "micro_f1": 2 * right / max(int(gold.sum() + found.sum()), 1),
        "macro_f1": float(np.mean([one.f1 for one in scores.values()])),
        "mean_average_precision": float(np.mean(precisions)) if precisions else 0.0,
    }
    return Metrics(values, scores)


def regression(predictions: Array, labels: Array) -> dict[str, float]:
    """Compute both correlations of scores, and the mean of their squared errors.

    Args:
        predictions: Scores; float [N] or [N, 1].
        labels: Gold scores; float [N].
    """
    correlations = pearson_and_spearman(predictions, labels)
    errors = np.asarray(predictions, np.float64).reshape(len(labels)) - labels
    return {
        "pearson": correlations["pearson"],
        "spearman": correlations["spearman"],
        "mse": float(np.mean(errors**2)),
    }


def _class_scores(gold: Array, found: Array, names: Sequence[str]) -> dict[str, ClassScores]:
    """Compute the scores of each class; of one class a row [N], or of any number of them [N, C]."""
    from sklearn.metrics import precision_recall_fscore_support

    if gold.ndim == 2 and gold.shape[1] == 1:  # which scikit-learn takes for one class a row
        gold, found, chosen = gold[:, 0], found[:, 0], [1]
    else:
        chosen = [*range(len(names))]
    columns = precision_recall_fscore_support(
        gold, found, labels=chosen, average=None, zero_division=0.0
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {name: ClassScores(*row) for name, row in zip(names, rows, strict=True)}


def _classes(logits: Array) -> Array:
    """Choose the class with the largest logit; the first of equal ones."""
    return np.asarray(np.argmax(logits, axis=-1))
