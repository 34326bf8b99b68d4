"""Find the files that a user names by paths and patterns."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from paddlenlp_ext.errors import DataError


def find_files(patterns: Sequence[str], setting: str) -> list[Path]:
    """Return the files that paths and patterns such as "reviews/*.csv" name, each once.

    Args:
        patterns: In their order; the files of a pattern are sorted, folders among them left out.
        setting: Where they were given, for messages.

    Raises:
        DataError: There is no such file.
    """
    found: dict[Path, None] = {}
    for pattern in map(os.path.expanduser, patterns):
        is_path = os.path.lexists(pattern)
        names = [pattern] if is_path else sorted(glob.glob(pattern, recursive=True))
        files = [Path(name) for name in names if os.path.isfile(name)]
        if not files:
            problem = f"no such file (`{setting}`); give a path, or one with *"
            if os.path.isdir(pattern):
                problem = f"is a folder; give the files in it as `{setting}` {pattern}/*"
            elif os.path.exists(pattern):
                problem = "is a FIFO, a device or a socket; expected a regular file"
            raise DataError(f"{pattern}: {problem}")
        found |= dict.fromkeys(files)
    return [*found]
