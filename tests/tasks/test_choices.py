"""Rows with choices, as data sets write them; and what is wrong with those that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.batches import collate
from paddlenlp_ext.tasks.choices import (
    ChoiceColumns,
    ChoiceExample,
    Choices,
    grouped,
    held_out,
    pairs,
    read_choices,
)
from paddlenlp_ext.tasks.features import Features

DATA = Path(__file__).parents[2] / "data/choice"
NONE = ChoiceColumns()


def read(path: Path, content: Any, *, labelled: bool = True, **settings: Any) -> Choices:
    """Write records, or text, to a file, and read it."""
    records = content if isinstance(content, list) else [content]
    is_text = isinstance(content, str)
    path.write_text(content if is_text else "\n".join(map(json.dumps, records)), encoding="utf-8")
    return read_choices([path], ChoiceColumns(**settings), labelled=labelled)


def test_swag() -> None:
    rows = read_choices([DATA / "swag/val.csv"], NONE, labelled=True)
    assert len(rows) == 8
    assert rows[0].text == "An archer puts an arrow on the string."
    assert all(len(row.choices) == 4 for row in rows)
    first = read_choices([DATA / "swag/train.csv"], NONE, labelled=True)[0]
    assert first == ChoiceExample(
        "A man pours batter into a hot pan.",
        ("He waits until bubbles rise and turns the pancake.", "He dives from the board into the "
         "pool.", "He reads the last page to the children.", "He locks the bicycle to the fence."),
        0, "train.csv:2",
    )  # fmt: skip
    assert str(rows.columns) == (
        "text sent1; choices ending0, ending1, ending2, ending3 (after sent2); label label"
    )


def test_languages_are_those_of_the_files_or_of_a_column(tmp_path: Path) -> None:
    files = sorted((DATA / "copa").glob("*.jsonl"))
    rows = read_choices(files, NONE, labelled=True)
    parts = rows.by_language()
    assert {code: len(part) for code, part in parts.items()} == {"de": 6, "en": 6, "zh": 6}
    assert parts["en"][0].text == (
        "The man turned off the alarm clock. What was the cause of this?"
    )
    assert [row.label for row in parts["zh"]] == [0, 1, 0, 0, 1, 1]
    assert [*read_choices(files[:1], NONE, labelled=True).by_language()] == ["de"]
    text = {"context": "c", "choices": ["x", "y"], "label": 1}
    found = read(tmp_path / "a.jsonl", [text | {"lang": code} for code in ("sw", "ta", "sw")],
                 language="lang")  # fmt: skip
    assert {code: len(part) for code, part in found.by_language().items()} == {"sw": 2, "ta": 1}
    with pytest.raises(DataError, match=r"b\.jsonl:1: expected a language like 'de' or 'zh-CN'"):
        read(tmp_path / "b.jsonl", text | {"lang": "zh/CN"}, language="lang")


@pytest.mark.parametrize(
    ("record", "text", "label"),
    [
        ({"question": "q?", "choices": ["x", "y", "z"], "label": 2}, "q?", 2),
        ({"article": "A.", "question": "q?", "options": ["x", "y"], "answer": "B"}, "A. q?", 1),
        ({"question": "q?", "choices": {"text": ["x", "y"], "label": ["A", "B"]},
          "answerKey": "B"}, "q?", 1),
        ({"question": "q?", "choices": {"text": ["x", "y"], "label": ["1", "2"]},
          "answerKey": "1"}, "q?", 0),
        ({"question": {"stem": "q?", "choices": [{"label": "A", "text": "x"},
                                                {"label": "B", "text": "y"}]},
          "answerKey": "A"}, "q?", 0),
        ({"goal": "g", "sol1": "x", "sol2": "y", "label": 1}, "g", 1),
        ({"context": "c", "question": "q?", "answerA": "x", "answerB": "y", "answerC": "z",
          "label": "C"}, "c q?", 2),
        ({"context": "c", "endings": ["x", "y"], "label": "y"}, "c", 1),
        ({"ctx": "c", "ending0": "x", "ending1": "y", "label": "ending1"}, "c", 1),
        ({"ctx": "c", "ending0": "x", "ending1": "y", "label": 1.0}, "c", 1),
        ({"ctx": "c", "ending0": "x", "ending1": "y"}, "c", IGNORED),
        ({"ctx": "c", "ending0": "x", "ending1": "y", "label": ""}, "c", IGNORED),
        ({"ctx": "c", "option1": "x", "option2": "y", "option3": "", "label": 0}, "c", 0),
    ],
)  # fmt: skip
def test_layouts(record: dict[str, Any], text: str, label: int, tmp_path: Path) -> None:
    (row,) = read(tmp_path / "a.jsonl", record, labelled=False)
    assert (row.text, row.label) == (text, label)
    assert row.choices in (("x", "y"), ("x", "y", "z"))


@pytest.mark.parametrize(
    ("choices", "written", "place"),
    [
        (["1", "2", "4", "3"], 3, 3),  # an integer of JSON is a number
        (["0", "1", "2", "3"], "2", 2),
        (["A", "B"], "B", 1),
        (["10", "2", "1", "0"], "10", 0),
        (["x", "D"], "D", 1),
        (["x", "B", "B"], "B", 1),
        ({"text": ["2", "1"], "label": ["1", "2"]}, "2", 1),  # as in ARC
        ({"text": ["B", "A"], "label": ["A", "B"]}, "B", 1),
        ([{"text": "red"}, {"text": "None"}], "None", 1),
    ],
)
def test_labels_mean_one_choice(choices: Any, written: Any, place: int, tmp_path: Path) -> None:
    record = {"question": "q?", "choices": choices, "label": written}
    assert [row.label for row in read(tmp_path / "a.jsonl", record)] == [place]


@pytest.mark.parametrize(
    ("choices", "written", "message"),
    [
        (
            ["1", "2", "3", "4"],
            "3",
            "the number of '4' and the text of another, .* do not tell; give the letter",
        ),
        (
            ["b", "a", "c"],
            "a",
            "the letter of 'b' and the text of another, .* do not tell; give the number",
        ),
        (["C", "B", "A"], "A", "the letter of 'C' and the text of another"),
        (["x", "y"], "１", "expected the number of a choice from 0 to 1 .`first_label` 0."),
        ({"text": ["x", "y"], "label": ["A", "B", "C"]}, "C", "expected a list of texts in"),
    ],
)
def test_labels_that_do_not(choices: Any, written: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"a.jsonl:1: .*{message}"):
        read(tmp_path / "a.jsonl", {"question": "q?", "choices": choices, "label": written})


@pytest.mark.parametrize(
    ("others", "places"),
    [
        (["0"], [1, 0]),  # numbers
        (["b"], [1, 0]),  # letters
        (["five"], [2, 2]),  # texts
        (["five", "0"], None),
        (["five", "0", "b"], None),
        ([], None),
    ],
)
def test_other_rows_tell_what_a_label_means(
    others: list[str], places: list[int] | None, tmp_path: Path
) -> None:
    """Of a file some rows have choices that are numbers or letters themselves."""
    rows = ["2 - 1?,3,2,1,1", "Which?,C,B,A,A"]
    rows += [f"Two and three?,four,five,six,{label}" for label in others]
    table = "\n".join(["question,choice0,choice1,choice2,label", *rows])
    if places is None:
        with pytest.raises(DataError, match=r"a.csv:2: .* other rows do not tell"):
            read(tmp_path / "a.csv", table)
    else:
        assert [row.label for row in read(tmp_path / "a.csv", table)][:2] == places


def test_columns_of_choices_are_read_by_their_numbers(tmp_path: Path) -> None:
    table = "context,ending10,ending1,ending0\nc,z,y,x\n"
    rows = read(tmp_path / "a.csv", table, labelled=False)
    assert rows.columns.choices == ("ending0", "ending1", "ending10")
    table = "context,choiceC,choicea,choiceB,label\nc,z,x,y,A\n"
    (row,) = read(tmp_path / "b.csv", table)
    assert (row.choices, row.label) == (("x", "y", "z"), 0)


def test_what_is_given_wins_over_what_would_be_guessed(tmp_path: Path) -> None:
    table = 'text,context,b,a,label,right\nT,"C\nC",B,A,9,2\n'
    (row,) = read(tmp_path / "a.csv", table, context="text", choices=("a", "b"), label="right",
                  first_label=1)  # fmt: skip
    assert row == ChoiceExample("T", ("A", "B"), 1, "a.csv:2")


GOOD = {"context": "c", "ending0": "x", "ending1": "y", "label": 0}
BAD: list[tuple[str, Any, str]] = [
    ("a.jsonl", [GOOD, GOOD | {"label": 2}], "a.jsonl:2: expected the number of a choice from"),
    ("a.jsonl", [GOOD, GOOD | {"label": None}], "a.jsonl:2: .*label, got none"),
    ("a.jsonl", [GOOD, GOOD | {"label": True}], "a.jsonl:2: .*label, got True"),
    ("a.jsonl", [GOOD, GOOD | {"label": "C"}], "a.jsonl:2: .*its letter or its text as label"),
    ("a.jsonl", [GOOD, GOOD | {"ending1": " "}], "a.jsonl:2: expected a text, got none in .*ing1"),
    ("a.jsonl", [GOOD, GOOD | {"ending0": 3}], "a.jsonl:2: expected a text, got 3 in .*ing0"),
    ("a.jsonl", [GOOD, GOOD | {"context": ""}], "a.jsonl:2: expected a text, got none"),
    ("a.jsonl", [GOOD, {"context": "c"}], "a.jsonl:2: expected a text, got none in .*ing0"),
    ("a.jsonl", '{"context": "c"\n', "a.jsonl:1: expected an object of JSON"),
    ("a.jsonl", {"context": "c", "label": 0}, "a.jsonl: expected choices, in columns like"),
    ("a.jsonl", {"choices": ["x", "y"], "label": 0}, "a.jsonl: expected a text in a column like"),
    ("a.jsonl", {"context": "c", "choices": ["x", "y"]}, "a.jsonl: expected a column with"),
    ("a.jsonl", {"context": "c", "choices": ["x"], "label": 0}, "expected at least two choices"),
    ("a.jsonl", {"context": "c", "choices": ["x", 1], "label": 0}, "expected a list of texts in"),
    ("a.jsonl", "", "a.jsonl: no usable row"),
    ("a.csv", "context,ending0,ending1,label\nc,x,y\n", "a.csv:2: expected 4 columns, got 3"),
    ("a.csv", "context,ending0,ending1,label\nc,x,y,7\n", "a.csv:2: expected the number of"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_rows_that_cannot_be_used(name: str, content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / name, content)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    for setting in ("context", "question", "label", "language"):
        with pytest.raises(
            DataError, match=f"no column 'q' .`{setting}_column_name`., but 'context'"
        ):
            read(tmp_path / "a.jsonl", GOOD, **{setting: "q"})
    with pytest.raises(DataError, match=r"no column 'q' .`choices_column_names`"):
        read(tmp_path / "a.jsonl", GOOD, choices=("ending0", "q"))


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(GOOD), "no", json.dumps(GOOD | {"label": 5})]))
    rows = read_choices([path], NONE, labelled=True, on_bad_row="skip")
    assert [row.source for row in rows] == ["a.jsonl:1"]
    assert [bad.source for bad in rows.bad_rows] == ["a.jsonl:2", "a.jsonl:3"]


def test_held_out_rows_are_chosen_by_the_seed() -> None:
    rows = read_choices([DATA / "swag/train.csv"], NONE, labelled=True)
    train, dev = held_out(rows, 0.2, 3)
    assert (len(train), len(dev)) == (18, 4)
    assert {*train, *dev} == {*rows}
    assert held_out(rows, 0.2, 3)[1] == dev != held_out(rows, 0.2, 4)[1]
    with pytest.raises(DataError, match=r"`validation_share` 0\.01: of 22 rows that is 0"):
        held_out(rows, 0.01, 3)


def test_choices_are_padded_in_number_and_in_length() -> None:
    examples = [ChoiceExample("t", ("a", "b"), 1, "a:1"), ChoiceExample("t", ("a",) * 3, 2, "a:2")]
    lengths = iter([4, 2, 3, 6, 3])
    features = [Features(np.full(n, 7, np.int32), np.zeros(n, np.int32), 0) for n in lengths]
    assert len(pairs(examples)) == 5
    of_examples = grouped(examples, features)
    assert [len(one) for one in of_examples] == [4, 6]
    batch = collate(of_examples, pad_token_id=1, pad_to_multiple_of=8)
    assert batch["input_ids"].shape == batch["token_type_ids"].shape == [2, 3, 8]
    assert batch["attention_mask"].sum(-1).tolist() == [[4, 2, 1], [3, 6, 3]]
    assert (batch["input_ids"] == 7).sum(-1).tolist() == [[4, 2, 0], [3, 6, 3]]
    assert batch["labels"].tolist() == [1, 2]
