"""Read the rows of tab-separated files, and name every row that cannot be used.

The files are those of the data sets' own archives: UTF-8, one row a line, fields split at tabs, no
quoting (a quote is text). A row that does not fit is an error with file, line and reason, or, when
the caller asks for it, left out and listed; no row is lost silently.
"""

import logging
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, NoReturn

from paddlenlp_ext.errors import DataError, WeightsError, one_line, shown
from paddlenlp_ext.files.disk import open_file
from paddlenlp_ext.tasks.task import Table, Task, TextExample

logger = logging.getLogger(__name__)

MAX_LINE = 1_000_000  # bytes; the longest line of the official files has under 20,000
# `float` takes more: `0_1`, digits of other scripts, spaces.
_NUMBER = re.compile(r"[+-]?(inf|nan|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)", re.ASCII)
BOM = b"\xef\xbb\xbf"  # the byte order mark that some editors put before UTF-8 text


_CONVERT = ("UTF-16", "convert it, as with `iconv -f UTF-16 -t UTF-8`")
FORMATS = {  # by what such files begin with
    b"\xff\xfe\0\0": ("UTF-32", "convert it, as with `iconv -f UTF-32 -t UTF-8`"),
    b"\0\0\xfe\xff": ("UTF-32", "convert it, as with `iconv -f UTF-32 -t UTF-8`"),
    b"\xff\xfe": _CONVERT,
    b"\xfe\xff": _CONVERT,
    b"\x1f\x8b": ("a file compressed by gzip", "run gunzip on it"),
    b"BZh": ("a file compressed by bzip2", "run bunzip2 on it"),
    b"\xfd7zXZ\0": ("a file compressed by xz", "run unxz on it"),
    b"\x28\xb5\x2f\xfd": ("a file compressed by zstd", "run unzstd on it"),
    b"PK\x03\x04": ("a ZIP archive or an Excel file", "unpack it, or save it as text with tabs"),
    b"PAR1": ("a Parquet file", "write its rows as text with tabs"),
    b"\x89HDF": ("an HDF5 file", "write its rows as text with tabs"),
}

# A line as writers of CSV quote it: a field in quotes may hold tabs, and quotes that are doubled.
CSV_FIELD = rb'(?:"(?:[^"]|"")*"|[^"\t]*)'
CSV_LINE = re.compile(rb"%b(?:\t%b)*" % (CSV_FIELD, CSV_FIELD))


class BadRow(NamedTuple):
    """A row that cannot be used: where it stands ("train.tsv:17") and why."""

    source: str
    reason: str


class BlankRow(BadRow):
    """A row that lacks a text, which some data sets' own files have."""


class Examples(list[TextExample]):
    """The usable rows of a split in the files' order, and the others.

    Attributes:
        bad_rows: The rows that were left out; empty unless the caller allowed bad rows.
    """

    def __init__(self, examples: Iterable[TextExample] = (), bad_rows: Iterable[BadRow] = ()):
        super().__init__(examples)
        self.bad_rows = tuple(bad_rows)


def read_examples(
    task: Task,
    split: str,
    data_dir: str | Path,
    *,
    on_bad_row: Literal["error", "skip"] = "error",
) -> Examples:
    """Read a split of a task.

    Args:
        task: What to read.
        split: One of `task.splits` or `task.unlabelled`.
        data_dir: Folder of the split's files, or the folder above it (that of all GLUE tasks).
        on_bad_row: "error" stops at the first row that cannot be used, "skip" leaves such rows out
            and lists them in `bad_rows` of the result.

    Returns:
        The examples; with the listed bad rows they are all rows that the files hold.

    Raises:
        DataError: No such split; a file is missing, unreadable, has another header, or no usable
            row; with "error" also a row that cannot be used.
    """
    table = task.table(split)
    folder = _task_folder(task, Path(data_dir))
    examples, bad_rows = [], []
    for name in table.files:
        path = folder / name
        for _, row in read_rows(path, task, table):
            if isinstance(row, TextExample):
                examples.append(row)
            elif on_bad_row == "skip":
                bad_rows.append(row)
            else:
                refuse_row(path, row)
    if not examples:
        names = ", ".join(str(folder / name) for name in table.files)
        raise DataError(
            f"{names}: no usable row for {task.name} {split} ({len(bad_rows)} rows that cannot be "
            "used); give a file with at least one row under `data_dir`"
        )
    return Examples(examples, bad_rows)


def read_rows(path: Path, task: Task, table: Table) -> Iterator[tuple[bytes, TextExample | BadRow]]:
    """Yield each row of one file: its line as it stands there, and what it says or lacks.

    Raises:
        DataError: The file is missing, unreadable, or has another header than the task's.
    """
    lines = _lines(path, task, table)
    columns = table.columns
    if columns is None:
        columns = _header(path, next(lines, (1, b""))[1], task, table)
    positions = [columns.index(name) for name in table.read]
    quoted, is_csv = 0, True
    for number, line in lines:
        source = f"{path.name}:{number}"
        if is_csv and b'"' in line:
            quoted, is_csv = quoted + 1, CSV_LINE.fullmatch(line) is not None
        try:
            fields = _fields(line, len(columns), positions)
            texts, labels = fields[: len(table.text)], fields[len(table.text) :]
            empty = [name for name, text in zip(table.text, texts, strict=True) if not text.strip()]
            if empty and labels:  # of rows to predict, each one is asked for
                yield line, BlankRow(source, f"expected a text, got none in column {empty[0]!r}")
                continue
            text_b = texts[1] if len(texts) > 1 else None
            label = _label(labels[0], task) if labels else 0
            yield line, TextExample(texts[0], text_b, label, source)
        except ValueError as error:
            yield line, BadRow(source, str(error))
    if quoted and is_csv:
        logger.warning(
            "%s: all its quotes are as CSV has them, on %d lines; they are text here: where they "
            "only surround it, write the table without quoting",
            *(path, quoted),
        )


def refuse_row(path: Path, row: BadRow) -> NoReturn:
    """Refuse a file because of a row that cannot be used.

    Raises:
        DataError: Always.
    """
    line = row.source.rpartition(":")[2]
    raise DataError(
        f"{path}:{line}: {row.reason}; mend the row, or leave such rows out with `on_bad_row` skip"
    )


def _task_folder(task: Task, data_dir: Path) -> Path:
    below = data_dir / task.name
    return below if below.is_dir() else data_dir


def _lines(path: Path, task: Task, table: Table) -> Iterator[tuple[int, bytes]]:
    """Yield line numbers from 1 and lines without their ends; empty lines at the end are no rows.

    Only a line feed ends a line: texts hold U+2028, form feeds and other characters at which
    Python's text mode or `splitlines` would break a row in two.
    """
    empty = 0  # lines, just before this one
    try:
        with open_file(path) as file:
            for number, line in enumerate(bounded_lines(file), start=1):
                bare = line.removesuffix(b"\n").removesuffix(b"\r")
                if number == 1:
                    names = ", ".join(map(repr, table.read))
                    has_header = table.columns is None
                    header = f"a header row with the columns {names}"
                    require_text(path, line, header if has_header else "text")
                    bare = bare.removeprefix(BOM)
                if not bare:
                    empty += 1
                    continue
                for earlier in range(number - empty, number):
                    yield earlier, b""
                empty = 0
                yield number, bare
    except WeightsError as error:
        gone = isinstance(error.__cause__, FileNotFoundError)
        raise DataError(_missing(path, task, table) if gone else str(error)) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def require_text(path: Path, line: bytes, expected: str = "text") -> None:
    """Refuse a file whose first line is that of another format, by its name.

    Raises:
        DataError: It is.
    """
    found = next((known for start, known in FORMATS.items() if line.startswith(start)), None)
    if found is None and (line[:1] == b"\0") != (line[1:2] == b"\0"):
        found = _CONVERT  # without a mark of its order
    if found:
        raise DataError(f"{path}:1: expected {expected} in UTF-8, got {found[0]}; {found[1]}")


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines, of an overlong one only the beginning, so that no file fills the memory."""
    limit = MAX_LINE + 2
    while line := file.readline(limit):
        rest = line
        while len(rest) == limit and not rest.endswith(b"\n"):
            rest = file.readline(limit)
        yield line


def _header(path: Path, line: bytes, task: Task, table: Table) -> tuple[str, ...]:
    columns = tuple(line.decode(errors="replace").split("\t"))
    missing = [name for name in table.read if name not in columns]
    if missing:
        is_quoted = {*missing} <= {column.strip('"') for column in columns}
        layout = "without quoting" if is_quoted else "in its official layout (data/README.md)"
        raise DataError(
            f"{path}:1: expected a header row with the columns {', '.join(map(repr, missing))}, "
            f"got {shown(columns)}; give {task.name} {layout}"
        )
    return columns


def _fields(line: bytes, num_columns: int, positions: list[int]) -> list[str]:
    """Return the fields of a line at `positions`; ValueError says what is wrong with the line."""
    if not line:
        raise ValueError(f"expected {num_columns} columns, got an empty line")
    if len(line) > MAX_LINE:
        raise ValueError(f"expected at most {MAX_LINE:,} bytes in a line, got more")
    if b"\0" in line:
        raise ValueError("expected text, got a NUL byte")
    try:
        fields = line.decode().split("\t")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(f"expected UTF-8, got byte 0x{byte:02x} after {error.start}") from None
    if len(fields) != num_columns:
        hint = ""
        if b'"' in line and CSV_LINE.fullmatch(line):
            hint = "; quotes are text here, and tabs in them part columns: write it without quoting"
        raise ValueError(f"expected {num_columns} columns, got {len(fields)}{hint}")
    return [fields[position] for position in positions]


def _label(text: str, task: Task) -> int | float:
    """Return the class number or the score; ValueError says what is wrong with it."""
    if task.labels is not None:
        if text not in task.labels:
            raise ValueError(f"expected a label of {', '.join(task.labels)}, got {shown(text)}")
        return task.labels.index(text)
    return read_score(text, task.label_range)


def read_score(text: str, label_range: tuple[float, float] | None = None) -> float:
    """Return a score; ValueError says what is wrong with it."""
    low, high = label_range or (-math.inf, math.inf)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"expected a number as score, got {shown(text)}")
    score = float(text)
    if not (low <= score <= high and math.isfinite(score)):
        raise ValueError(f"expected a score from {low:g} to {high:g}, got {one_line(text, 40)}")
    return score


def _missing(path: Path, task: Task, table: Table) -> str:
    tables = [table] if table.label is None else task.splits.values()
    names = dict.fromkeys(name for one in tables for name in one.files)
    return (
        f"{path}: no such file; {task.name} needs {', '.join(names)} in this folder: give the "
        "right one with `data_dir`, or leave it out to download the official files"
    )
