"""Labels as files write them: numbers in several forms, paths of lists, and scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks import own
from tests.tasks.test_own import read


def test_a_whole_number_is_one_class_in_all_files(tmp_path: Path) -> None:
    rows = {"train": "a,1.0\nb,0.0", "more": "a,1\nb,-2.", "dev": "a,0\nb,-2"}
    paths = {name: str(tmp_path / f"{name}.csv") for name in rows}
    for name, path in paths.items():
        Path(path).write_text(f"text,label\n{rows[name]}\n")
    files = {"train_file": [paths["train"], paths["more"]], "validation_file": [paths["dev"]]}
    data = read(tmp_path, "", "none.csv", **files)
    assert data.task.labels == ("-2.", "0.0", "1")
    assert [one.label for one in data.splits["train"]] == [2, 1, 2, 0]
    assert [one.label for one in data.splits["dev"]] == [1, 0]
    data = read(tmp_path, "text,label\na,1.0\nb,0\n", labels=["0", "1"])
    assert [one.label for one in data.splits["train"]] == [1, 0]


def test_numbers_of_other_texts_are_other_classes(tmp_path: Path) -> None:
    assert read(tmp_path, "text,label\na,01\nb,1\n").task.labels == ("01", "1")
    data = read(tmp_path, "text,label\na,1\nb,1.0\n", labels=["1", "1.0"])  # as they are given
    assert [one.label for one in data.splits["train"]] == [0, 1]
    with pytest.raises(DataError, match=r"two labels or more in column 'label', got 1"):
        read(tmp_path, "text,label\na,1\nb,1.0\n")


def test_labels_and_paths_of_lists(tmp_path: Path) -> None:
    rows = json.dumps({"text": "a", "label": ["a/b"]})

    def labels(*given: str) -> Any:
        return read(tmp_path, rows, "a.jsonl", labels=[*given]).task.labels

    assert labels("a/b") == ("a/b",)
    (tmp_path / "list").write_text("a/b\nc\n")
    assert labels(str(tmp_path / "list")) == ("a/b", "c")
    for path in ("~nobody9/l.txt", "x" * 5_000 + ".txt", "./labels"):
        with pytest.raises(DataError, match=r"`labels`: .*cannot be read"):
            labels(path)
    with pytest.raises(DataError, match=r"a\.jsonl:1: expected a label of x,x.* got 'a/b'"):
        labels(",".join("x" * 200))


def test_a_file_is_read_again_only_where_a_score_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_split = own.read_split
    times: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        times.append(1)
        return read_split(*args, **options)

    monkeypatch.setattr(own, "read_split", counted)
    table = "text,score\na,1.5\nb,-2\n"
    read(tmp_path, table)
    assert len(times) == 1
    with pytest.raises(DataError, match=r"train\.csv:6"):
        read(tmp_path, table + "c,3\nd,4\ne,N/A\n")
    assert len(times) == 3
