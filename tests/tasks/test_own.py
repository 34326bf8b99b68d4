"""A user's own files: what is read of every format, what is guessed, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.own import OwnData, OwnDataSettings, read_own_data

ROWS = [
    ('Say "no", twice', "neg"),
    ("two\nlines", "pos"),
    ("комната, 部屋", "neu"),
    ("semi; colon", "neg"),
]


def read(folder: Path, content: str | bytes, name: str = "train.csv", **settings: Any) -> OwnData:
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(raw)
    settings = {"validation_share": 0.0, "train_file": [str(folder / name)]} | settings
    return read_own_data(OwnDataSettings(**settings))


def written(folder: Path, delimiter: str, end: str) -> bytes:
    path = folder / "written"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([("review", "sentiment"), *ROWS])
    return path.read_bytes()


def found(data: OwnData, split: str = "train") -> list[tuple[str, Any]]:
    labels = data.task.labels or ()
    return [(one.text_a, labels[one.label]) for one in data.splits[split]]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_tables_are_read_as_csv_writes_them(
    name: str, delimiter: str, end: str, mark: bytes, tmp_path: Path
) -> None:
    raw = mark + written(tmp_path, delimiter, end)
    for content, ending in ((raw, ""), (gzip.compress(raw), ".gz")):
        data = read(tmp_path, content, name + ending)
        assert found(data) == ROWS
        sources = [one.source for one in data.splits["train"]]
        assert sources == [f"{name}{ending}:{line}" for line in (2, 3, 5, 6)]
    assert data.task.labels == ("neg", "neu", "pos")
    assert data.notes[0] == (
        "reads text from 'review', labels from 'sentiment' (3: neg, neu, pos), single_label"
    )


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "list.json", "wide.json", "a.txt"])
def test_json_and_text_are_read(name: str, tmp_path: Path) -> None:
    objects = [{"review": text, "sentiment": label} for text, label in ROWS if "\n" not in text]
    content = {
        "list.json": json.dumps(objects),
        "wide.json": "\n" + json.dumps(objects, indent=2, ensure_ascii=False) + "\n",
        "a.txt": "".join(f"{one['review']}\t{one['sentiment']}\r\n" for one in objects),
    }.get(name, "\n".join(json.dumps(one) for one in objects))
    data = read(tmp_path, content, name)
    assert found(data) == [(one["review"], one["sentiment"]) for one in objects]
    lines = [int(one.source.rpartition(":")[2]) for one in data.splits["train"]]
    assert lines == {"list.json": [1, 1, 1], "wide.json": [3, 7, 11]}.get(name, [1, 2, 3])


def test_a_long_list_of_json_is_read_in_pieces(tmp_path: Path) -> None:
    rows = [{"text": f"é {number} " * 9, "label": number % 3} for number in range(3_000)]
    data = read(tmp_path, json.dumps(rows, ensure_ascii=False), "a.json")
    assert [(one.text_a, one.label) for one in data.splits["train"]] == [
        (row["text"], row["label"]) for row in rows
    ]


@pytest.mark.parametrize("before", ["", " " * 70_001, "\n" * 70_001])
def test_a_list_of_json_on_one_line_is_read_in_pieces(before: str, tmp_path: Path) -> None:
    rows = [
        {"text": f"a text of some length {number}", "label": number % 3} for number in range(25_000)
    ]
    content = before + json.dumps(rows)
    assert len(content) > 1_250_000
    data = read(tmp_path, content, "a.json")
    assert [(one.text_a, one.label) for one in data.splits["train"]] == [
        (row["text"], row["label"]) for row in rows
    ]
    line = before.count("\n") + 1
    assert {one.source for one in data.splits["train"]} == {f"a.json:{line}"}


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.json"])
def test_overlong_rows_are_named_and_can_be_left_out(name: str, tmp_path: Path) -> None:
    def content(long: str, second: str = "") -> bytes:
        rows = [("one", "x"), (long, "y"), ("two", "x"), ("three", second or "z")]
        if ".json" in name:
            objects = (json.dumps({"text": text, "label": label}) for text, label in rows)
            return "\n".join(objects).encode()
        tab = "\t" if name == "a.tsv" else ","
        raw = "".join(f"{text}{tab}{label}\n" for text, label in [("text", "label"), *rows])
        return gzip.compress(raw.encode()) if name.endswith(".gz") else raw.encode()

    ways = ["word " * 300_000]
    if ".json" not in name:  # of which each leaves quotes as they were
        ways += [f'"{"word " * 300_000}"', f'"a ""b"" {"c" * 1_000_000}\n, d"']
    for long in ways:
        at = 2 if ".json" in name else 3
        with pytest.raises(DataError, match=rf":{at}: expected at most 1,000,000 characters"):
            read(tmp_path, content(long), name)
        data = read(tmp_path, content(long), name, on_bad_row="skip")
        assert found(data) == [("one", "x"), ("two", "x"), ("three", "z")]
        (bad,) = data.splits["train"].bad_rows
        assert bad.source == f"{name}:{at}"


LONG = "x" * 1_100_000
CUT = "x" * (1_000_002 - len('b,"') - 1)  # what is read at once ends at the next character


@pytest.mark.parametrize(
    "long",
    {
        "inside": f'{LONG} 5"',
        "inside, and another field": f'the 5" {LONG}, "quoted", "one',
        "beginning a field, with delimiters": f'"a"",", {LONG},",the "last',
        "doubled at the end of what is read at once": f'"{CUT}"" d',
        "closing there": f'"{CUT}",d"',
        "and text after one that closes": f'"a" b {LONG},"c',
    }.values(),
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_of_overlong_rows_are_as_csv_has_them(end: str, long: str, tmp_path: Path) -> None:
    is_open = '""' in long and long.endswith(" d")
    rows = ["label,text", "a,one", f"b,{long}", *(['e"'] if is_open else [])]
    rows += ["a,b", "b,c", 'a,the 6"', 'b,"d', 'e"', "a,f", ""]
    data = read(tmp_path, end.join(rows), on_bad_row="skip")
    assert found(data) == [
        ("one", "a"), ("b", "a"), ("c", "b"), ('the 6"', "a"), (f"d{end}e", "b"), ("f", "a"),
    ]  # fmt: skip
    assert [bad.source for bad in data.splits["train"].bad_rows] == ["train.csv:3"]
    first = 5 if is_open else 4
    lines = [int(one.source.rpartition(":")[2]) for one in data.splits["train"]]
    assert lines == [2, *range(first, first + 4), first + 5]


def test_a_quote_that_an_overlong_row_closes_wrongly_is_open(tmp_path: Path) -> None:
    for closing in (f'{LONG} "b" c', f'"b {LONG}'):
        with pytest.raises(DataError, match=r"csv:2: expected the quote that opens here .* line 4"):
            read(tmp_path, f'label,text\na,"one\nb,two\n{closing}\n', on_bad_row="skip")


def test_excels_line_about_the_delimiter(tmp_path: Path) -> None:
    data = read(tmp_path, "sep=;\r\ntext, in parts;label\r\na, b, c;x\r\nd;y\r\n")
    assert found(data) == [("a, b, c", "x"), ("d", "y")]
    assert [one.source for one in data.splits["train"]] == ["train.csv:3", "train.csv:4"]
    with pytest.raises(DataError, match=r"train\.csv:4: expected a text"):
        read(tmp_path, '"sep=|"\ntext|label\na|x\n|y\n')


def test_a_header_in_quotes_with_other_delimiters(tmp_path: Path) -> None:
    assert found(read(tmp_path, '"id";"text";"label, or, none"\n1;a;x\n2;b;y\n')) == [
        ("a", "x"), ("b", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "names",
    [
        ("text", "label", '"score\n(0-5)"'),
        ('"text\r\n"', "label", '"the score"'),
        ("text", "label", '"from 0, 1; or\t2,\n3; or\t4"'),
        ("text", "label", '"from 0, 1; or\t2, 3; or\t4"'),
        ('"text"', '"label"', '"the\n\n\nscore"'),
    ],
)
def test_a_header_with_line_ends_in_quotes(
    names: tuple[str, ...], delimiter: str, tmp_path: Path
) -> None:
    rows = [names, ("good, or", "a", "1"), ("bad", "b", "2")]
    table = "".join(
        delimiter.join(f'"{one}"' if delimiter in one and one[0] != '"' else one for one in row)
        + "\n"
        for row in rows
    )
    data = read(tmp_path, table)
    assert found(data) == [("good, or", "a"), ("bad", "b")]
    line = 2 + "".join(names).count("\n")
    assert [one.source for one in data.splits["train"]] == [
        f"train.csv:{line}", f"train.csv:{line + 1}",
    ]  # fmt: skip


PAIRS = '{"premise": "a", "hypothesis": "b", "gold_label": true, "id": 7}\n'


def test_columns_are_guessed(tmp_path: Path) -> None:
    data = read(tmp_path, PAIRS + PAIRS.replace("true", "false"), "a.jsonl")
    assert [(one.text_a, one.text_b, one.label) for one in data.splits["train"]] == [
        ("a", "b", 1), ("a", "b", 0),
    ]  # fmt: skip
    assert data.task.labels == ("false", "true")
    assert found(read(tmp_path, "Satz,Klasse,class\nx,1,a\ny,2,b\n", text_column_name="Satz")) == [
        ("x", "a"), ("y", "b"),
    ]  # fmt: skip


def test_numbers_are_sorted_by_their_size_and_given_labels_are_not(tmp_path: Path) -> None:
    assert read(tmp_path, "text,label\na,10\nb,9\n").task.labels == ("9", "10")
    (tmp_path / "labels.txt").write_text("9\r\n10\r\n8\n")
    for labels in (["10", "9"], [str(tmp_path / "labels.txt")]):
        data = read(tmp_path, "text,label\na,10\nb,9\n", labels=labels)
        assert found(data) == [("a", "10"), ("b", "9")]
    assert data.task.labels == ("9", "10", "8")


def test_long_numbers_are_sorted_by_their_size(tmp_path: Path) -> None:
    long = "1" + "0" * 5_000
    data = read(tmp_path, f"text,label\na,{long}\nb,9\nc,010\nd,10\ne,0\n")
    assert data.task.labels == ("0", "9", "010", "10", long)


def test_several_labels(tmp_path: Path) -> None:
    lines = [
        {"text": "a", "label": ["x", "z"]},
        {"text": "b", "label": []},
        {"text": "c", "label": ["y"]},
    ]
    as_lists = read(tmp_path, "\n".join(map(json.dumps, lines)), "a.jsonl")
    table = "text,label\na,x | z\nb,\nc,y\n"
    separated = read(tmp_path, table, label_separator="|")
    for data in (as_lists, separated):
        assert data.task.labels == ("x", "y", "z")
        assert data.task.is_multi_label
        labels = np.stack([one.label for one in data.splits["train"]])
        np.testing.assert_array_equal(labels, [[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    commas = 'text,label\na,"x,z"\n'
    assert read(tmp_path, commas, problem_type="multi_label").task.labels == ("x", "z")


def test_scores(tmp_path: Path) -> None:
    data = read(tmp_path, "text,score\na,1.5\nb,-2\n")
    assert [one.label for one in data.splits["train"]] == [1.5, -2.0]
    assert (data.task.labels, data.task.num_labels) == (None, 1)
    whole = read(tmp_path, "text,score\na,1\nb,2\n", problem_type="regression")
    assert [one.label for one in whole.splits["train"]] == [1.0, 2.0]


@pytest.mark.parametrize("slip", ["N/A", "nan", "0_5"])
def test_slips_among_scores_are_refused(slip: str, tmp_path: Path) -> None:
    table = "text,score\n" + "".join(f"a,{score}\n" for score in ("1.5", "2", slip, "3.25"))
    with pytest.raises(DataError, match=r"train\.csv:4: expected a .*`problem_type` is regression"):
        read(tmp_path, table)
    data = read(tmp_path, table, on_bad_row="skip")
    assert [one.label for one in data.splits["train"]] == [1.5, 2.0, 3.25]
    assert [bad.source for bad in data.splits["train"].bad_rows] == ["train.csv:4"]
    assert len(read(tmp_path, table, problem_type="single_label").task.labels or ()) == 4
    assert read(tmp_path, "text,label\na,1.5\nb,x\n").task.labels == ("1.5", "x")


def test_whole_numbers_are_classes_however_they_are_written(tmp_path: Path) -> None:
    data = read(tmp_path, "text,label\na,10.0\nb,9.0\nc,0.0\n")
    assert data.task.labels == ("0.0", "9.0", "10.0")
    data = read(tmp_path, '{"text": "a", "label": 1.0}\n{"text": "b", "label": 0.0}', "a.jsonl")
    assert data.task.labels == ("0", "1")


def test_a_part_is_set_apart_by_label_and_seed(tmp_path: Path) -> None:
    table = "text,label\n" + "".join(f"t{n},{'ab'[n % 4 == 0]}\n" for n in range(80))

    def dev(**settings: Any) -> OwnData:
        return read(tmp_path, table, validation_share=0.25, **settings)

    data = dev()
    assert [*data.splits] == ["train", "dev"]
    assert [label for _, label in found(data, "dev")].count("b") == 5
    assert len(data.splits["dev"]) == 20
    assert sorted(found(data) + found(data, "dev")) == sorted(found(read(tmp_path, table)))
    assert found(dev(), "dev") == found(data, "dev") != found(dev(seed=7), "dev")


def test_several_files_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("label,text\ny,two\n")
    (tmp_path / "test.csv").write_text("text\nthree\n")
    pattern = [str(tmp_path / "[ab].csv")]
    data = read(
        tmp_path, "text,label\none,x\n", "a.csv",
        train_file=pattern, test_file=[str(tmp_path / "test.csv")],
    )  # fmt: skip
    assert found(data) == [("one", "x"), ("two", "y")]
    assert [one.text_a for one in data.splits["test"]] == ["three"]
    assert [*data.task.unlabelled] == ["test"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.csv", "text,label\na,\nb, \n"),
        ("test.jsonl", '{"text": "a", "label": null}\n{"text": "b"}\n'),
    ],
)
@pytest.mark.parametrize("more", [{}, {"label_separator": ";"}])
def test_an_empty_column_is_no_labels(
    more: dict[str, Any], name: str, content: str, tmp_path: Path
) -> None:
    test = {"test_file": [str(tmp_path / name)], **more}
    (tmp_path / name).write_text(content)
    data = read(tmp_path, "text,label\na,x\nb,y\n", **test)
    assert [*data.task.unlabelled] == ["test"]
    assert [one.text_a for one in data.splits["test"]] == ["a", "b"]
    (tmp_path / "test.csv").write_text("text,label\na,\nb,x\n")
    test["test_file"] = [str(tmp_path / "test.csv")]
    if more:  # where a row may have none of several labels
        assert not read(tmp_path, "text,label\na,x\nb,y\n", **test).task.unlabelled
    else:
        with pytest.raises(DataError, match=r"test\.csv:2: expected a label, got none"):
            read(tmp_path, "text,label\na,x\nb,y\n", **test)


def test_rows_by_language(tmp_path: Path) -> None:
    table = "text,label,lang\na,x,sw\nb,y,en\nc,x,en\n"
    data = read(tmp_path, table, language_column_name="lang")
    by_language = data.by_language("train")
    assert {code: len(rows) for code, rows in by_language.items()} == {"sw": 1, "en": 2}
    assert [*data.by_language("train", ["en"])] == ["en"]
    with pytest.raises(DataError, match=r"`languages`: train has no row in 'de'; known: sw, en"):
        data.by_language("train", ["de"])


@pytest.mark.parametrize("language", ["../../../evil", "zh/CN", "a\\b", "e\nn", "x" * 61, "e\tn"])
def test_files_can_be_named_by_languages(language: str, tmp_path: Path) -> None:
    rows = [{"text": "a", "label": label, "lang": " en"} for label in "xy"]
    lines = "\n".join(map(json.dumps, rows))
    data = read(tmp_path, lines, "a.jsonl", language_column_name="lang")
    assert [*data.by_language("train")] == ["en"]
    lines += "\n" + json.dumps(rows[0] | {"lang": language})
    with pytest.raises(
        DataError, match=r"a.jsonl:3: expected a language like 'de' or 'zh-CN', got"
    ):
        read(tmp_path, lines, "a.jsonl", language_column_name="lang")


PACKED = gzip.compress(b"text,label\n" * 99, mtime=0)
BAD: dict[str, tuple[str, str | bytes, str]] = {
    "columns": ("a.csv", "text,label\na,b,c\n", r"a\.csv:2: expected 2 columns, got 3"),
    "open quote": ("a.csv", 'text,label\n"a,b\nc,d\n', r"a\.csv:2: expected the quote that opens"),
    "text after a quote": ("a.csv", 'text,label\n"a"b,c\n', r"a\.csv:2: expected fields of CSV"),
    "latin-1": ("a.csv", b"text,label\na,b\n\xe9,c\n", r"a\.csv:3: expected UTF-8, got byte 0xe9"),
    "utf-16": ("a.csv", "text,label\na,b\n".encode("utf-16"), r"a\.csv:1: expected text in UTF-8"),
    "zip": ("a.csv", b"PK\x03\x04....", r"a\.csv:1: expected .* got a ZIP archive"),
    "nul": ("a.csv", b"text,label\na\0,b\n", r"a\.csv:2: .*NUL"),
    "no text": ("a.csv", "text,label\n ,b\n", r"a\.csv:2: expected a text, got none in column 'te"),
    "no label": ("a.csv", "text,label\na,b\nc,\n", r"a\.csv:3: expected a label, got none"),
    "header twice": ("a.csv", "text,label,text\na,b,c\n", r"a\.csv:1: has the column 'text' twice"),
    "header only": ("a.csv", "text,label\n", r"a\.csv: expected rows, got none"),
    "empty": ("a.csv", "", r"a\.csv: expected rows, got none"),
    "unknown columns": ("a.csv", "x,y,label\na,b,c\n", r"a\.csv: .*`text_column_name`"),
    "unknown label": ("a.csv", "text,x,y\na,b,c\n", r"a\.csv: .*`label_column_name`"),
    "one label": ("a.csv", "text,label\na,b\nc,b\n", r"two labels or more in column 'label'"),
    "long field": ("a.csv", f"text,label\n{'a' * 1_000_009},b\n", r"a\.csv:2: expected at most 1,"),
    "json line": ("a.jsonl", '{"text": "a", "label": 1}\n{"text"\n', r"a\.jsonl:2: expected an o"),
    "no object": ("a.jsonl", '{"text": "a", "label": 1}\n[1]\n', r"a\.jsonl:2: .* got \[1\]"),
    "after it": ("a.jsonl", '{"text": "a", "label": 1} {}', r"a\.jsonl:1: .*Extra data"),
    "nan": ("a.jsonl", '{"text": "a", "label": NaN}\n', r"a\.jsonl:1: .*NaN is no number"),
    "number": ("a.jsonl", '{"text": 5, "label": 1}\n', r"a\.jsonl:1: expected a text, got 5"),
    "half a character": ("a.jsonl", r'{"text": "\ud800", "label": 1}', r"a\.jsonl:1: .*U\+D800"),
    "deep": ("a.jsonl", "[" * 200_000, r"a\.jsonl:1: expected an object of JSON"),
    "list cut": ("a.json", '[{"text": "a", "label": 1},\n{"text', r"a\.json:2: expected an object"),
    "list unclosed": ("a.json", '[{"text": "a", "label": 1}\n', r"a\.json:2: expected a list"),
    "no list": ("a.json", '[{"text": "a", "label": 1}\n{}]', r"a\.json:2: expected , of a list"),
    "two lists": ("a.json", '[{"text": "a", "label": 1}]\n[{"t', r"a\.json:2: .*the file to end"),
    "after a list": ("a.json", '[] {"text": "a"}', r"a\.json:1: expected the file to end"),
    "name twice": ("a.jsonl", '{"text": "a", "label": 1, "text": "b"}', r"a\.jsonl:1: .*'text' tw"),
    "in a list": ("a.json", '[{"text": {"b": 1, "b": 2}}]', r"a\.json:1: .* 'b' twice"),
    "long number": ("a.jsonl", f'{{"text": {"9" * 5_000}}}', r"a\.jsonl:1: expected an object"),
    "long header": ("a.csv", f"text,{'l' * 1_000_001}\na,b\n", r"a\.csv:1: expected at most 1,"),
    "tabs": ("a.txt", "a\tb\nc\n", r"a\.txt:2: expected text and label parted by tabs, got 1"),
    "gzip cut": ("a.csv.gz", PACKED[:-9], r"a\.csv\.gz: .*gzip"),
    "ending": ("a.xlsx", "text,label\n", r"a\.xlsx: expected a name that ends in \.csv"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, content, name)
    assert str(tmp_path / name) in str(error.value) or case == "one label"


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"train_file": ["no.csv"]}, r"no\.csv: no such file \(`train_file`\)"),
    "column": ({"text_column_name": "body"}, r"has no column 'body' \(`text_column_name`\), but "),
    "score": ({"problem_type": "regression"}, r"train\.csv:2: expected a number as score, got 'x'"),
    "labels": ({"labels": ["x", "z"]}, r"train\.csv:3: expected a label of x, z, got 'y'"),
    "no labels": ({"labels": ["/no/such/file"]}, r"`labels`: /no/such/file: cannot be read: No "),
    "no text": ({"labels": ["no.txt"]}, r"`labels`: no\.txt: cannot be read: No .* a label a line"),
    "twice": ({"labels": ["x", "x"]}, r"`labels`: 'x' comes twice"),
    "all apart": ({"validation_share": 1.0}, r"`validation_share` 1: expected a part of 2"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_do_not_fit_are_named(case: str, tmp_path: Path) -> None:
    settings, message = SETTINGS[case]
    with pytest.raises(DataError, match=message):
        read(tmp_path, "text,label\na,x\nb,y\n", **settings)


def test_bad_rows_are_left_out_and_listed_where_that_is_asked_for(tmp_path: Path) -> None:
    table = b'text,label\na,x\n\xe9,x\n"a"b,x\n,x\nc,y,z\nb,y\n'
    data = read(tmp_path, table, on_bad_row="skip")
    assert found(data) == [("a", "x"), ("b", "y")]
    sources = [bad.source for bad in data.splits["train"].bad_rows]
    assert sources == [f"train.csv:{line}" for line in (3, 4, 5, 6)]
