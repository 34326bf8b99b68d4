"""What a user has is neither deleted, nor renamed, nor overwritten, whatever it is called."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paddlenlp_ext.files.scratch import MARK, WORK, make_scratch
from paddlenlp_ext.training import folders
from paddlenlp_ext.training.folders import publish, sweep

FILES = {"model.bin": b"weights", "inner/vocab.txt": b"a\nb\n"}


def write(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


OLD_NAMES = (".tmp-sketches-7", ".old-drafts-12", ".tmp-model_3-4711", ".old-model_3-1")
NEW_NAMES = (".tmp-model_3-" + "0" * 32, ".tmp-a-b-" + "9f" * 16)
# An empty folder with one of the new names is what a kill leaves of an unfinished one.
HELD = (MARK, WORK, "mine.txt", f"{WORK}/mine.txt")


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        *((name, None) for name in OLD_NAMES),
        *((name, held) for name in (*OLD_NAMES, *NEW_NAMES) for held in HELD),
    ],
)
def test_hidden_folders_of_the_user_stay(tmp_path: Path, name: str, holds: str | None) -> None:
    (tmp_path / name).mkdir()
    if holds is not None:
        (tmp_path / name / holds).parent.mkdir(exist_ok=True)
        (tmp_path / name / holds).write_text("mine")
        (tmp_path / name / "more.txt").write_text("mine, too")
    before = contents(tmp_path)
    sweep(tmp_path)
    publish(tmp_path / "model_3", write, {})
    assert {k: v for k, v in contents(tmp_path).items() if not k.startswith("model_3")} == before


def test_a_copy_of_unfinished_work_stays_and_the_work_itself_goes(tmp_path: Path) -> None:
    made = make_scratch(tmp_path, "model_3")
    (made / WORK / "half.bin").write_bytes(b"half")
    other = tmp_path / ".tmp-mine-00000000000000000000000000000001"
    shutil.copytree(made, other)
    elsewhere = tmp_path / "elsewhere" / made.name
    shutil.copytree(made, elsewhere)
    sweep(tmp_path)
    sweep(elsewhere.parent)
    assert not made.exists()
    assert (other / WORK / "half.bin").exists()
    assert (elsewhere / WORK / "half.bin").exists()


def test_what_was_moved_aside_is_put_back(tmp_path: Path) -> None:
    publish(tmp_path / "model_3", write, {})
    made = make_scratch(tmp_path, "model_3")
    os.rename(tmp_path / "model_3", made / folders.MOVED)
    sweep(tmp_path)
    assert folders.damage(tmp_path / "model_3") is None
    assert [path.name for path in tmp_path.iterdir()] == ["model_3"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    publish(mine, write, {})
    before = contents(mine)
    out = tmp_path / "out"
    out.mkdir()
    name = ".tmp-model_3-00000000000000000000000000000002"
    (out / name).symlink_to(mine)
    (out / "model_3").symlink_to(mine)
    sweep(out)
    publish(out / "model_3", write, {})
    assert contents(mine) == before
    assert (out / name).is_symlink()
    assert (out / "model_3.before-1").is_symlink()
    assert folders.holds_more(out / "model_3.before-1")


def changed(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"changed")  # as many bytes


def longer(folder: Path) -> None:
    (folder / "inner/vocab.txt").write_bytes(b"a\nb\nmine\n")


def linked(folder: Path) -> None:
    (folder / "model.bin").unlink()
    (folder / "model.bin").symlink_to("elsewhere.bin")
    (folder / "elsewhere.bin").write_bytes(b"weights")


def copied(folder: Path) -> None:
    """Make a folder of one's own with the manifest of another."""
    shutil.copy(folder / folders.MANIFEST, folder.parent / "copy.json")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"thesis!")
    (folder.parent / "copy.json").rename(folder / folders.MANIFEST)


@pytest.mark.parametrize("change", [changed, longer, linked, copied])
def test_a_folder_in_which_a_file_was_changed_is_kept(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    publish(tmp_path / "model_3", write, {})
    assert not folders.holds_more(tmp_path / "model_3")
    change(tmp_path / "model_3")
    before = contents(tmp_path / "model_3")
    assert folders.holds_more(tmp_path / "model_3")
    publish(tmp_path / "model_3", write, {})
    assert contents(tmp_path / "model_3.before-1") == before


def test_a_folder_that_was_copied_whole_is_still_ours(tmp_path: Path) -> None:
    publish(tmp_path / "model_3", write, {})
    shutil.copytree(tmp_path / "model_3", tmp_path / "model_4")
    assert not folders.holds_more(tmp_path / "model_4")


@pytest.mark.parametrize(
    "name", ["../outside.bin", "/etc/hostname", "inner/../../outside.bin", ".."]
)
def test_a_manifest_names_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    publish(tmp_path / "model_3", write, {})
    (tmp_path / "outside.bin").write_bytes(b"mine")
    manifest = folders.read_manifest(tmp_path / "model_3")
    assert manifest is not None
    manifest["files"][name] = folders._fingerprint(tmp_path / "outside.bin")
    text = folders._manifest_text(manifest)
    (tmp_path / "model_3" / folders.MANIFEST).write_text(text)
    assert folders.read_manifest(tmp_path / "model_3") is None
    assert "manifest.json is missing or cannot be read" in (
        folders.damage(tmp_path / "model_3") or ""
    )


@pytest.mark.parametrize("files", [None, [], {"a": 1}, {"a": [1]}, {"a": ["1", "x"]}, {"a": []}])
def test_a_manifest_of_another_form_is_none(tmp_path: Path, files: object) -> None:
    text = folders._manifest_text({"files": files})
    (tmp_path / folders.MANIFEST).write_text(text)
    assert folders.read_manifest(tmp_path) is None
