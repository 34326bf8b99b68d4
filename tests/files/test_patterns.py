"""Files that a user names by paths and patterns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.files.patterns import find_files


def test_files_come_in_the_order_of_their_patterns_each_once(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c[1].txt", "in/d.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    patterns = ["c[1].txt", "*", "a.json", "**/d.json"]
    found = find_files([f"{tmp_path}/{one}" for one in patterns], "train_file")
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["c[1].txt", "a.json", "b.json", "in/d.json"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("d*.txt", r"/d\*\.txt: no such file \(`test_file`\); give a path, or one with \*"),
        ("gone", "/gone: no such file"),
        ("in", r"/in: is a folder; give the files in it as `test_file` /.*/in/\*"),
        ("fifo", "/fifo: is a FIFO, a device or a socket; expected a regular file"),
        ("link", "/link: no such file"),
    ],
)
def test_what_is_no_file_is_refused(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=problem):
        find_files([str(tmp_path / name)], "test_file")
