"""Exact match and F1 of answers, as SQuAD's official scripts have them."""

from __future__ import annotations

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.answers import (
    answer_language,
    exact_match,
    f1,
    normalize_answer,
    normalize_by_language,
    squad_scores,
)


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


def test_answers_of_articles_alone_are_never_partly_right_in_version_1():
    scores = squad_scores({"a": "a"}, {"a": ["The."]}, has_negatives=False)
    assert scores == {"f1": 0.0, "exact_match": 1.0}


@pytest.mark.parametrize(
    ("language", "text", "normal"),
    [
        # By hand, after the rules of MLQA's script: all of Unicode's punctuation goes, and ASCII's
        # symbols; then a language's articles; each Chinese character of U+4E00 to U+9FA5 is a word.
        ("en", "The «A-Team»: $5 — an end", "ateam 5 end"),
        ("de", "Dem Haus des Kaisers, eine “Burg”", "haus kaisers burg"),
        ("de", "The end", "the end"),
        ("es", "¿El perro y las casas?", "perro y casas"),
        ("hi", "भारत, का।", "भारत का"),
        ("vi", "Những ngôi nhà của tôi", "ngôi nhà tôi"),
        ("ar", "الكتاب، والبيت", "كتاب و بيت"),  # wherever it stands
        ("zh", "在1998年，北京（Beijing Opera）", "在 1998 年 北 京 beijing opera"),
        ("zh", "the 㐀龦", "the 㐀龦"),  # outside of the range
    ],
)
def test_normal_form_by_language(language, text, normal):
    assert normalize_by_language(text, language) == normal


def test_scores_by_language():
    gold = {"a": ["北京大学"], "b": ["die Stadt Rom", "Rom"], "c": ["the end"]}
    found = {"a": "北京", "b": "Stadt Rom!", "c": "end"}
    languages = {"a": "zh", "b": "de", "c": "de"}
    scores = squad_scores(found, gold, has_negatives=False, languages=languages)
    # a: 2 of 2 and 2 of 4 characters; b: all; c: "the" is no German article, 1 of 1 and 1 of 2.
    assert scores == {"f1": pytest.approx((2 / 3 + 1 + 2 / 3) / 3), "exact_match": 1 / 3}
    scores = squad_scores(found, gold, has_negatives=False)
    assert scores == {"f1": pytest.approx((0 + 4 / 5 + 1) / 3), "exact_match": 1 / 3}
    # Nothing is no answer, also to what is nothing: "die" and "der".
    scores = squad_scores({"a": "die"}, {"a": ["der"]}, has_negatives=False, languages={"a": "de"})
    assert scores == {"f1": 0.0, "exact_match": 1.0}


def test_the_language_of_answers_is_that_of_passages():
    names = ("test-context-vi-question-de.json", "de_squad-translate-train.json", "xquad.zh.json")
    assert [*map(answer_language, names)] == ["vi", "de", "zh"]
    for name in ("dev.json", "xquad.ru.json", "test-en-de.json", "context-ru-question-de.json"):
        with pytest.raises(DataError, match="expected a name with the language of its answers"):
            answer_language(name)


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
