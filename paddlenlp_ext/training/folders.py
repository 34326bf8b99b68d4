"""Put whole folders in place: complete or not at all, whenever the process is killed.

A folder is written beside its place as `.tmp-<name>-<pid>`, every file is synced to the disk, a
manifest with the size and SHA-256 of each is written last, and the folder is renamed. So a folder
whose manifest fits its files is whole, also after it was copied to another machine; anything else
is not used.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from paddlenlp_ext.files.disk import sha256_of

MANIFEST = "manifest.json"
TEMPORARY = re.compile(r"\.(tmp|old)-(.+)-(\d+)")  # kind, name, process

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
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    aside = folder.with_name(f".old-{folder.name}-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        files = {}
        for path in _files(temporary):
            _sync(path)
            files[path.relative_to(temporary).as_posix()] = _fingerprint(path)
        write_text(temporary / MANIFEST, _manifest_text({**facts, "files": files}))
        for inner in (path for path in temporary.rglob("*") if path.is_dir()):
            _sync(inner)
        _sync(temporary)
        if folder.exists():
            os.rename(folder, aside)
        os.rename(temporary, folder)
        _sync(folder.parent)
    except Exception:
        if aside.exists() and not folder.exists():
            os.rename(aside, folder)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _retire(aside, folder)


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a folder; None where there is none that is as it was written."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest: Manifest = json.loads(text)
        del manifest["sha256"]
        return manifest if text == _manifest_text(manifest) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def damage(folder: Path) -> str | None:
    """Say what is wrong with a folder, by its manifest; None when every byte is as written."""
    if not folder.is_dir():
        return f"{folder}: there is no such folder"
    manifest = read_manifest(folder)
    if manifest is None:
        return f"{folder}: {MANIFEST} is missing or cannot be read"
    for name, (size, digest) in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{path}: is missing"
        if (found := path.stat().st_size) != size:
            return f"{path}: has {found} bytes, and was written with {size}"
        if _fingerprint(path)[1] != digest:
            return f"{path}: its SHA-256 is not that of the manifest"
    return None


def holds_more(folder: Path) -> bool:
    """Return whether a folder has files or folders that its manifest does not name.

    Somebody put them there; a folder without a manifest holds nothing else.
    """
    manifest = read_manifest(folder)
    files = {MANIFEST, *manifest["files"]} if manifest is not None else set()
    known = {path for name in files for path in (folder / name, *(folder / name).parents)}
    return any(path not in known for path in folder.rglob("*"))


def sweep(parent: Path) -> None:
    """Delete what killed processes left unfinished in a folder, and put back what they had moved.

    Only folders that `publish` makes are touched. The caller holds the lock of the parent folder,
    so none of them is another process's work.
    """
    for path in sorted(parent.glob(".*-*-*")):
        found = TEMPORARY.fullmatch(path.name)
        if found is None:
            continue
        kind, place = found[1], parent / found[2]
        if kind == "tmp":
            shutil.rmtree(path, ignore_errors=True)
        elif place.exists():
            _retire(path, place)
        else:
            os.rename(path, place)


def remove(folder: Path) -> None:
    """Delete a folder; what a process that is killed meanwhile leaves does not look whole."""
    aside = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    os.rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole, through a temporary one, down to the disk."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _manifest_text(manifest: Manifest) -> str:
    """Return the text of a manifest, with a digest of itself: a changed byte anywhere shows."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    return json.dumps({**manifest, "sha256": digest}, indent=1, ensure_ascii=False) + "\n"


def _retire(aside: Path, folder: Path) -> None:
    """Delete a folder that was replaced; keep it under another name if it is not ours."""
    if not aside.exists():
        return
    if not holds_more(aside):
        shutil.rmtree(aside, ignore_errors=True)
        return
    number = 1
    while (kept := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    os.rename(aside, kept)


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
