"""Information extraction without a model: schemas, prompts, windows, spans of probabilities."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tasks.extraction import (
    all_names,
    choose_option,
    cut_windows,
    find_spans,
    make_prompt,
    options_at,
    read_schema,
)

# Many are equal or near the threshold.
PROBABILITIES = st.lists(
    st.tuples(*2 * (st.sampled_from([0.0, 0.2, 0.5, 0.50001, 0.7, 1.0, float("nan")]),)),
    max_size=23,
)


def brute_force(start: Any, end: Any, threshold: float) -> list[tuple[int, int, float]]:
    """Of all pairs, those between whose tokens no other one begins or ends an answer."""
    found = []
    for first in range(len(start)):
        for last in range(first, len(end)):
            begins = [place for place in range(first, last + 1) if start[place] > threshold]
            ends = [place for place in range(first, last + 1) if end[place] > threshold]
            if begins == [first] and ends == [last]:
                found.append((first, last, float(start[first] * end[last])))
    return found


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(PROBABILITIES, st.sampled_from([0.0, 0.5, 0.69]))
def test_spans_are_those_of_a_brute_force_decoder(
    rows: list[tuple[float, float]], threshold: float
) -> None:
    start, end = np.array(rows, "float64").reshape(-1, 2).T
    assert find_spans(start, end, threshold) == brute_force(start, end, threshold)


def test_spans_of_one_text() -> None:
    #                  0    1    2    3    4    5    6
    start = np.array([0.9, 0.6, 0.0, 0.0, 0.8, 0.0, 0.5])
    end = np.array([0.0, 0.0, 0.7, 0.9, 0.5, 0.6, 0.9])
    assert find_spans(start, end) == [(1, 2, 0.6 * 0.7), (4, 5, 0.8 * 0.6)]
    assert find_spans(start, end, 0.65) == [(0, 2, 0.9 * 0.7), (4, 6, 0.8 * 0.9)]
    assert find_spans(start[:0], end[:0]) == []


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("时间", {"时间": {}}),
        (["时间", "选手"], {"时间": {}, "选手": {}}),
        ({"竞赛名称": ["主办方", "次数"]}, {"竞赛名称": {"主办方": {}, "次数": {}}}),
        ({"a": "b", "c": {"d": {"e": ("f",)}}}, {"a": {"b": {}}, "c": {"d": {"e": {"f": {}}}}}),
        (["a", {"b": ["c", {"d": "e"}]}, "a"], {"a": {}, "b": {"c": {}, "d": {"e": {}}}}),
        ({"a": []}, {"a": {}}),
        ([{"a": "b"}, {"a": "c"}], {"a": {"b": {}, "c": {}}}),
    ],
)
def test_schemas(schema: Any, expected: Any) -> None:
    assert read_schema(schema) == expected


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ([], "names nothing"),
        ({}, "names nothing"),
        (None, "got None"),
        (" ", "got ' '"),
        (["a", 3], "got 3"),
        ({"a": ["b", None]}, "got None"),
        ({"a": {2: "b"}}, "got {2: 'b'}"),
        ({"": "b"}, "got ''"),
        (b"a", "got b'a'"),
    ],
)
def test_what_is_no_schema_is_shown(schema: Any, part: str) -> None:
    with pytest.raises(UserError, match=re.escape(part)) as error:
        read_schema(schema)
    assert str(error.value).startswith("`schema`")


def test_all_names_of_a_schema() -> None:
    assert list(all_names(read_schema(["a", {"b": {"c": "d"}}]))) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("name", "subject", "english", "prompt"),
    [
        ("时间", None, False, "时间"),
        ("主办方", "2022语言大赛", False, "2022语言大赛的主办方"),
        ("情感倾向[正向，负向]", None, False, "情感倾向[正向,负向]"),
        ("情感倾向［正向，负向］", "味道（好）", False, "味道(好)的情感倾向[正向,负向]"),
        ("organizer", "the ２０２２ race", True, "organizer of the 2022 race"),
        ("Sentiment [good,bad]", "the food", True, "Sentiment of the food [good,bad]"),
        ("Sentiment [good,bad]", None, True, "Sentiment [good,bad]"),
    ],
)
def test_prompts(name: str, subject: str | None, english: bool, prompt: str) -> None:
    assert make_prompt(name, subject, english) == prompt


def test_where_options_begin() -> None:
    assert options_at("情感倾向[正向,负向]") == 4
    assert options_at("[a] or not [b]") == 11
    for without in ("时间", "[a] b", "a[]", ""):
        assert options_at(without) == len(without)


def tokens_of(text: str) -> list[tuple[int, int]]:
    """Words and signs, and two for a sign that is spelled out, as "㎏" is."""
    found = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
    return [span for span in found for _ in range(1 + (text[slice(*span)] == "㎏"))]


def windows(text: str, room: int) -> list[str]:
    offsets = tokens_of(text)
    return [text[offsets[a][0] : offsets[b - 1][1]] for a, b in cut_windows(text, offsets, room)]


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("One two. Three four, five.", 9, ["One two. Three four, five."]),
        ("One two. Three four, five.", 6, ["One two.", "Three four, five."]),
        ("One two. Three four, five.", 4, ["One two.", "Three four,", "five."]),
        ('He said "no!" And v1.2 of it.', 7, ['He said "no!"', "And v1.2 of it."]),
        ("他来了。他（又）走了！” 后来", 8, ["他来了。", "他（又）走了！” 后来"]),
        ("他来了。他又走了！”后来", 5, ["他来了。他又走了！”", "后来"]),
        ("a-b-c-d", 3, ["a-b", "-c-", "d"]),
        ("one\ntwo three", 2, ["one", "two three"]),
        ("वह आया। वह गया।", 5, ["वह आया।", "वह गया।"]),
        ("", 3, []),
        (" \n", 3, []),
    ],
)
def test_windows_end_where_sentences_do(text: str, room: int, expected: list[str]) -> None:
    assert windows(text, room) == expected


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet='ab 。.!?,，\n…"”)㎏é', max_size=60), st.integers(1, 9))
def test_every_token_is_in_one_window(text: str, room: int) -> None:
    offsets = tokens_of(text)
    cut = cut_windows(text, offsets, room)
    assert [place for first, last in cut for place in range(first, last)] == [*range(len(offsets))]
    assert all(0 < last - first <= room for first, last in cut)


def test_a_very_long_text_is_cut_in_a_moment() -> None:
    text = "word, " * 200_000
    assert len(windows(text, 500)) == 800


def test_what_most_windows_chose_is_the_answer() -> None:
    assert choose_option([]) is None
    assert choose_option([("a", 0.6)]) == {"text": "a", "probability": 0.6}
    chosen = choose_option([("a", 0.9), ("b", 0.5), ("b", 0.7)])
    assert chosen == {"text": "b", "probability": pytest.approx(0.6)}
    assert choose_option([("a", 0.6), ("b", 0.7)]) == {"text": "b", "probability": 0.7}
