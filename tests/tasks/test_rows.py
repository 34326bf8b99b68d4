"""Rows of tab-separated files: the official quirks are read, whatever is wrong is named."""

import random
import re
from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.glue import GLUE, glue_task
from paddlenlp_ext.tasks.rows import read_examples
from paddlenlp_ext.tasks.task import TextExample

SST2, RTE, STSB, COLA = GLUE["sst-2"], GLUE["rte"], GLUE["sts-b"], GLUE["cola"]


def write(folder: Path, data: bytes, name: str = "train.tsv") -> Path:
    (folder / name).write_bytes(data)
    return folder


def texts(folder, task=SST2, **options):
    return [one.text_a for one in read_examples(task, "train", folder, **options)]


def test_rows_carry_text_label_and_place(tmp_path):
    header = b"index\tsentence1\tsentence2\tlabel\n"
    write(tmp_path, header + b"0\tA.\tB.\tnot_entailment\n1\tC.\tD.\tentailment\n")
    assert read_examples(RTE, "train", tmp_path) == [
        TextExample("A.", "B.", 1, "train.tsv:2"),
        TextExample("C.", "D.", 0, "train.tsv:3"),
    ]


def test_columns_are_found_by_name_wherever_they_stand(tmp_path):
    write(tmp_path, b"label\tsentence2\tnote\tsentence1\nentailment\tB.\tx\tA.\n")
    assert read_examples(RTE, "train", tmp_path)[0] == TextExample("A.", "B.", 0, "train.tsv:2")


def test_a_file_without_header_is_read_from_its_first_line(tmp_path):
    write(tmp_path, b"gj04\t0\t*\tThem sang.\n")
    assert read_examples(COLA, "train", tmp_path) == [
        TextExample("Them sang.", None, 0, "train.tsv:1")
    ]


def test_scores_are_numbers(tmp_path):
    columns = b"index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\t"
    write(tmp_path, columns + b"sentence1\tsentence2\tscore\n" + b"x\t" * 7 + b"A.\tB.\t3.800\n")
    assert read_examples(STSB, "train", tmp_path)[0].label == 3.8


def test_quotes_are_text(tmp_path):
    write(tmp_path, b'sentence\tlabel\n"lone\t1\n""\t0\nsaid "so"\t1\n"a\tb"\t1\n"\t1\n')
    with pytest.raises(DataError, match=r"train.tsv:5: expected 2 columns, got 3"):
        texts(tmp_path)
    assert texts(tmp_path, on_bad_row="skip") == ['"lone', '""', 'said "so"', '"']


def test_mark_of_byte_order_line_ends_of_windows_and_a_missing_last_one_are_fine(tmp_path):
    write(tmp_path, b"\xef\xbb\xbfsentence\tlabel\r\none\t1\r\ntwo\t0\r\n\r\n")
    assert texts(tmp_path) == ["one", "two"]
    write(tmp_path, b"sentence\tlabel\none\t1\ntwo\t0")
    assert texts(tmp_path) == ["one", "two"]


def test_only_a_line_feed_ends_a_row(tmp_path):
    # All of them end a line for str.splitlines; Python's text mode breaks at \r.
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj \u00a0k"
    write(tmp_path, f"sentence\tlabel\n{odd}\t1\n".encode())
    assert texts(tmp_path) == [odd]


def test_the_folder_may_be_the_task_s_or_the_one_above(tmp_path):
    folder = tmp_path / "SST-2"
    folder.mkdir()
    write(folder, b"sentence\tlabel\nfine\t1\n")
    assert texts(tmp_path) == texts(folder) == texts(str(tmp_path)) == ["fine"]


def row(text=b"fine", label=b"1"):
    return text + b"\t" + label


BAD = {
    "column missing": (b"fine", "expected 2 columns, got 1"),
    "column too many": (b"fine\t1\t1", "expected 2 columns, got 3"),
    "tab in the text": (b"fi\tne\t1", "expected 2 columns, got 3"),
    "tab at the end": (b"fine\t1\t", "expected 2 columns, got 3"),
    "spaces for tabs": (b"fine    1", "expected 2 columns, got 1"),
    "empty line": (b"", "expected 2 columns, got an empty line"),
    "carriage return only": (b"\r", "expected 2 columns, got an empty line"),
    "text empty": (row(b""), "expected a text, got none in column 'sentence'"),
    "text of spaces": (row(b"  \xc2\xa0"), "expected a text, got none in column 'sentence'"),
    "label empty": (row(label=b""), "expected a label of 0, 1, got ''"),
    "label unknown": (row(label=b"2"), "expected a label of 0, 1, got '2'"),
    "label in words": (row(label=b"positive"), "expected a label of 0, 1, got 'positive'"),
    "label as float": (row(label=b"1.0"), "expected a label of 0, 1, got '1.0'"),
    "label with space": (row(label=b"1 "), "expected a label of 0, 1, got '1 '"),
    "label quoted": (row(label=b'"1"'), "expected a label of 0, 1, got '\"1\"'"),
    "label and text swapped": (b"1\tfine", "expected a label of 0, 1, got 'fine'"),
    "NUL in the text": (row(b"fi\0ne"), "expected text, got a NUL byte"),
    "byte of Latin-1": (row(b"na\xefve"), "expected UTF-8, got byte 0xef after 2"),
    "cut in a character": (row(b"na\xc3"), "expected UTF-8, got byte 0xc3 after 2"),
    "surrogate": (row(b"\xed\xa0\x80"), "expected UTF-8, got byte 0xed after 0"),
    "line of a megabyte": (
        row(b"x" * 1_000_000),
        "expected at most 1,000,000 bytes in a line, got more",
    ),
    "line of four megabytes": (row(b"x" * 4_000_000), "expected at most 1,000,000 bytes in a line"),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_kind_of_bad_row_is_named_and_stops(tmp_path, kind):
    line, reason = BAD[kind]
    write(tmp_path, b"sentence\tlabel\ngood\t1\n" + line + b"\nbetter\t0\n")
    with pytest.raises(
        DataError, match="^" + re.escape(f"{tmp_path}/train.tsv:3: {reason}")
    ) as told:
        texts(tmp_path)
    assert "`on_bad_row` skip" in str(told.value)
    assert "\n" not in str(told.value)
    read = read_examples(SST2, "train", tmp_path, on_bad_row="skip")
    assert [one.source for one in read] == ["train.tsv:2", "train.tsv:4"]
    assert [bad.source for bad in read.bad_rows] == ["train.tsv:3"]
    assert reason in read.bad_rows[0].reason


def test_of_a_thousand_bad_rows_each_is_named_and_the_counts_add_up(tmp_path, record_property):
    record_property("injections", 1000)
    random.seed(0)
    kinds = [*BAD] * 50
    kinds = [kind for kind in kinds if "megabyte" not in kind][:998] + ["line of a megabyte"] * 2
    lines = [(BAD[kind][0], BAD[kind][1]) for kind in kinds]
    lines += [(row(f"good {n}".encode()), None) for n in range(1500)]
    random.shuffle(lines)
    lines.append((row(b"the end"), None))  # else empty lines at the end would be no rows
    write(tmp_path, b"\n".join([b"sentence\tlabel", *(line for line, _ in lines)]) + b"\n")
    read = read_examples(SST2, "train", tmp_path, on_bad_row="skip")
    expected = {f"train.tsv:{n}": why for n, (_, why) in enumerate(lines, start=2)}
    assert len(read) == 1501
    assert len(read.bad_rows) == 1000
    assert {one.source for one in read} == {place for place, why in expected.items() if why is None}
    for source, reason in read.bad_rows:
        assert expected.pop(source) in reason


@pytest.mark.parametrize("score", ["5.01", "-0.1", "nan", "inf", "-inf", "1e999"])
def test_scores_out_of_range_are_named(tmp_path, score):
    columns = b"a\tb\tc\td\te\tf\tg\tsentence1\tsentence2\tscore\n"
    write(tmp_path, columns + b"x\t" * 7 + f"A.\tB.\t{score}\n".encode())
    with pytest.raises(DataError, match=rf"train.tsv:2: expected a score from 0 to 5, got {score}"):
        read_examples(STSB, "train", tmp_path)


def test_a_score_must_be_a_number(tmp_path):
    columns = b"a\tb\tc\td\te\tf\tg\tsentence1\tsentence2\tscore\n"
    write(tmp_path, columns + b"x\t" * 7 + b"A.\tB.\tvery\n")
    with pytest.raises(DataError, match="expected a number as score, got 'very'"):
        read_examples(STSB, "train", tmp_path)


def test_a_missing_file_tells_the_path_what_belongs_there_and_what_to_do(tmp_path):
    with pytest.raises(DataError) as told:
        read_examples(GLUE["mnli"], "train", tmp_path / "nowhere")
    message = str(told.value)
    assert message.startswith(f"{tmp_path}/nowhere/train.tsv: no such file")
    for part in ("MNLI", "train.tsv, dev_matched.tsv, dev_mismatched.tsv", "`data_dir`"):
        assert part in message


def test_a_folder_in_the_place_of_a_file_is_no_traceback(tmp_path):
    (tmp_path / "train.tsv").mkdir()
    with pytest.raises(DataError, match=r"train.tsv: cannot be read: Is a directory"):
        texts(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"text\tlabel\nfine\t1\n",  # another name
        b"fine\t1\n",  # no header
        b"sentence,label\nfine,1\n",  # commas
        b"",
        "sentence\tlabel\nfine\t1\n".encode("utf-16"),
        b"\n\nsentence\tlabel\nfine\t1\n",
        b"\x00" * 100,
        b"x" * 3_000_000,
    ],
)
def test_another_header_is_shown_beside_the_expected_one(tmp_path, data):
    write(tmp_path, data)
    with pytest.raises(DataError, match=r"train.tsv:1: expected a header row .*'sentence'") as told:
        texts(tmp_path, on_bad_row="skip")
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("rows", [b"", b"\n\n", b"\tb\n"])
def test_a_split_without_rows_is_an_error(tmp_path, rows):
    write(tmp_path, b"sentence\tlabel\nfine\t1\n")
    write(tmp_path, b"sentence\tlabel\n" + rows, "dev.tsv")
    with pytest.raises(DataError, match=r"dev.tsv: no usable row for SST-2 dev"):
        read_examples(SST2, "dev", tmp_path, on_bad_row="skip")


def test_a_split_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"MNLI has no split 'dev'; it has train, dev_matched"):
        read_examples(GLUE["mnli"], "dev", tmp_path)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("SST-2", "SST-2"),
        ("SST2", "SST-2"),
        ("sst2", "SST-2"),
        ("sst_2", "SST-2"),
        ("STSB", "STS-B"),
        ("stsb", "STS-B"),
        ("cola", "CoLA"),
        ("CoLA", "CoLA"),
        ("MRPC", "MRPC"),
        ("qqp", "QQP"),
        ("MNLI", "MNLI"),
        ("QNLI", "QNLI"),
        ("Rte", "RTE"),
    ],
)
def test_tasks_are_known_by_every_common_spelling(name, task):
    assert glue_task(name).name == task


@pytest.mark.parametrize(
    ("name", "hint"), [("SST-1", "SST-2"), ("mnil", "MNLI"), ("sts-c", "STS-B"), ("", "")]
)
def test_an_unknown_task_gets_a_suggestion(name, hint):
    with pytest.raises(
        DataError, match=r"unknown GLUE task .*`task_name`.*known: CoLA, SST-2"
    ) as e:
        glue_task(name)
    assert (f"did you mean {hint!r}" in str(e.value)) == bool(hint)


def test_labels_are_in_the_order_of_the_published_checkpoints():
    assert GLUE["mnli"].labels == ("contradiction", "entailment", "neutral")
    assert GLUE["qnli"].labels == GLUE["rte"].labels == ("entailment", "not_entailment")
    assert [task.num_labels for task in GLUE.values()] == [2, 2, 2, 1, 2, 3, 2, 2]
