"""Exact match and F1 of answers, as SQuAD's official scripts have them."""

from __future__ import annotations

import pytest

from paddlenlp_ext.tasks.answers import exact_match, f1, normalize_answer, squad_scores


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Denver  Broncos.", "denver broncos"),
        ("an A-Team, the best", "ateam best"),
        ("Theatre", "theatre"),
        ("№ 5 — « Été »", "№ 5 — « été »"),  # ASCII punctuation alone
        ("the", ""),
    ],
)
def test_normal_form(text, normal):
    assert normalize_answer(text) == normal


def test_scores_of_one_answer():
    assert exact_match("the 1976", "1976.") == 1.0
    assert f1("Saint Bernadette Soubirous", "Bernadette") == 0.5
    assert f1("a b b c", "b b b") == pytest.approx(2 * (2 / 3) * (2 / 3) / (4 / 3))
    assert f1("", "") == 1.0
    assert f1("x", "") == 0.0


def test_version_1():
    gold = {"56e10a3be3433e1400422b22": ["1976"]}  # the example of the published metric
    scores = squad_scores({"56e10a3be3433e1400422b22": "1976"}, gold, has_negatives=False)
    assert scores == {"f1": 1.0, "exact_match": 1.0}
    gold["other"] = ["Santa Clara, California", "Santa Clara"]
    found = {"56e10a3be3433e1400422b22": "1977", "other": "in Santa Clara"}
    scores = squad_scores(found, gold, has_negatives=False)
    assert scores == {"f1": pytest.approx(0.4), "exact_match": 0.0}


def test_version_2():
    gold = {"a": ["1976"], "b": [], "c": []}
    scores = squad_scores({"a": "1976", "b": "", "c": "x"}, gold, has_negatives=True)
    assert scores == {
        "f1": pytest.approx(2 / 3), "exact_match": pytest.approx(2 / 3),
        "HasAns_f1": 1.0, "HasAns_exact_match": 1.0,
        "NoAns_f1": 0.5, "NoAns_exact_match": 0.5,
    }  # fmt: skip
    # What is nothing once it is normalized is no answer.
    assert squad_scores({"a": ""}, {"a": ["the"]}, has_negatives=True)["f1"] == 1.0
