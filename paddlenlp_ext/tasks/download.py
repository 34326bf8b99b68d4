"""Get the official files of a data set: download, check, unpack, and leave out broken rows.

Archives are kept in `archives/` and unpacked files in `data/` of the cache folder
($PADDLENLP_EXT_HOME, by default ~/.cache/paddlenlp_ext); both are verified before each use: the
archives by the digests in their task's row, the files by a list beside them, made when they were
unpacked. What was put there by hand, or was changed since, is not what it is called.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from paddlenlp_ext.errors import DataError, WeightsError
from paddlenlp_ext.files.disk import read_object, replacing, sha256_of
from paddlenlp_ext.files.download import (
    cache_folder,
    download,
    is_own_file,
    locked,
    private_folder,
)
from paddlenlp_ext.files.scratch import WORK, abandoned, discard, make_scratch
from paddlenlp_ext.files.web import DownloadError
from paddlenlp_ext.tasks.archives import extract, opened
from paddlenlp_ext.tasks.rows import BOM, BadRow, read_rows
from paddlenlp_ext.tasks.task import Archive, Table, Task

MAX_BAD_ROWS = 0.001  # proportion of a file's rows; of QQP's, the worst, some 0.00007 are broken
MANIFEST = "manifest.json"

logger = logging.getLogger(__name__)


def official_folder(
    task: Task, split: str | None = None, files: Sequence[str] | None = None
) -> Path:
    """Return a folder with the official files of a task, downloaded on the first use.

    Files that are not as they were unpacked are unpacked again, with a warning.

    Args:
        task: Whose files.
        split: The one that is needed, all labelled ones if absent: it may have an archive of its
            own.
        files: Those of the split's files that are needed; all if absent.

    Returns:
        What the readers take as `data_dir`.

    Raises:
        DataError: The files cannot be had; the message has the address and the place to put the
            file by hand.
    """
    if not task.archives:
        raise DataError(
            f"{task.name} has no official archive; give a folder with the data as `data_dir`"
        )
    folder = _own_folder("data", task.folder or task.name)
    try:
        with locked(Path(f"{folder}.lock")):
            for archives, tables in _needed(task, split, files):
                sources = [archive.sha256 for archive in archives]
                if _find_changed(folder, tables, sources):
                    _unpack(folder, task, archives, tables)
                    _note(folder, tables, sources)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder


def fetch(archive: Archive) -> Path:
    """Return an archive in the cache, downloaded if need be; its bytes are the published ones.

    Raises:
        DataError: It cannot be had, or a file that was put there by hand is another one.
    """
    path = _own_folder("archives") / archive.name
    try:
        download(archive.url, path, sha256=archive.sha256, size=archive.size)
    except DownloadError as error:
        raise DataError(
            f"{archive.url}: {error}; download it elsewhere and put it at {path}, or give a folder "
            "with the data as `data_dir`"
        ) from error
    return path


def _own_folder(*names: str) -> Path:
    """Make a folder of the cache that nobody else can write to, if it is not there.

    Raises:
        DataError: It cannot be had; the message says what to do.
    """
    try:
        folder = cache_folder().joinpath(*names)
        return private_folder(folder)
    except DownloadError as error:
        raise DataError(f"{error}, or give a folder with the data as `data_dir`") from error
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _needed(
    task: Task, split: str | None, files: Sequence[str] | None
) -> Iterator[tuple[tuple[Archive, ...], dict[str, Table]]]:
    """Yield archives and the needed files that are made of them."""
    groups: list[tuple[Archive, ...]] = [(one,) for one in task.archives]
    if task.unpack:  # makes of several what has no archive of its own
        of_all = tuple(one for one in task.archives if not one.splits)
        groups = [of_all, *((one,) for one in task.archives if one.splits)]
    elsewhere = {one for archive in task.archives for one in archive.splits}
    for archives in groups:
        held = archives[0].splits
        tables = {
            name: task.table(one)
            for one in (task.splits if split is None else [split])
            if (one in held if held else one not in elsewhere)
            for name in files or task.official_files(one)
        }
        if tables:
            yield archives, tables


def _unpack(
    folder: Path, task: Task, archives: Sequence[Archive], tables: Mapping[str, Table]
) -> None:
    """Unpack files beside the task's folder, and move them there without their broken rows."""
    for leftover, name in abandoned(folder.parent):  # of a process that was killed
        if name == folder.name:
            discard(leftover)
    scratch = make_scratch(folder.parent, folder.name)
    raw = scratch / WORK
    try:
        if task.unpack:
            with ExitStack() as stack:
                sources = [opened(fetch(archive), archive.sha256) for archive in archives]
                task.unpack(raw, *map(stack.enter_context, sources))
        else:
            (archive,) = archives
            members = {archive.folder + name: raw / name for name in tables}
            extract(fetch(archive), members, archive.sha256)
        made = [*tables]
        labelled = [name for name in tables if tables[name].label is not None]
        if task.checks_official_rows and labelled:  # of rows to predict, each one is asked for
            bad_rows = [row for name in labelled for row in _clean(raw / name, task, tables[name])]
            report = "".join(f"{source}: {reason}\n" for source, reason in bad_rows)
            (raw / "bad_rows.txt").write_text(report, encoding="utf-8")
            made.append("bad_rows.txt")
        for name in made:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(raw / name, folder / name)
    finally:
        discard(scratch)


def _clean(path: Path, task: Task, table: Table) -> list[BadRow]:
    """Leave out the rows that cannot be read, and return them; line numbers are the archive's."""
    clean = path.with_name(path.name + ".clean")
    bad_rows, num_rows = [], 0
    with path.open("rb") as before, clean.open("wb") as after:
        if table.columns is None:
            after.write(before.readline().removeprefix(BOM))
        for line, row in read_rows(path, task, table):
            num_rows += 1
            if isinstance(row, BadRow):
                bad_rows.append(row)
            else:
                after.write(line + b"\n")
    if len(bad_rows) > MAX_BAD_ROWS * num_rows:
        first = f"{bad_rows[0].source}: {bad_rows[0].reason}"
        raise DataError(
            f"{task.name}: {len(bad_rows)} of {num_rows} rows of {path.name} cannot be used, the "
            f"first is {first}; give a folder with the data as `data_dir`"
        )
    os.replace(clean, path)
    return bad_rows


def _find_changed(folder: Path, names: Iterable[str], sources: Sequence[str]) -> bool:
    """Read files: is one of them not there, or not as it was unpacked from these archives?"""
    noted = _read_manifest(folder)
    changed = False
    for name in names:
        path = folder / name
        is_there = os.path.lexists(path)
        if is_there and is_own_file(path) and noted.get(name) == _facts(path, sources):
            continue
        if is_there:
            logger.warning("%s: is not what was unpacked there; it is unpacked again", path)
        changed = True
    return changed


def _note(folder: Path, names: Iterable[str], sources: Sequence[str]) -> None:
    """Write down the digests of files that were just unpacked."""
    noted = _read_manifest(folder) | {name: _facts(folder / name, sources) for name in names}
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _read_manifest(folder: Path) -> dict[str, object]:
    """Read the list of files; one that is absent, broken or another user's lists nothing."""
    path = folder / MANIFEST
    try:
        return read_object(path) if os.path.lexists(path) and is_own_file(path) else {}
    except WeightsError:
        return {}


def _facts(path: Path, sources: Sequence[str]) -> list[str]:
    with path.open("rb") as file:
        return [sha256_of(file), *sources]
