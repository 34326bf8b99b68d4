"""What a model gets right and wrong: counts beside scikit-learn's, the worst errors first."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss, multilabel_confusion_matrix

from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.questions import Question
from paddlenlp_ext.tasks.spans import AnswerSettings, Window, find_answers
from paddlenlp_ext.training.events import Predicted
from paddlenlp_ext.training.outcomes import of_answers, outcome

NAMES = ["差评", "so, so", "up"]


def told(logits, labels, names=NAMES):
    found = outcome(Predicted(logits, labels), names, lambda row: {"source": f"dev.tsv:{row + 2}"})
    assert found is not None
    return found


@pytest.mark.parametrize("has_texts", [True, False])
def test_answers(has_texts):
    """The surer of a wrong answer, the worse; what shares words with the right one is less so."""
    asked = [
        Question("a", "Who?", "But Eve did.", ("Eve",), 4, True, "dev.json:1: question 'a'"),
        Question("b", "Who?", "But Eve did.", ("Eve did",), 4, True, "dev.json:2: question 'b'"),
        Question("c", "Who?", "But Eve did.", (), -1, True, "dev.json:3: question 'c'"),
    ]
    places = np.array([(-1, -1), (0, 3), (4, 7), (8, 11)])  # [CLS] But Eve did
    windows = [Window(number, places) for number in range(3)]
    logits = [np.zeros((4, 2), np.float32) for _ in asked]
    for scores, score in zip(logits, (3.0, 2.0, 1.0), strict=True):
        scores[2] = score  # each is answered with Eve
    settings = AnswerSettings(version_2_with_negative=True)
    found = of_answers(logits, windows, asked, settings, has_texts=has_texts)
    answers = find_answers(logits, windows, asked, settings)
    assert {one.answer for one in answers} == {"Eve"}
    chances = [one.chosen.probability for one in answers]
    losses = -np.log([1.0, 1 - chances[1] / 3, 1 - chances[2]])  # F1 of Eve beside Eve did: 2/3
    order = sorted((1, 2), key=lambda row: -losses[row])
    errors = found["errors"]
    assert [one["source"] for one in errors] == [asked[row].source for row in order]
    assert [one["loss"] for one in errors] == pytest.approx(losses[order], abs=1e-4)
    assert {one["label"]: one["predicted"] for one in errors} == {
        "answer": "F1 0.67",
        "no answer": "F1 0.00",
    }
    expected = {"Who? ‖ right: Eve did ‖ found: Eve", "Who? ‖ right: no answer ‖ found: Eve"}
    assert {one.get("text") for one in errors} == (expected if has_texts else {None})
    count, confidence, right = np.array(found["calibration"]).sum(axis=0)
    assert (count, right) == (3, 1)
    assert confidence == pytest.approx(sum(chances), abs=1e-3)


def rows_of(found):
    return [int(error["source"].partition(":")[2]) - 2 for error in found["errors"]]


def test_classes():
    random = np.random.default_rng(3)
    logits, labels = random.normal(0, 3, (97, 3)).astype(np.float32), random.integers(0, 3, 97)
    found, predicted = told(logits, labels), logits.argmax(-1)
    assert found["labels"] == NAMES
    np.testing.assert_array_equal(found["confusion"], confusion_matrix(labels, predicted))
    count, confidence, right = np.array(found["calibration"]).T
    assert (count.sum(), right.sum()) == (97, (labels == predicted).sum())
    assert all(0 <= total / n - place / 10 <= 0.1 for place, (n, total) in
               enumerate(zip(count, confidence, strict=True)) if n)  # fmt: skip
    rows = rows_of(found)
    assert len(rows) == 20
    assert all(predicted[row] != labels[row] for row in rows)
    losses = [error["loss"] for error in found["errors"]]
    assert losses == sorted(losses, reverse=True)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    worst = rows[0]
    expected = log_loss(labels[[worst]], chances[[worst]], labels=[0, 1, 2])
    assert losses[0] == pytest.approx(expected, abs=1e-4)
    assert losses[0] == pytest.approx(-np.log(chances[np.arange(97), labels].min()), abs=1e-4)
    first = found["errors"][0]
    assert (first["label"], first["predicted"]) == (NAMES[labels[worst]], NAMES[predicted[worst]])
    assert first["probability"] == pytest.approx(chances[worst].max(), abs=1e-4)
    assert told(logits, predicted)["errors"] == []
    assert told(logits, labels, ["x"])["labels"] == ["0", "1", "2"]


def test_several_labels_a_row():
    random = np.random.default_rng(4)
    logits = random.normal(0, 3, (41, 3)).astype(np.float32)
    gold = (random.random((41, 3)) < 0.4).astype(np.float32)
    found = told(logits, gold)
    for (right, missed, wrong), matrix in zip(
        found["confusion"], multilabel_confusion_matrix(gold, logits >= 0), strict=True
    ):
        assert (right, missed, wrong) == (matrix[1, 1], matrix[1, 0], matrix[0, 1])
    assert np.array(found["calibration"])[:, 0].sum() == 41 * 3
    worst = rows_of(found)[0]
    named = [name for name, is_there in zip(NAMES, gold[worst], strict=True) if is_there]
    assert found["errors"][0]["label"] == ", ".join(named)
    assert found["several"] is True


def test_scores():
    right = np.linspace(0, 5, 2_345).astype(np.float32)
    predicted = right + 0.1
    predicted[17] -= 4
    found = told(predicted[:, None], right)
    assert rows_of(found)[0] == 17
    assert found["errors"][0]["loss"] == pytest.approx(3.9**2, abs=1e-3)
    points = np.array(found["points"])
    assert points.shape == (1000, 2)
    np.testing.assert_allclose(points[-1], [5.0, 5.1], atol=1e-4)
    assert "confusion" not in found


def test_tags():
    gold = [np.array([IGNORED, 0, 1, IGNORED]), np.array([IGNORED, 2, 2, 1, IGNORED])]
    logits = [np.eye(3, dtype=np.float32)[np.maximum(one, 0)] * 4 for one in gold]
    logits[1][2] = [9, 0, 0]  # a "2" that is taken for a "0"
    found = told(logits, gold)
    assert found["confusion"] == [[1, 0, 0], [0, 2, 0], [1, 0, 1]]
    assert rows_of(found) == [1]
    assert found["errors"][0]["label"] == "up"
    assert found["errors"][0]["predicted"] == "差评"
    assert np.array(found["calibration"]).sum(axis=0)[[0, 2]].tolist() == [5, 4]


def test_answers_have_no_outcome():
    windows = [np.zeros((7, 2), np.float32)] * 2
    for labels in (np.zeros((2, 2), np.int64), [np.zeros(2, np.int64)] * 2):
        assert outcome(Predicted(windows, labels), NAMES, lambda row: {}) is None


def test_too_many_labels_are_not_counted_against_each_other():
    found = told(np.eye(301, dtype=np.float32), np.arange(301)[::-1].copy())
    assert "confusion" not in found
    assert len(found["errors"]) == 20
