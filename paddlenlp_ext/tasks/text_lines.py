"""Lines of text files that others made."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.answers import MLQA_FILE
from paddlenlp_ext.tasks.records import open_text
from paddlenlp_ext.tasks.rows import BOM, MAX_LINE, bounded_lines


def by_language(paths: Sequence[Path]) -> dict[str, Path]:
    """Name files by their languages, "de" of "xquad.de.json" or "de_pud.conllu".

    MLQA's names say that of the passages and that of the questions: "de", or "de-en" where they
    differ. Where names do not say each file's own in two letters, files are named by their names,
    and where these are equal, by as many of their folders as it takes: "de_test". A single one is
    "".
    """
    if len(paths) == 1:
        return {"": paths[0]}
    parts = [re.split(r"[._-]", path.name.lower()) for path in paths]
    codes = [[part for part in one if re.fullmatch("[a-z]{2}", part)] for one in parts]
    languages = [
        "-".join(dict.fromkeys(found))
        for found, path in zip(codes, paths, strict=True)
        if len(found) == 1 or MLQA_FILE.search(path.name.lower())
    ]
    if len({*languages}) == len(paths):
        return dict(zip(languages, paths, strict=True))
    whole = [Path(os.path.abspath(path)).parts[1:] for path in paths]
    bare = [(*folders, name.partition(".")[0]) for *folders, name in whole]
    longest = max(map(len, bare), default=0)
    ways = [(bare, 1), (whole, 1), *((bare, length) for length in range(2, longest + 1))]
    for some, length in ways:
        names = ["_".join(one[-length:]) for one in some]
        if len({*names}) == len(paths):
            return dict(zip(names, paths, strict=True))
    return {str(number): path for number, path in enumerate(paths, start=1)}


def read_text(path: Path) -> str:
    """Read a whole file in UTF-8, with or without a byte order mark, maybe compressed by gzip.

    Raises:
        DataError: It is not there or not such a file; the line of what is no UTF-8 is named.
    """
    with open_text(path) as raw:
        content = raw.read()
    try:
        return content.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(_no_utf8(path, line, content[error.start])) from None


def _no_utf8(path: Path, line: int, byte: int) -> str:
    return f"{path}:{line}: expected UTF-8, got byte 0x{byte:02x}; convert the file to UTF-8"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file and their numbers, from 1; LF and CR LF end a line.

    Raises:
        DataError: See `read_text`; or a line is too long to be one, or has a CR in it.
    """
    with open_text(path) as raw:
        for number, line in enumerate(bounded_lines(raw), start=1):
            bare = line.removesuffix(b"\n").removesuffix(b"\r")
            if b"\r" in bare:
                raise DataError(
                    f"{path}:{number}: expected LF or CR LF at the end of a line, got CR; save the "
                    "file with LF"
                )
            if len(bare) > MAX_LINE:
                raise DataError(
                    f"{path}:{number}: expected at most {MAX_LINE:,} bytes in a line, got more; "
                    "give a file of lines"
                )
            try:
                yield number, bare.removeprefix(BOM if number == 1 else b"").decode()
            except UnicodeDecodeError as error:
                raise DataError(_no_utf8(path, number, error.object[error.start])) from None
