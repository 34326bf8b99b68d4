"""Folders for unfinished work, which a later process can prove to be this package's.

A name proves nothing: users have hidden folders, too. So each of these folders has a mark in it
that names the folder and its number on the disk; a copy of it, or a folder that somebody has given
the same name, does not fit. What has no such mark is nobody's to delete.
"""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from paddlenlp_ext.files.disk import sync_folder

WORK = "work"  # what is being written; goes with the folder
MARK = "made-by-paddlenlp_ext"

_NAME = re.compile(r"\.tmp-(.+)-[0-9a-f]{32}", re.DOTALL)


def make_scratch(parent: Path, name: str) -> Path:
    """Make a marked folder beside what it will become, with an empty folder `work` in it.

    Args:
        parent: Where; made if it is not there.
        name: Of what it will become.

    Raises:
        OSError: It cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f".tmp-{name}-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700)
    try:
        with (folder / MARK).open("x", encoding="utf-8") as file:
            file.write(_mark_of(folder))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(folder)
        (folder / WORK).mkdir()
    except OSError:
        discard(folder)
        raise
    return folder


def abandoned(parent: Path) -> Iterator[tuple[Path, str]]:
    """Yield the marked folders in a folder, and the names of what they would have become.

    The caller makes sure, by a lock, that none of them is another process's work.
    """
    for folder in sorted(parent.glob(".tmp-*")):
        found = _NAME.fullmatch(folder.name)
        if found and _is_marked(folder):
            yield folder, found[1]


def discard(folder: Path) -> None:
    """Delete a marked folder and the work in it; if there is anything else in it, it stays."""
    shutil.rmtree(folder / WORK, ignore_errors=True)
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {MARK}:
            (folder / MARK).unlink(missing_ok=True)
            folder.rmdir()


def _mark_of(folder: Path) -> str:
    number = folder.lstat().st_ino
    return f"paddlenlp_ext made this folder and deletes it: {folder.name}, inode {number}\n"


def _is_marked(folder: Path) -> bool:
    """Return whether the mark fits; one that a kill cut short fits a folder without contents."""
    try:
        if folder.is_symlink() or (folder / MARK).is_symlink():
            return False
        held = {path.name for path in folder.iterdir()}
        mark = (folder / MARK).read_text(encoding="utf-8") if MARK in held else ""
        expected = _mark_of(folder)
        return mark == expected or (held <= {MARK} and expected.startswith(mark))
    except (OSError, ValueError):
        return False
