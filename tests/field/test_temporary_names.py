"""Links at names that can be guessed are not followed; a full disk says what it lacks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import replace_file, unwritten
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.training.folders import write_text
from paddlenlp_ext.training.results import History
from tests.scripts import multilingual


@contextmanager
def texts(path: Path) -> Iterator[Path]:
    """Write as `write_text` does."""
    yield path.with_name("new")
    write_text(path, path.with_name("new").read_text())


@pytest.mark.parametrize("name", ["a.bin", "model.safetensors", "config.json"])
@pytest.mark.parametrize("replace", [replace_file, texts])
def test_a_link_at_a_temporary_name_is_not_followed(
    tmp_path: Path, name: str, replace: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for guess in (f".{name}.tmp-{os.getpid()}", f".{name}-{os.getpid()}", f"{name}.tmp", name):
        (tmp_path / guess).symlink_to(mine)
    with replace(tmp_path / name) as temporary:
        temporary.write_bytes(b"other")
    assert mine.read_text() == "mine"
    assert not (tmp_path / name).is_symlink()
    assert (tmp_path / name).read_bytes() == b"other"


def bert(folder: Path) -> Tokenizer:
    (folder / "v.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]))
    return BertTokenizer(folder / "v.txt")


def rembert(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(multilingual.rembert(folder / "rembert"))


def ernie_m(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(multilingual.ernie_m(folder / "ernie-m"))


def xlm_r(folder: Path) -> Tokenizer:
    return AutoTokenizer.from_pretrained(multilingual.xlm_r(folder / "xlm-r"))


@pytest.mark.parametrize("make", [bert, rembert, ernie_m, xlm_r])
def test_a_tokenizer_is_not_saved_through_links(
    tmp_path: Path, make: Callable[[Path], Tokenizer]
) -> None:
    for name in ("rembert", "ernie-m", "xlm-r"):
        (tmp_path / name).mkdir()
    tokenizer = make(tmp_path)
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    paths = tokenizer.save_pretrained(tmp_path / "names")
    for path in paths:
        (out / path.name).symlink_to(mine)
    assert {path.name for path in tokenizer.save_pretrained(out)} == {path.name for path in paths}
    assert mine.read_text() == "mine"
    assert all((out / path.name).read_bytes() == path.read_bytes() for path in paths)


def test_a_history_is_not_written_through_a_link(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for guess in ("history.jsonl", f".history.jsonl-{os.getpid()}"):
        (tmp_path / guess).symlink_to(mine)
    History(tmp_path)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "history.jsonl").is_symlink()


def test_a_disk_without_inodes_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_favail=0))
    said = unwritten(error, tmp_path / "f")
    assert "all inodes of the disk are taken; delete files" in said
    assert "bytes are free" not in said


@pytest.mark.parametrize(("files", "free"), [(1000, 1), (0, 0)])
def test_a_disk_without_bytes_says_how_many_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, free: int
) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    facts = SimpleNamespace(
        f_files=files, f_favail=free, f_bavail=7, f_frsize=1, f_blocks=9, f_bfree=7
    )
    monkeypatch.setattr(os, "statvfs", lambda _: facts)
    assert "(7 bytes are free)" in unwritten(error, tmp_path / "f")


def test_a_folder_that_cannot_be_written_to_is_still_named(tmp_path: Path) -> None:
    with (
        pytest.raises(WeightsError, match=r"there/a\.bin: cannot be written: No such file"),
        replace_file(tmp_path / "not" / "there" / "a.bin") as temporary,
    ):
        temporary.write_bytes(b"x")
