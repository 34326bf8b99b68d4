"""Tables that are taken for what they are not are told, once a file; blank lines cost nothing."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.cross_lingual import XNLI, read_languages
from paddlenlp_ext.tasks.glue import GLUE, read_examples

SST = GLUE["sst-2"]


def table(folder: Path, *rows: str, header: str = "sentence\tlabel") -> Path:
    path = folder / "train.tsv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("rows", "is_csv"),
    [
        (['"he said ""hello"" and left"\t1'], True),
        (['"he left"\t1', "plain\t0"], True),
        (['"one"\t1', '"two ""2"" and"\t0'], True),
        (['"one"\t"1"'.replace('"1"', "1"), 'he said "hello"\t1'], False),
        (['"hello" he said\t1'], False),
        (['a 5" disk\t1'], False),
        (["plain\t1"], False),
    ],
)
def test_quotes_of_csv_are_told_once_a_file_and_stay_text(rows, is_csv, tmp_path, caplog):
    table(tmp_path, *rows)
    examples = read_examples(SST, "train", tmp_path)
    assert [one.text_a for one in examples] == [row.split("\t")[0] for row in rows]
    assert caplog.text.count("all its quotes are as CSV has them") == is_csv


@pytest.mark.parametrize("row", ['"a\tb"\t1', '"a ""x""\tb\tc"\t0'])
def test_a_tab_in_quotes_says_what_parts_the_columns(row, tmp_path):
    table(tmp_path, "fine\t1", row)
    with pytest.raises(
        DataError, match=r"train.tsv:3: expected 2 columns, got \d; quotes are text"
    ):
        read_examples(SST, "train", tmp_path)


def test_a_quoted_header_says_so(tmp_path):
    table(tmp_path, '"fine"\t1', header='"sentence"\t"label"')
    with pytest.raises(DataError, match=r"train.tsv:1: .*give SST-2 without quoting"):
        read_examples(SST, "train", tmp_path)


ROWS = "sentence\tlabel\na good film\t1\n"
FORMATS = {
    "UTF-16": [ROWS.encode("utf-16"), ROWS.encode("utf-16-le"), ROWS.encode("utf-16-be")],
    "UTF-32": [ROWS.encode("utf-32")],
    "a file compressed by gzip": [gzip.compress(ROWS.encode(), mtime=0)],
    "a file compressed by bzip2": [bz2.compress(ROWS.encode())],
    "a file compressed by xz": [lzma.compress(ROWS.encode())],
    "a ZIP archive or an Excel file": [b"PK\x03\x04\x14\0rest"],
    "a Parquet file": [b"PAR1\x15\x04rest"],
}


@pytest.mark.parametrize(
    ("name", "raw"), [(n, raw) for n, found in FORMATS.items() for raw in found]
)
def test_other_formats_are_called_by_their_names(name, raw, tmp_path):
    (tmp_path / "train.tsv").write_bytes(raw)
    with pytest.raises(DataError, match=f"train.tsv:1: .* in UTF-8, got {name}; ") as error:
        read_examples(SST, "train", tmp_path)
    assert str(error.value).isprintable()
    (tmp_path / "xnli.dev.tsv").write_bytes(raw)
    with pytest.raises(DataError, match=f"xnli.dev.tsv:1: expected text in UTF-8, got {name}; "):
        read_languages(XNLI, "dev", tmp_path, ["en"])


def read(folder: Path, **options: Any) -> tuple[int, int]:
    tracemalloc.start()
    try:
        rows = len(read_examples(SST, "train", folder, **options))
        return rows, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_empty_lines_at_the_end_cost_no_memory(end, tmp_path):
    path = table(tmp_path, "a good film\t1")
    _, before = read(tmp_path)
    path.write_bytes(path.read_bytes() + 200_000 * end)
    rows, after = read(tmp_path)
    assert rows == 1
    assert after < before + 300_000


def test_empty_lines_within_a_table_are_rows_with_their_numbers(tmp_path):
    table(tmp_path, "one\t1", "", "", "two\t0", "", "three\t1", "", "")
    examples = read_examples(SST, "train", tmp_path, on_bad_row="skip")
    assert [one.source for one in examples] == ["train.tsv:2", "train.tsv:5", "train.tsv:7"]
    assert [row.source for row in examples.bad_rows] == [
        "train.tsv:3",
        "train.tsv:4",
        "train.tsv:6",
    ]
