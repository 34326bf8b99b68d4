"""Put whole folders in place: complete or not at all, whenever the process is killed.

A folder is written in a marked folder beside its place (`files.scratch`), every file is synced to
the disk, a manifest with the size and SHA-256 of each is written last, and the folder is renamed.
So a folder whose manifest fits its files is whole, also after it was copied to another machine;
anything else is not used.
"""

import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import read_file, replacing, sha256_of
from paddlenlp_ext.files.scratch import WORK, abandoned, discard, make_scratch
from paddlenlp_ext.weights.folders import CARD

MANIFEST = "manifest.json"
LATEST = "latest"  # a file with the name of the newest checkpoint
BEST = "best"  # the same of the best one, where models are evaluated
MOVED = "moved"  # what stood in the place, in the marked folder
MAX_MANIFEST = 16 << 20  # bytes
MAX_TEXT = 4 << 10  # bytes of another file that is written here

logger = logging.getLogger(__name__)

Manifest = dict[str, Any]


def publish(folder: Path, write: Callable[[Path], None], facts: Mapping[str, object]) -> None:
    """Write a folder and put it in its place.

    What stood there is moved aside first; it is deleted if it holds what a manifest names and
    nothing else, and otherwise kept beside it as `<name>.before-<n>`, since it may be the user's.

    Args:
        folder: The place.
        write: Writes the files into the folder that it is given.
        facts: What the manifest says besides the files.

    Raises:
        OSError: Something cannot be written; what stood in the place before still does.
    """
    scratch = make_scratch(folder.parent, folder.name)
    temporary, aside = scratch / WORK, scratch / MOVED
    try:
        write(temporary)
        files = {}
        for path in _files(temporary):
            _sync(path)
            files[path.relative_to(temporary).as_posix()] = _fingerprint(path)
        write_text(temporary / MANIFEST, _manifest_text({**facts, "files": files}))
        for inner in (path for path in temporary.rglob("*") if path.is_dir()):
            _sync(inner)
        _sync(temporary)
        if os.path.lexists(folder):
            os.rename(folder, aside)
        os.rename(temporary, folder)
        _sync(folder.parent)
    except Exception:
        if os.path.lexists(aside) and not os.path.lexists(folder):
            os.rename(aside, folder)
        discard(scratch)
        raise
    _retire(scratch, folder)


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a folder; None where there is none that is as it was written."""
    try:
        text = read_file(folder / MANIFEST, MAX_MANIFEST).decode()
        manifest: Manifest = json.loads(text)
        del manifest["sha256"]
        is_whole = text == _manifest_text(manifest) and _are_files(manifest["files"])
        return manifest if is_whole else None
    except (WeightsError, ValueError, TypeError, KeyError, RecursionError):
        return None


def model_of_run(folder: Path) -> Path | None:
    """Return the best model in the output folder of a run, or else the newest; None without one.

    A folder that has a config itself is a model's, whatever else it has.
    """
    if (folder / "config.json").is_file():
        return None
    for pointer in (BEST, LATEST):
        try:
            name = Path(read_file(folder / pointer, MAX_TEXT).decode().strip()).name
        except (WeightsError, UnicodeDecodeError):
            continue
        if name and (folder / name / "config.json").is_file():
            return folder / name
    return None


def damage(folder: Path) -> str | None:
    """Say what is wrong with a folder, by its manifest; None when every byte is as written.

    The card is for people, and its owner may have edited it.
    """
    if not folder.is_dir():
        return f"{folder}: there is no such folder"
    manifest = read_manifest(folder)
    if manifest is None:
        return f"{folder}: {MANIFEST} is missing or cannot be read"
    for name, (size, digest) in manifest["files"].items():
        path = folder / name
        if name == CARD:
            continue
        if not path.is_file():
            return f"{path}: is missing"
        if (found := path.stat().st_size) != size:
            return f"{path}: has {found} bytes, and was written with {size}"
        if _fingerprint(path)[1] != digest:
            return f"{path}: its SHA-256 is not that of the manifest"
    return None


def holds_more(folder: Path) -> bool:
    """Return whether somebody has put something into a folder, or changed a file in it.

    A link, and a folder without a manifest, hold nothing that was written here.
    """
    manifest = read_manifest(folder)
    if manifest is None or folder.is_symlink():
        return True
    known = {folder / part for name in (MANIFEST, *manifest["files"]) for part in _parts(name)}
    if any(path not in known for path in folder.rglob("*")):
        return True
    written = (folder / MANIFEST).stat().st_mtime_ns  # after all others
    for name, (size, digest) in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            continue
        # Only what was touched since is read again.
        found = path.lstat()
        is_old = stat.S_ISREG(found.st_mode) and found.st_size == size
        if not (is_old and (found.st_ctime_ns <= written or _fingerprint(path)[1] == digest)):
            return True
    return False


def sweep(parent: Path) -> None:
    """Delete what killed processes left unfinished in a folder, and put back what they had moved.

    Only folders with the mark of `publish` are touched. The caller holds the lock of the parent
    folder, so none of them is another process's work.
    """
    for scratch, name in abandoned(parent):
        _retire(scratch, parent / name)


def remove(folder: Path) -> None:
    """Delete a folder; what a process that is killed meanwhile leaves does not look whole."""
    scratch = make_scratch(folder.parent, folder.name)
    try:
        (scratch / WORK).rmdir()
        os.rename(folder, scratch / WORK)
    finally:
        discard(scratch)


def write_text(path: Path, text: str, *, is_ours: Callable[[str], object] | None = None) -> None:
    """Write a small file whole, through a temporary one, down to the disk.

    Args:
        path: The file.
        text: What it holds.
        is_ours: Tells by its text whether a file that stands there is this project's; anything else
            is kept as `<name>.before-<n>`, since it may be the user's.
    """
    if is_ours and os.path.lexists(path) and not is_ours(_text_of(path)):
        kept = set_aside(path, path)
        logger.warning("%s was not written here; it is kept as %s", path, kept.name)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _manifest_text(manifest: Manifest) -> str:
    """Return the text of a manifest, with a digest of itself: a changed byte anywhere shows."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    text = json.dumps({**manifest, "sha256": digest}, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # names of folders that are not UTF-8


def _are_files(files: Any) -> bool:
    """Return whether a manifest's list is one: names below the folder, sizes and digests."""
    return type(files) is dict and all(
        not os.path.isabs(name)
        and ".." not in Path(name).parts
        and type(facts) is list
        and [type(fact) for fact in facts] == [int, str]
        for name, facts in files.items()
    )


def _parts(name: str) -> Iterator[Path]:
    """Yield a file's path and those of the folders that it is in."""
    return (path for path in (Path(name), *Path(name).parents))


def _retire(scratch: Path, folder: Path) -> None:
    """Delete a marked folder with what `folder` has replaced, or put that back.

    What is not wholly ours gets another name.
    """
    aside = scratch / MOVED
    if os.path.lexists(aside):
        if not os.path.lexists(folder):
            os.rename(aside, folder)
        elif holds_more(aside):
            set_aside(aside, folder)
        else:
            shutil.rmtree(scratch / WORK, ignore_errors=True)
            os.rename(aside, scratch / WORK)
    discard(scratch)


def set_aside(found: Path, place: Path) -> Path:
    """Keep what stood in a place beside it, as `<name>.before-<n>`; return where."""
    number = 1
    while os.path.lexists(kept := place.with_name(f"{place.name}.before-{number}")):
        number += 1
    os.rename(found, kept)
    return kept


def _text_of(path: Path) -> str:
    """Read a small file; empty where it is a link, no file, or no text."""
    try:
        return "" if path.is_symlink() else read_file(path, MAX_TEXT).decode()
    except (WeightsError, UnicodeDecodeError):
        return ""


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _fingerprint(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = sha256_of(file)
        return file.tell(), digest


def _sync(path: Path) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
