"""Unpacked files of the cache, and the list of their digests that stands beside them.

What was put there by hand, or was changed since it was unpacked, is not what it is called.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

MANIFEST = "manifest.json"

logger = logging.getLogger(__name__)


def find_changed(folder: Path, names: Iterable[str], sources: Sequence[str]) -> list[str]:
    """Read files, and list those that are not as they were unpacked, or are not there.

    Args:
        folder: Where they are.
        names: Their paths in it.
        sources: Digests of the archives that they come from.
    """
    noted = _read(folder)
    changed = []
    for name in names:
        path = folder / name
        if path.is_file() and noted.get(name) == [_digest(path), *sources]:
            continue
        if path.exists():
            logger.warning("%s: is not what was unpacked there; it is unpacked anew", path)
        changed.append(name)
    return changed


def note(folder: Path, names: Iterable[str], sources: Sequence[str]) -> None:
    """Write down the digests of files that were just unpacked."""
    noted = _read(folder) | {name: [_digest(folder / name), *sources] for name in names}
    temporary = folder / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, folder / MANIFEST)


def _read(folder: Path) -> dict[str, object]:
    """Read the list; one that is absent or broken lists nothing."""
    try:
        noted = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
