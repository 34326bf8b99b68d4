"""Rows of plain text hold every token once; what is held out is not trained on."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.language_rows import RowSettings, make_rows
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from tests.pretraining.test_text_shards import DOCUMENTS, SEP, corpus, rows_of, tokenizer

__all__ = ["corpus", "tokenizer"]  # fixtures


def ids_of(tokenizer: BertTokenizer, corpus: Path) -> list[list[list[int]]]:
    """The tokens of each line of each document."""
    documents = [text.split("\n") for text in corpus.read_text().strip().split("\n\n")]
    return [tokenizer(lines, add_special_tokens=False)["input_ids"] for lines in documents]


def test_packed_rows_are_full(tokenizer: BertTokenizer, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.hdf5"
    assert make_rows([corpus], tokenizer, [path], RowSettings(9))
    rows = rows_of(path)
    assert {len(row) for row in rows[:-1]} == {7}
    documents = [[id_ for line in lines for id_ in line] for lines in ids_of(tokenizer, corpus)]
    expected = [id_ for document in documents for id_ in (*document, SEP)][:-1]
    assert [id_ for row in rows for id_ in row] == expected


def test_lines_have_rows_of_their_own(
    tokenizer: BertTokenizer, corpus: Path, tmp_path: Path
) -> None:
    path = tmp_path / "train.hdf5"
    make_rows([corpus], tokenizer, [path], RowSettings(9, line_by_line=True))
    lines = [line for lines in ids_of(tokenizer, corpus) for line in lines]
    expected = [line[at : at + 7] for line in lines for at in range(0, len(line), 7)]
    assert rows_of(path) == expected
    assert len(expected) > sum(map(len, DOCUMENTS))


def test_held_out_rows_are_a_part_of_all(
    tokenizer: BertTokenizer, corpus: Path, tmp_path: Path
) -> None:
    make_rows([corpus], tokenizer, [tmp_path / "all.hdf5"], RowSettings(5))
    paths = [tmp_path / "train.hdf5", tmp_path / "validation.hdf5"]
    form = RowSettings(5, held_out=0.4, seed=3)
    assert make_rows([corpus], tokenizer, paths, form)
    assert not make_rows([corpus], tokenizer, paths, form)
    train, held_out = map(rows_of, paths)
    assert sorted([*train, *held_out]) == sorted(rows_of(tmp_path / "all.hdf5"))
    assert train
    assert held_out
    assert make_rows([corpus], tokenizer, paths, RowSettings(5, held_out=0.4, seed=4))
    assert rows_of(paths[1]) != held_out


def test_gzip_is_read_alike(tokenizer: BertTokenizer, corpus: Path, tmp_path: Path) -> None:
    packed = tmp_path / "train.txt.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + corpus.read_bytes().replace(b"\n", b"\r\n")))
    for file in (packed, corpus):
        make_rows([file], tokenizer, [tmp_path / f"{file.stem}.hdf5"], RowSettings(9))
    assert rows_of(tmp_path / "train.txt.hdf5") == rows_of(tmp_path / "train.hdf5")


@pytest.mark.parametrize(
    ("content", "form", "problem"),
    [
        (b"", {}, "text.txt: holds no text"),
        (b"w1 w2\nw3 \xff\n", {}, "text.txt:2: is not UTF-8"),
        ("\u4e00\n".encode(), {"max_seq_length": 9}, None),
        (b"w1 w2\n", {"held_out": 1e-9}, "no row for the validation split among 1 rows"),
        (b"\x1f\x8b\x08 cut off", {"name": "text.txt.gz"}, "text.txt.gz:1: is not a whole gzip"),
    ],
)
def test_text_that_cannot_be_used(
    tokenizer: BertTokenizer, tmp_path: Path, content: bytes, form: dict, problem: str | None
) -> None:
    path = tmp_path / form.pop("name", "text.txt")
    path.write_bytes(content)
    paths = [tmp_path / f"rows/{name}.hdf5" for name in ("train", "validation")]
    paths = paths[: 2 if form.get("held_out") else 1]
    if problem is None:
        make_rows([path], tokenizer, paths, RowSettings(**form))  # an unknown token is one
        return
    with pytest.raises(DataError, match=problem):
        make_rows([path], tokenizer, paths, RowSettings(**form))
    assert not list((tmp_path / "rows").glob("*"))


def test_memory_does_not_grow_with_the_text(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    """Blocks of a long document are written one by one, and rows go on from one to the next."""
    line = " ".join(f"w{number % 40}" for number in range(60)) + "\n"
    path = tmp_path / "long.txt"
    path.write_text(line * 12_000)  # more than one block
    shard = tmp_path / "train.hdf5"
    done: list[int] = []
    make_rows([path], tokenizer, [shard], RowSettings(128), on_progress=done.append)
    assert len([size for size in done if size]) > 1
    assert sum(done) == path.stat().st_size
    rows = rows_of(shard)
    assert {len(row) for row in rows[:-1]} == {126}
    assert np.concatenate(rows).tolist() == [5 + number % 60 % 40 for number in range(720_000)]
