"""What others can write to is not believed; without a home folder there is no cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.files import download as module
from paddlenlp_ext.files.download import download, private_folder
from paddlenlp_ext.files.sources import resolve
from paddlenlp_ext.files.web import DownloadError
from paddlenlp_ext.tasks import token_cache
from paddlenlp_ext.tasks.download import fetch, official_folder
from paddlenlp_ext.tasks.task import Archive, TextExample
from paddlenlp_ext.tasks.token_cache import TokenCache, TokenRows
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.weights.formats.safe_tensors import write_safetensors
from tests.files.server import serving
from tests.tasks.test_download import qqp

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg"]
ROWS = [TextExample("a b", None, 0, f"row {n}") for n in range(3)]
IDS = [2, 5, 3]


def made() -> TokenRows:
    return TokenRows(*([[np.array(row, np.int32)] * 3 for row in (IDS, [0, 0, 0])]))


@pytest.fixture
def vocabulary(tmp_path: Path) -> BertTokenizer:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return BertTokenizer(tmp_path / "vocab.txt")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path / "home"))
    umask = os.umask(0o002)
    yield tmp_path / "home"
    os.umask(umask)


class Rows:
    """Asks a cache for the rows, and counts how often they had to be made."""

    def __init__(self, cache: TokenCache, tokenizer: BertTokenizer) -> None:
        self.cache, self.tokenizer, self.made = cache, tokenizer, 0

    def __call__(self, max_length: int = 8) -> list[list[int]]:
        def make() -> TokenRows:
            self.made += 1
            return made()

        rows = self.cache.rows(ROWS, self.tokenizer, max_length, make)
        return [row.tolist() for row in rows.input_ids]


@pytest.fixture
def rows(home: Path, vocabulary: BertTokenizer) -> Rows:
    return Rows(TokenCache(home / "tokenized", min_rows=1), vocabulary)


def test_folders_of_the_cache_are_the_users_alone(home: Path, rows: Rows) -> None:
    rows()
    private_folder(home / "models" / "some" / "preset")
    for folder in (".", "tokenized", "models", "models/some", "models/some/preset"):
        assert (home / folder).stat().st_mode & 0o777 == 0o700
    assert rows() == [IDS] * 3
    assert rows.made == 1


GOOD = {"input_ids": IDS * 3, "lengths": [3] * 3, "token_type_ids": [0, 1, 1] * 3}


@pytest.mark.parametrize(
    "forged",
    [
        {"input_ids": [-5] * 9},
        {"input_ids": [2, 5, 12] * 3},  # the vocabulary has 12
        {"input_ids": [99_999] * 9, "lengths": [-3, 9, 3]},
        {"lengths": [0, 6, 3]},
        {"lengths": [9, 0, 0]},
        {"lengths": [1, 1, 7]},
        {"lengths": 3},
        {"lengths": [[3, 3, 3]]},
        {"lengths": [3, 3]},
        {"lengths": [2**31 - 1, 2**31 - 1, 3]},
        {"input_ids": [IDS] * 3},
        {"input_ids": IDS},
        {"input_ids": np.array(IDS * 3, np.int64)},
        {"input_ids": np.array(IDS * 3, np.float32)},
        {"token_type_ids": [0, -1, 0] * 3},
        {"token_type_ids": [0, 7, 0] * 3},
        {"token_type_ids": [0]},
    ],
)
def test_forged_ids_are_not_used(
    rows: Rows, forged: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    rows(5)
    (path,) = (rows.cache.folder or Path()).iterdir()
    arrays: dict[str, Any] = {
        name: value if isinstance(value, np.ndarray) else np.array(value, np.int32)
        for name, value in (GOOD | forged).items()
    }
    write_safetensors(path, arrays, {"sha256": token_cache._digest_of_arrays(arrays)})
    assert rows(5) == [IDS] * 3
    assert rows.made == 2
    assert caplog.messages == [f"{path}: is damaged; the texts are tokenized again"]
    assert rows(5) == [IDS] * 3
    assert rows.made == 2


def test_what_is_as_it_should_be_is_used(rows: Rows) -> None:
    rows()
    (path,) = (rows.cache.folder or Path()).iterdir()
    arrays = {name: np.array(value, np.int32) for name, value in GOOD.items()}
    write_safetensors(path, arrays, {"sha256": token_cache._digest_of_arrays(arrays)})
    rows()
    assert rows.made == 1


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def open_to_the_group(folder: Path) -> None:
    folder.chmod(0o770)


def of_another(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    os.chown(folder, 12_345, 12_345)


SPOILED = (open_to_all, open_to_the_group, of_another)


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("place", [".", "tokenized"])
def test_ids_in_a_folder_of_others_are_not_used(
    rows: Rows,
    home: Path,
    spoil: Callable[[Path], None],
    place: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows()
    spoil(home / place)
    assert rows() == [IDS] * 3
    assert rows.made == 2
    (line,) = caplog.messages
    assert "not used" in line
    assert "the run goes on" in line


def test_ids_of_another_user_or_behind_a_link_are_made_anew(rows: Rows, home: Path) -> None:
    rows()
    (path,) = (home / "tokenized").iterdir()
    (home / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(home / "elsewhere")
    rows()
    assert rows.made == 2
    assert not path.is_symlink()
    if not os.geteuid():
        os.chown(path, 12_345, 12_345)
        rows()
        assert rows.made == 3


def test_only_files_that_were_written_here_are_pruned(
    rows: Rows, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows()
    mine = [home / "tokenized" / name for name in ("mine.safetensors", "0" * 64 + ".safetensors")]
    for path in mine:
        path.write_bytes(b"mine")
    monkeypatch.setattr(token_cache, "MAX_BYTES", 0)
    rows(7)
    assert len([*(home / "tokenized").iterdir()]) == 3
    assert [path.read_bytes() for path in mine] == [b"mine"] * 2


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("place", [".", "data", "data/glue", "data/glue/QQP", "archives"])
def test_data_in_a_folder_of_others_are_refused(
    home: Path, spoil: Callable[[Path], None], place: str
) -> None:
    private_folder(home / "archives")
    task = qqp(home, b"0\t1\t2\tWho?\tWhere?\t0\n" * 3)
    folder = official_folder(task)
    if place == "archives":
        (folder / "train.tsv").unlink()
    spoil(home / place)
    with pytest.raises(DataError, match=r"not used; .* mode 700.*`data_dir`"):
        official_folder(task)


@pytest.mark.parametrize("name", ["train.tsv", "manifest.json"])
@pytest.mark.parametrize("kind", ["a link", "of another"])
def test_files_of_others_are_unpacked_again(home: Path, name: str, kind: str) -> None:
    private_folder(home / "archives")
    task = qqp(home, b"0\t1\t2\tWho?\tWhere?\t0\n" * 3)
    path = official_folder(task) / name
    whole = path.read_bytes()
    if kind == "a link":
        path.rename(home / "elsewhere")
        path.symlink_to(home / "elsewhere")
    else:
        of_another(path)
    official_folder(task)
    assert path.read_bytes() == whole
    assert not path.is_symlink()
    assert path.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_preset_in_a_folder_of_others_is_refused(
    home: Path, spoil: Callable[[Path], None]
) -> None:
    folder = private_folder(home / "models" / "ernie-1.0")
    (folder / "vocab.txt").write_text("x")
    assert resolve("ernie-1.0").fetch("vocab.txt") == folder / "vocab.txt"
    spoil(folder)
    with pytest.raises(UserError, match="not used"):
        resolve("ernie-1.0").fetch("vocab.txt")


@pytest.mark.parametrize("kind", ["link", "hard link", "FIFO"])
def test_a_part_that_is_no_part_is_not_written_to(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    part = tmp_path / "f.part"
    {"link": lambda: part.symlink_to(mine), "hard link": lambda: part.hardlink_to(mine)}.get(
        kind, lambda: os.mkfifo(part)
    )()
    with serving() as server:
        server.files["/f"] = b"bytes of the server"
        digest = "3b71dd5ec8dcfc3f47fa1d60c7a5ac8b8c8ee1ba7ad4e3bb4ab0b4d5a5f2e1c0"
        with pytest.raises(DownloadError, match="expected SHA-256"):
            download(f"{server.address}/f", tmp_path / "f", sha256=digest)
        download(f"{server.address}/f", tmp_path / "f")
    assert mine.read_text() == "mine"
    assert (tmp_path / "f").read_bytes() == b"bytes of the server"


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / "f.lock").symlink_to(mine)
    with pytest.raises(DownloadError, match=r"f: cannot be written: is a link"):
        download("http://localhost:9/f", tmp_path / "f")
    assert mine.read_text() == "mine"


@pytest.fixture
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("PADDLENLP_EXT_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", nobody)


@pytest.mark.usefixtures("_no_home")
def test_without_a_home_folder_there_is_no_cache(vocabulary: BertTokenizer) -> None:
    cache = TokenCache.default()
    assert cache.folder is None
    asked = Rows(cache, vocabulary)
    assert [asked(), asked()] == [[IDS] * 3] * 2
    assert asked.made == 2


@pytest.mark.usefixtures("_no_home")
def test_what_needs_the_cache_asks_for_a_folder(tmp_path: Path) -> None:
    said = "this user has no home folder; set PADDLENLP_EXT_HOME"
    with pytest.raises(DataError, match=said):
        official_folder(qqp(tmp_path, b"0\t1\t2\tWho?\tWhere?\t0\n"))
    with pytest.raises(UserError, match=said):
        fetch(Archive("https://example.org/a.zip", 1, "0" * 64))


def test_a_folder_elsewhere_needs_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "other")
    assert private_folder(tmp_path / "mine") == tmp_path / "mine"


def test_without_a_temporary_folder_texts_are_tokenized(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere(*_: object, **__: object) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkdtemp", nowhere)
    assert rows() == [IDS] * 3
    assert "the run goes on" in caplog.text
