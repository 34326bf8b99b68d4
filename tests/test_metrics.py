"""Metrics by numbers from papers and worked out by hand, with gold and predicted told apart."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_ext import metrics
from paddlenlp_ext.metrics import accuracy, accuracy_and_f1, matthews, pearson_and_spearman

NAMES = "vwxyz"


def logits(classes: list[int], width: int = 2) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[classes] * 3 - 1


def test_accuracy():
    assert accuracy(logits([2, 0, 1, 1], 3), np.array([2, 0, 1, 0])) == {"acc": 0.75}
    assert accuracy(logits([1]), np.array([1])) == {"acc": 1.0}


def test_f1_is_that_of_class_one_and_tells_precision_from_recall():
    # Predicted 1: four, of which one is; truly 1: two.
    predicted = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    gold = np.array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    scores = accuracy_and_f1(logits(predicted), gold)
    assert list(scores) == ["acc", "precision", "recall", "f1", "acc and f1"]
    assert scores == pytest.approx(
        {"acc": 0.6, "precision": 0.25, "recall": 0.5, "f1": 1 / 3, "acc and f1": (0.6 + 1 / 3) / 2}
    )


def test_f1_without_a_positive_is_zero():
    assert accuracy_and_f1(logits([0, 0]), np.array([0, 0]))["f1"] == 0.0
    assert accuracy_and_f1(logits([1]), np.array([1])) == {
        "acc": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "acc and f1": 1.0,
    }


def test_matthews_of_a_perfect_and_of_the_opposite_classifier():
    gold = np.array([1, 0, 0, 1, 1])
    assert matthews(logits(gold.tolist()), gold) == {"mcc": 1.0}
    assert matthews(logits((1 - gold).tolist()), gold) == {"mcc": -1.0}
    assert matthews(logits([1, 1, 1, 1, 1]), gold) == {"mcc": 0.0}
    assert matthews(logits([1]), np.array([1])) == {"mcc": 0.0}


def test_matthews_from_counts():
    # 6 true positives, 3 true negatives, 1 false positive, 2 false negatives
    predicted = [1] * 6 + [0] * 3 + [1] + [0] * 2
    gold = np.array([1] * 6 + [0] * 3 + [0] + [1] * 2)
    assert matthews(logits(predicted), gold)["mcc"] == pytest.approx(
        (6 * 3 - 1 * 2) / np.sqrt((6 + 1) * (6 + 2) * (3 + 1) * (3 + 2))
    )


def test_spearman_shares_the_rank_of_ties():
    scores = np.array([[1.0], [2.0], [2.5], [9.0]])
    gold = np.array([1.0, 3.0, 3.0, 4.0])
    result = pearson_and_spearman(scores, gold)
    # Ranks 1 2 3 4 against 1 2.5 2.5 4: PaddleNLP, which ranks ties by position, says 1.0.
    assert result["spearman"] == pytest.approx(0.9486833)
    assert result["pearson"] == pytest.approx(np.corrcoef(scores[:, 0], gold)[0, 1])
    assert result["pearson and spearman"] == pytest.approx(
        (result["pearson"] + result["spearman"]) / 2
    )


@pytest.mark.parametrize("scores", [[[0.3]], [0.3], [[0.5], [0.5]]])
def test_correlations_that_are_not_defined_are_zero(scores):
    result = pearson_and_spearman(np.array(scores), np.arange(len(scores), dtype=np.float32))
    assert result == {"pearson": 0.0, "spearman": 0.0, "pearson and spearman": 0.0}


def test_equal_gold_scores_are_no_correlation():
    result = pearson_and_spearman(np.array([0.1, 0.2]), np.array([3.0, 3.0], np.float32))
    assert result["pearson"] == 0.0


def test_one_label_a_row_as_scikit_learn_counts() -> None:
    from sklearn.metrics import f1_score

    random = np.random.default_rng(3)
    logits, gold = random.normal(size=(41, 4)), random.integers(0, 3, 41)
    found = metrics.single_label(logits, gold, NAMES[:4])
    classes = logits.argmax(-1)
    assert [*found] == ["acc", "macro_f1", "micro_f1"]
    assert found["acc"] == np.mean(classes == gold) == pytest.approx(found["micro_f1"])
    assert found["macro_f1"] == f1_score(gold, classes, average="macro")
    assert [one.support for one in found.classes.values()] == [*np.bincount(gold, minlength=4)]
    right = np.sum((classes == 1) & (gold == 1))
    assert found.classes["w"].precision == pytest.approx(right / np.sum(classes == 1))
    assert found.classes["w"].recall == pytest.approx(right / np.sum(gold == 1))


@pytest.mark.parametrize("width", [1, 5])
def test_several_labels_a_row_as_scikit_learn_counts(width: int) -> None:
    from sklearn.metrics import average_precision_score, f1_score

    random = np.random.default_rng(3)
    logits = random.normal(size=(37, width))
    gold = (random.random((37, width)) < 0.3).astype(np.float32)
    found = metrics.multi_label(logits, gold, NAMES[:width])
    chosen = (logits >= 0).astype(int)
    average = {} if width == 1 else {"average": "macro"}
    assert found["macro_f1"] == pytest.approx(f1_score(gold, chosen, **average))
    assert found["micro_f1"] == pytest.approx(f1_score(gold.ravel(), chosen.ravel()))
    expected = [average_precision_score(gold[:, k], logits[:, k]) for k in range(width)]
    assert found["mean_average_precision"] == pytest.approx(np.mean(expected))
    assert [one.support for one in found.classes.values()] == [*gold.sum(axis=0)]
    nothing = metrics.multi_label(logits - 99, gold * 0, NAMES[:width])
    assert [*nothing.values()] == [0.0, 0.0, 0.0]


def test_scores_have_both_correlations_and_an_error() -> None:
    found = metrics.regression(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 3.0]))
    assert found["mse"] == pytest.approx(1 / 3)
    assert found["spearman"] == pytest.approx(1.0)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [1, 2, 3])[0, 1])


def test_one_row_has_metrics_too() -> None:
    found = metrics.single_label(np.array([[0.0, 2.0]]), np.array([1]), NAMES[:2])
    assert found == {"acc": 1.0, "macro_f1": 1.0, "micro_f1": 1.0}
    assert [one.support for one in found.classes.values()] == [0, 1]
