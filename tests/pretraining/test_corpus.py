"""Documents are found whole and in bounded blocks, and bad lines are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.corpus import LONGEST_LINE, corpus_files, read_blocks


def documents(files: list[Path], block_bytes: int = 1 << 20) -> list[list[str]]:
    return [document for block in read_blocks(files, block_bytes) for document in block.documents]


def test_empty_lines_and_files_end_documents(tmp_path):
    (tmp_path / "b.txt").write_text("four\n\n", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf\n one \r\ntwo\n\n \n\nthree")
    (tmp_path / "c.md").write_text("not read")
    files = corpus_files(tmp_path)
    assert documents(files) == [["one", "two"], ["three"], ["four"]]
    assert documents([tmp_path / "b.txt", tmp_path / "a.txt"])[0] == ["four"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize("block_bytes", [1, 25, 60, 10_000])
def test_blocks_hold_the_corpus_and_never_a_lone_document(tmp_path, count, block_bytes):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(f"sentence {number}\n" for number in range(count)))
    blocks = list(read_blocks([path], block_bytes))
    assert [block.number for block in blocks] == list(range(len(blocks)))
    assert [sentence for block in blocks for (sentence,) in block.documents] == [
        f"sentence {number}" for number in range(count)
    ]
    assert sum(block.size for block in blocks) == path.stat().st_size
    assert all(len(block.documents) > 1 for block in blocks) or count == 1
    # Two documents at least, then as few as have the size; the last block takes what is left.
    assert all(block.size <= max(block_bytes + 15, 30) for block in blocks[:-1])


def test_a_document_without_end_is_cut(tmp_path, caplog):
    path = tmp_path / "corpus.txt"
    path.write_text("a sentence of thirty characters\n" * 100)
    blocks = list(read_blocks([path], 320))
    assert max(block.size for block in blocks[:-1]) <= 320 + 128
    assert sum(len(document) for block in blocks for document in block.documents) == 100
    assert "corpus.txt: documents of more than 80 bytes were cut 33 times" in caplog.text


BAD = {
    "not UTF-8": (b"one\ntwo\n\xff\xfe\n", r"corpus\.txt:3: is not UTF-8 .* at byte 1"),
    "long line": (b"one\n" + b"x" * (LONGEST_LINE + 1), r"corpus\.txt:2: has more than 1,000,000"),
    "empty": (b"\n \n\n", r"corpus\.txt: holds no sentence"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named(tmp_path, case):
    content, message = BAD[case]
    (tmp_path / "corpus.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        documents([tmp_path / "corpus.txt"])


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: there is no such file"):
        corpus_files(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no \*\.txt file"):
        corpus_files(tmp_path)
