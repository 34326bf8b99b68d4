"""Lines of text files that others made."""

import glob
import gzip
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from paddlenlp_ext.errors import DataError, WeightsError
from paddlenlp_ext.files.disk import open_file
from paddlenlp_ext.tasks.rows import BOM, MAX_LINE, require_text

GZIP = b"\x1f\x8b"


def named_files(patterns: Sequence[str], setting: str) -> list[Path]:
    """Return the files that paths and patterns such as "xquad/*.json" name, each once.

    Args:
        patterns: In their order; the files of a pattern are sorted.
        setting: Where they were given, for messages.

    Raises:
        DataError: There is no such file.
    """
    found: dict[Path, None] = {}
    for pattern in map(os.path.expanduser, patterns):
        names = [pattern] if os.path.lexists(pattern) else sorted(glob.glob(pattern))
        if not names:
            raise DataError(f"{pattern}: no such file (`{setting}`); give a path, or one with *")
        found |= dict.fromkeys(map(Path, names))
    return [*found]


def by_language(paths: Sequence[Path]) -> dict[str, Path]:
    """Name files by their languages, "de" of "xquad.de.json" or "de_pud.conllu".

    Where their names do not say each file's own in two letters, files are named by their names; a
    single one is "".
    """
    if len(paths) == 1:
        return {"": paths[0]}
    parts = [re.split(r"[._-]", path.name.lower()) for path in paths]
    codes = [[part for part in one if re.fullmatch("[a-z]{2}", part)] for one in parts]
    languages = [found[0] for found in codes if len(found) == 1]
    if len({*languages}) == len(paths):
        return dict(zip(languages, paths, strict=True))
    names = [path.name.partition(".")[0] for path in paths]
    return dict(zip(names if len({*names}) == len(paths) else map(str, paths), paths, strict=True))


def read_text(path: Path) -> str:
    """Read a whole file in UTF-8, with or without a byte order mark, maybe compressed by gzip.

    Raises:
        DataError: It is not there or not such a file; the line of what is no UTF-8 is named.
    """
    try:
        with open_file(path) as file:
            content = file.read()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except WeightsError as error:
        raise DataError(str(error)) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a whole gzip file ({error}); get it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    require_text(path, content[:8])
    try:
        return content.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise DataError(
            f"{path}:{line}: expected UTF-8, got byte 0x{byte:02x}; convert the file to UTF-8"
        ) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file and their numbers, from 1; LF and CR LF end a line.

    Raises:
        DataError: See `read_text`; or a line is too long to be one.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if len(line) > MAX_LINE:
            raise DataError(
                f"{path}:{number}: expected at most {MAX_LINE:,} characters in a line, got "
                f"{len(line):,}; give a file of lines"
            )
        yield number, line.removesuffix("\r")
