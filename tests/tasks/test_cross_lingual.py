"""XNLI and PAWS-X: both layouts, several languages, both label orders, and every bad row named."""

import shutil
from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.cross_lingual import (
    ALL,
    PAWS_X,
    PAWS_X_LANGUAGES,
    XNLI,
    XNLI_REMBERT,
    XNLI_TABLE_ORDER,
    check_languages,
    read_languages,
)
from paddlenlp_ext.tasks.task import TextExample

DATA = Path(__file__).parents[2] / "data"
COLUMNS = "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse "
COLUMNS += "sentence2_parse sentence1 sentence2 promptID pairID genre label1 label2 label3 label4 "
COLUMNS += "label5 sentence1_tokenized sentence2_tokenized match"


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return folder


def xnli_row(language, label, premise="A.", hypothesis="B."):
    fields = [language, label, *[""] * 4, premise, hypothesis, *"12x", *[label] * 5, *"AB", "True"]
    return "\t".join(fields)


def write_xnli(folder, *rows, split="dev", header=COLUMNS):
    return write(folder, f"xnli.{split}.tsv", header.replace(" ", "\t"), *rows)


def texts(examples):
    return [(one.text_a, one.text_b) for one in examples]


# Layouts.


def test_orders_of_languages_are_those_of_the_pages():
    assert " ".join(XNLI.languages) == "ar bg de el en es fr hi ru sw th tr ur vi zh"
    assert " ".join(XNLI_TABLE_ORDER) == "en fr es de el bg ru tr ar vi th zh hi sw ur"


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_flat_folder_and_archives_read_the_same(tmp_path, split):
    for path in (DATA / "xnli").rglob("*.tsv"):
        shutil.copy(path, tmp_path)
    expected = read_languages(XNLI, split, DATA)
    assert read_languages(XNLI, split, DATA / "xnli") == expected
    assert read_languages(XNLI, split, str(tmp_path)) == expected
    paws = read_languages(PAWS_X, split, DATA)
    assert read_languages(PAWS_X, split, DATA / "pawsx/x-final") == paws
    assert read_languages(PAWS_X, split, DATA / "pawsx") == paws


def test_languages_come_in_the_order_asked_and_once():
    assert list(read_languages(XNLI, "test", DATA, XNLI_TABLE_ORDER)) == list(XNLI_TABLE_ORDER)
    assert list(read_languages(PAWS_X, "train", DATA, ["zh", "en", "zh"])) == ["zh", "en"]
    assert check_languages(PAWS_X, None) == PAWS_X_LANGUAGES


def test_sources_tell_the_language_of_files_with_one_name():
    paws = read_languages(PAWS_X, "dev", DATA, ["ko", "de"])
    assert [rows[0].source for rows in paws.values()] == ["ko/dev_2k.tsv:2", "de/dev_2k.tsv:2"]
    assert read_languages(XNLI, "train", DATA, ["th"])["th"][-1].source == (
        "multinli.train.th.tsv:13"
    )


def test_flat_paws_x_files_are_of_the_one_language_asked_for_or_of_all(tmp_path):
    header = "id\tsentence1\tsentence2\tlabel"
    write(tmp_path, "train.tsv", header, "1\tA.\tB.\t1")
    # `cat` of two files with byte order marks, one with the line ends of Windows
    mark = "\ufeff"
    write(
        tmp_path, "test_2k.tsv", mark + header, "1\tA.\tB.\t0", mark + header + "\r", "1\tZ.\tY.\t1"
    )
    example = TextExample("A.", "B.", 1, "train.tsv:2")
    assert read_languages(PAWS_X, "train", tmp_path, ["en"]) == {"en": [example]}
    both = [
        TextExample("A.", "B.", 0, "test_2k.tsv:2"),
        TextExample("Z.", "Y.", 1, "test_2k.tsv:4"),
    ]
    assert read_languages(PAWS_X, "test", tmp_path) == {ALL: both}
    assert read_languages(PAWS_X, "test", tmp_path, ["de", "fr"]) == {ALL: both}


def test_a_file_put_together_by_hand_is_of_no_single_language(tmp_path):
    """Its header lines show that there are several parts; the first flat file has only one."""
    rows = ["id\tsentence1\tsentence2\tlabel", "1\tA.\tB.\t1"]
    write(tmp_path, "train.tsv", *rows)
    write(tmp_path, "dev_2k.tsv", *rows, *rows)
    assert read_languages(PAWS_X, "train", tmp_path, ["en"]).mixed_file is None
    found = read_languages(PAWS_X, "dev", tmp_path, ["en"])
    assert {code: len(examples) for code, examples in found.items()} == {ALL: 2}
    assert found.mixed_file == tmp_path / "dev_2k.tsv"
    assert read_languages(PAWS_X, "dev", tmp_path).mixed_file is None  # nothing was asked for
    assert read_languages(PAWS_X, "train", tmp_path, ["en", "de"]).mixed_file is not None


def test_repeated_headers_of_a_file_put_together_by_hand_are_no_rows(tmp_path):
    header = COLUMNS.replace(" ", "\t")
    write_xnli(tmp_path, xnli_row("fr", "neutral"), header, xnli_row("de", "neutral"), split="test")
    write(tmp_path, "multinli.train.en.tsv", *["premise\thypo\tlabel", "A.\tB.\tneutral"] * 3)
    found = read_languages(XNLI, "test", tmp_path)
    assert {code: [one.source for one in rows] for code, rows in found.items()} == {
        "de": ["xnli.test.tsv:4"],
        "fr": ["xnli.test.tsv:2"],
    }
    assert len(read_languages(XNLI, "train", tmp_path, ["en"])["en"]) == 3


def test_quotes_and_odd_line_ends_are_text(tmp_path):
    row = xnli_row("en", "neutral", '"lone', "b'x'\u2028\x1c y")
    write_xnli(tmp_path, row)
    assert texts(read_languages(XNLI, "dev", tmp_path)["en"]) == [('"lone', "b'x'\u2028\x1c y")]


# Labels.


def test_label_numbers_follow_the_order_and_both_spellings_count(tmp_path):
    spelled = ["entailment", "neutral", "contradiction", "contradictory"]
    write_xnli(tmp_path, *(xnli_row("en", label) for label in spelled))
    write(
        tmp_path, "multinli.train.en.tsv", "premise\thypo\tlabel", *(f"A\tB\t{s}" for s in spelled)
    )
    for split in ("dev", "train"):
        for task, numbers in ((XNLI, [0, 1, 2, 2]), (XNLI_REMBERT, [1, 0, 2, 2])):
            rows = read_languages(task, split, tmp_path, ["en"])["en"]
            assert [one.label for one in rows] == numbers
    assert XNLI_REMBERT.labels == ("neutral", "entailment", "contradictory")


def test_rows_without_gold_label_are_left_out_and_listed(tmp_path):
    rows = [xnli_row("en", "neutral"), xnli_row("en", "-"), xnli_row("sw", "-")]
    write_xnli(tmp_path, *rows, xnli_row("de", "neutral"))
    examples = read_languages(XNLI, "dev", tmp_path, ["de", "en"])
    assert {code: len(found) for code, found in examples.items()} == {"de": 1, "en": 1}
    reason = "no gold label ('-'): the annotators did not agree"
    assert examples.bad_rows == [("xnli.dev.tsv:3", reason)]


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_rows_without_text_are_left_out_and_listed(tmp_path, on_bad_row):
    """Rows that the official archives have: translations that are missing."""
    header, row = "id\tsentence1\tsentence2\tlabel", "1\tA.\tB.\t1"
    write(tmp_path, "x-final/ja/translated_train.tsv", header, row, "32035\t\t\t0", row)
    examples = read_languages(PAWS_X, "train", tmp_path, ["ja"], on_bad_row=on_bad_row)
    assert [one.source for one in examples["ja"]] == [
        "ja/translated_train.tsv:2",
        "ja/translated_train.tsv:4",
    ]
    assert examples.bad_rows == [
        ("ja/translated_train.tsv:3", "expected a text, got none in column 'sentence1'")
    ]
    write(
        tmp_path, "multinli.train.ar.tsv", "premise\thypo\tlabel", "A.\t\tneutral", "A\tB\tneutral"
    )
    examples = read_languages(XNLI, "train", tmp_path, ["ar"], on_bad_row=on_bad_row)
    assert texts(examples["ar"]) == [("A", "B")]
    assert [bad.source for bad in examples.bad_rows] == ["multinli.train.ar.tsv:2"]
    blank = [xnli_row(code, "neutral", " ") for code in ("en", "th")]
    write_xnli(tmp_path, xnli_row("en", "neutral"), *blank, xnli_row("th", "neutral"))
    examples = read_languages(XNLI, "dev", tmp_path, ["en"], on_bad_row=on_bad_row)
    assert texts(examples["en"]) == [("A.", "B.")]
    assert [bad.source for bad in examples.bad_rows] == ["xnli.dev.tsv:3"]  # Thai was not asked for


def test_a_row_without_text_in_an_unknown_language_is_bad(tmp_path):
    write_xnli(tmp_path, xnli_row("en", "neutral"), xnli_row("jp", "neutral", ""))
    with pytest.raises(DataError, match=r"xnli.dev.tsv:3: expected a language, got 'jp'"):
        read_languages(XNLI, "dev", tmp_path)


def test_untranslated_rows_stay(tmp_path):
    rows = ["1\tNS\tB.\t0", "2\tA.\tNS\t0", "3\tNSA.\tB.\t1"]
    write(tmp_path, "de/test_2k.tsv", "id\tsentence1\tsentence2\tlabel", *rows)
    examples = read_languages(PAWS_X, "test", tmp_path, ["de"])["de"]
    assert [(one.text_a, one.text_b, one.label) for one in examples] == [
        ("NS", "B.", 0),
        ("A.", "NS", 0),
        ("NSA.", "B.", 1),
    ]


# What is wrong is named.


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("en\tneutral\tA.\tB.", "expected 19 columns, got 4"),
        (xnli_row("en", "neutral").rpartition("\t")[0], "expected 19 columns, got 18"),
        (xnli_row("en", "neutrl"), "expected a label of entailment, neutral, contradiction,"),
        (xnli_row("en", ""), "expected a label of .* got ''"),
        (xnli_row("jp", "neutral"), "expected a language, got 'jp'; known: ar, bg"),
        (xnli_row("zh-CN", "neutral"), "expected a language, got 'zh-CN'; did you mean 'zh'[?]"),
        (xnli_row("", "neutral"), "expected a language, got ''"),
    ],
    ids=["short", "one_short", "label", "no_label", "language", "region", "no_language"],
)
def test_bad_rows_are_named_by_file_and_line_or_listed(tmp_path, row, reason):
    write_xnli(tmp_path, xnli_row("en", "neutral"), row, xnli_row("en", "neutral"), split="test")
    with pytest.raises(DataError, match=rf"{tmp_path}/xnli.test.tsv:3: {reason}.*`on_bad_row`"):
        read_languages(XNLI, "test", tmp_path)
    examples = read_languages(XNLI, "test", tmp_path, on_bad_row="skip")
    assert len(examples["en"]) == 2
    assert [bad.source for bad in examples.bad_rows] == ["xnli.test.tsv:3"]


def test_bad_rows_of_paws_x_tell_their_language(tmp_path):
    write(
        tmp_path,
        "x-final/ko/dev_2k.tsv",
        "id\tsentence1\tsentence2\tlabel",
        "1\tA\tB\t1",
        "2\tA\t1",
    )
    with pytest.raises(DataError, match=r"x-final/ko/dev_2k.tsv:3: expected 4 columns, got 3"):
        read_languages(PAWS_X, "dev", tmp_path, ["ko"])
    examples = read_languages(PAWS_X, "dev", tmp_path, ["ko"], on_bad_row="skip")
    assert [bad.source for bad in examples.bad_rows] == ["ko/dev_2k.tsv:3"]


def test_files_that_are_not_there_are_named(tmp_path):
    expected = (
        r"no XNLI train .* XNLI-MT-1.0/multinli/multinli.train.en.tsv or multinli.train.en.tsv"
    )
    with pytest.raises(DataError, match=expected):
        read_languages(XNLI, "train", tmp_path, ["en"])
    expected = (
        r"no PAWS-X test .* x-final/ja/test_2k.tsv or ja/test_2k.tsv or test_2k.tsv: .*data_dir"
    )
    with pytest.raises(DataError, match=expected):
        read_languages(PAWS_X, "test", tmp_path, ["ja"])
    write(tmp_path, "multinli.train.en.tsv", "premise\thypo\tlabel", "A.\tB.\tneutral")
    with pytest.raises(DataError, match=r"/multinli.train.sw.tsv: no such file"):
        read_languages(XNLI, "train", tmp_path, ["en", "sw"])


def test_unknown_splits_and_languages_are_named(tmp_path):
    with pytest.raises(DataError, match="XNLI has no split 'validation'; it has train, dev, test"):
        read_languages(XNLI, "validation", DATA)
    with pytest.raises(
        DataError, match=r"has no language 'jp'; did you mean 'ja'[?] known: de, en"
    ):
        read_languages(PAWS_X, "dev", DATA, ["en", "jp"])
    with pytest.raises(DataError, match=r"^`train_languages`: XNLI has no language 'jp'"):
        check_languages(XNLI, ["jp"], "train_languages")
    with pytest.raises(DataError, match=r"expected a language of ar, bg, .* got none"):
        read_languages(XNLI, "dev", DATA, [])


def test_languages_that_a_file_lacks_are_named_if_they_were_asked_for(tmp_path):
    write_xnli(tmp_path, xnli_row("en", "neutral"), xnli_row("th", "-"))
    with pytest.raises(DataError, match=r"xnli.dev.tsv: no usable row of XNLI dev in th, ur \(1 "):
        read_languages(XNLI, "dev", tmp_path, ["en", "th", "ur"])
    assert list(read_languages(XNLI, "dev", tmp_path)) == ["en"]
    write_xnli(tmp_path)
    with pytest.raises(DataError, match="no usable row"):
        read_languages(XNLI, "dev", tmp_path)
    write(tmp_path, "de/dev_2k.tsv", "id\tsentence1\tsentence2\tlabel", "1\tA.\tB.\t0")
    write(tmp_path, "fr/dev_2k.tsv", "id\tsentence1\tsentence2\tlabel")
    with pytest.raises(DataError, match=r"fr/dev_2k.tsv: no usable row of PAWS-X dev in fr"):
        read_languages(PAWS_X, "dev", tmp_path, ["de", "fr"])


def test_other_headers_are_refused(tmp_path):
    write_xnli(tmp_path, xnli_row("en", "neutral"), header=COLUMNS.replace("language", "lang"))
    with pytest.raises(DataError, match=r"xnli.dev.tsv:1: expected .* column 'language'"):
        read_languages(XNLI, "dev", tmp_path)
    write(tmp_path, "multinli.train.en.tsv", "A.\tB.\tneutral")
    with pytest.raises(
        DataError, match=r"train.en.tsv:1: expected a header row .*'premise', 'hypo'"
    ):
        read_languages(XNLI, "train", tmp_path, ["en"])
    write(tmp_path, "xnli.test.tsv")
    with pytest.raises(DataError, match=r"xnli.test.tsv:1: expected a header row"):
        read_languages(XNLI, "test", tmp_path)
