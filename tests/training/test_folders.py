"""A folder is whole or not there, whatever operation fails or is the last before a kill."""

from __future__ import annotations

import errno
import io
import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from paddlenlp_ext.training import folders
from paddlenlp_ext.training.folders import MANIFEST, damage, publish, read_manifest, sweep

OPERATIONS = (
    *((os, name) for name in ("fsync", "rename", "replace", "mkdir", "open", "close", "unlink")),
    (io, "open"),
)
FILES = {"config.json": b"{}", "vocabulary/vocab.txt": b"a\nb\n", "weights.bin": bytes(range(256))}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed loses nothing that it has written, synced or not."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def write(folder: Path, mark: bytes = b"") -> None:
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content + mark)


def write_new(folder: Path) -> None:
    write(folder, b"new")


def whole(folder: Path) -> str | None:
    """Which version stands in a folder, with every byte of it."""
    if damage(folder) is not None:
        return None
    found = {(folder / name).read_bytes() for name in FILES}
    versions = {mark: {c + mark for c in FILES.values()} for mark in (b"", b"new")}
    return {b"": "old", b"new": "new"}[next(m for m, files in versions.items() if files == found)]


def hidden(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.name.startswith(".")]


def intercept(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> None:
    """Call `before` with its number ahead of every operation on files."""
    numbers = itertools.count()

    def wrap(original: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args, **options):
            before(next(numbers))
            return original(*args, **options)

        return wrapped

    for module, name in OPERATIONS:
        monkeypatch.setattr(module, name, wrap(getattr(module, name)))


def operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: bool) -> int:
    """Count the operations of a publication."""
    folder = prepared(tmp_path, "counted", replacing)
    counted = []
    with monkeypatch.context() as patch:
        intercept(patch, counted.append)
        publish(folder, write_new, {})
    assert len(counted) > 25
    return len(counted)


def caught(action: Callable[[], None]) -> OSError | None:
    try:
        action()
    except OSError as error:
        return error
    return None


def prepared(tmp_path: Path, name: str, replacing: bool) -> Path:
    folder = tmp_path / name / "model_3"
    folder.parent.mkdir()
    if replacing:
        publish(folder, write, {})
    return folder


@pytest.mark.parametrize("replacing", [False, True])
def test_killed_at_any_operation(tmp_path, monkeypatch, record_property, replacing):
    count = operations(tmp_path, monkeypatch, replacing)
    record_property("injections", count)
    for number in range(count):
        folder = prepared(tmp_path, str(number), replacing)

        def kill(current: int, number: int = number) -> None:
            if current == number:
                os._exit(9)

        child = os.fork()
        if child == 0:
            intercept(monkeypatch, kill)
            publish(folder, write_new, {})
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        sweep(folder.parent)
        assert whole(folder) in (("old", "new") if replacing else (None, "new"))
        assert folder.exists() == (whole(folder) is not None)
        assert hidden(folder.parent) == []


@pytest.mark.parametrize("replacing", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_failing_at_any_operation(tmp_path, monkeypatch, record_property, replacing, code):
    refused = 0
    count = operations(tmp_path, monkeypatch, replacing)
    record_property("injections", count)
    for number in range(count):
        folder = prepared(tmp_path, str(number), replacing)

        def fail(current: int, number: int = number) -> None:
            if current == number:
                raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            intercept(patch, fail)
            error = caught(lambda folder=folder: publish(folder, write_new, {}))
        if error is None:  # it failed in cleaning up only
            assert whole(folder) == "new"
        else:
            refused += 1
            assert error.errno == code
            assert whole(folder) in (("old", "new") if replacing else (None, "new"))
        sweep(folder.parent)
        assert hidden(folder.parent) == []
    assert refused > 20


def test_syncs_every_file_and_folder_before_the_rename(tmp_path, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}"))
    )
    rename = os.rename

    def check(source: Path, target: Path) -> None:
        temporary = [path.removeprefix(str(source)) for path in synced]
        manifest = next(name for name in temporary if "manifest" in name)
        assert {f"/{name}" for name in FILES} <= set(temporary[: temporary.index(manifest)])
        assert {"", "/vocabulary"} <= set(temporary[temporary.index(manifest) :])
        rename(source, target)

    monkeypatch.setattr(os, "rename", check)
    publish(tmp_path / "model_3", write, {})
    assert synced[-1] == str(tmp_path)


def test_says_what_was_written(tmp_path):
    folder = tmp_path / "model_3"
    publish(folder, write, {"step": 3, "name": "ü"})
    manifest = read_manifest(folder)
    assert manifest is not None
    assert (manifest["step"], manifest["name"]) == (3, "ü")
    assert sorted(manifest["files"]) == sorted(FILES)
    assert damage(folder) is None


def cuts(size: int) -> list[int]:
    """Eleven places to cut a file, or as many as it has."""
    return sorted({size * k // 11 for k in range(11)})


def test_finds_every_truncation_deletion_and_addition(tmp_path, record_property):
    folder = tmp_path / "model_3"
    publish(folder, write, {"step": 3})
    injections = 0
    for name in (*FILES, MANIFEST):
        path = folder / name
        content = path.read_bytes()
        injections += len(cuts(len(content))) + 2
        for size in cuts(len(content)):
            path.write_bytes(content[:size])
            assert name in (damage(folder) or "")
        path.write_bytes(content + b"x")
        assert name in (damage(folder) or "")
        path.unlink()
        assert name in (damage(folder) or "")
        path.write_bytes(content)
    record_property("injections", injections)
    assert damage(folder) is None
    assert "no such folder" in (damage(tmp_path / "model_4") or "")


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_finds_every_bit_flip(tmp_path, record_property, name):
    record_property("injections", 200)
    folder = tmp_path / "model_3"
    publish(folder, write, {"step": 3})
    path = folder / name
    content = path.read_bytes()
    choose = random.Random(5)
    for _ in range(200):
        flipped = bytearray(content)
        flipped[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        path.write_bytes(flipped)
        assert name in (damage(folder) or "")


def test_keeps_a_folder_that_is_not_ours(tmp_path):
    for number in (1, 2):
        (tmp_path / "model_3").mkdir()
        (tmp_path / "model_3" / "mine.txt").write_text(str(number))
        publish(tmp_path / "model_3", write, {})
        assert (tmp_path / f"model_3.before-{number}" / "mine.txt").read_text() == str(number)
        folders.remove(tmp_path / "model_3")
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("name", ["mine.txt", "vocabulary/mine.txt", "mine/model.bin", "mine/"])
def test_keeps_what_was_put_into_a_folder_of_ours(tmp_path, name):
    publish(tmp_path / "model_3", write, {})
    assert not folders.holds_more(tmp_path / "model_3")
    mine = tmp_path / "model_3" / name
    (mine if name.endswith("/") else mine.parent).mkdir(exist_ok=True)
    if not name.endswith("/"):
        mine.write_text("mine")
    assert folders.holds_more(tmp_path / "model_3")
    assert damage(tmp_path / "model_3") is None
    publish(tmp_path / "model_3", write_new, {})
    assert whole(tmp_path / "model_3") == "new"
    assert (tmp_path / "model_3.before-1" / name).exists()
