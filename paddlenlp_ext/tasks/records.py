"""Read the records of a user's own files: CSV and TSV, JSON and JSON Lines, and lines of text.

A file's name says its format: `.csv` and `.tsv` as Python's `csv` reads them strictly (quotes may
hold delimiters and line ends; the delimiter of a `.csv` may be a comma, a semicolon or a tab, and
its header says which), `.jsonl` and `.ndjson` with an object a line, `.json` with such lines or one
list of objects, `.txt` with a text a line, or text, second text and label parted by tabs. Each may
be compressed by gzip. Text is UTF-8, with or without a mark of byte order; LF, CR LF and CR end a
line. Nothing is read as a whole, so memory does not grow with a file.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice, tee
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, TextIO, cast

from paddlenlp_ext.errors import DataError, WeightsError, shown
from paddlenlp_ext.files.disk import open_file, refuse_constant
from paddlenlp_ext.files.patterns import find_files
from paddlenlp_ext.tasks.rows import MAX_LINE, BadRow, require_text

GZIP = b"\x1f\x8b"
TXT_COLUMNS = (("text",), ("text", "label"), ("text", "text_pair", "label"))
_SPACE = re.compile(r"[ \t\r\n]*")  # of JSON
BLOCK = 1 << 16  # characters of a list of JSON that are read at once
PART = MAX_LINE + 2  # characters of a line that are read at once; with more it is overlong
LANGUAGE = 60  # characters of its name
TOO_LONG = f"expected at most {MAX_LINE:,} characters in a line, got more"
HEADER_LINES = 100  # the most that a header with line ends in its names is looked for in
SAID_DELIMITER = re.compile(r'"?sep=([^"\r\n\0])"?[\r\n]*')
_RUNS = re.compile(r'"+|[^"]+')  # of quotes, and of what is between them


class Record(NamedTuple):
    """One record: where it stands ("train.csv:17"), and its values by the names of its columns."""

    source: str
    values: Mapping[str, Any]


Records = Iterator[Record | BadRow]


def find_tables(patterns: Sequence[str], setting: str) -> list[Path]:
    """Find files as `find_files` does, whose names say what they are.

    Raises:
        DataError: There is no such file, or its name does not say what it is.
    """
    paths = find_files(patterns, setting)
    for path in paths:
        _reader(path)
    return paths


def read_records(path: Path, name: str = "") -> Records:
    """Yield the records of a file, and those that cannot be read with the reason.

    Args:
        path: Its name says its format.
        name: What it is called in `source`; its own name if empty.

    Raises:
        DataError: The file cannot be read, is of another format, or has no header; or what follows
            a bad record cannot be made out.
    """
    read = _reader(path)
    with open_text(path) as raw:
        text = _decoded(raw)
        yield from read(path, name or path.name, text)


def first_lines(path: Path, most: int) -> Iterator[str]:
    """Yield the first lines of a file, without their ends, to find out what it is.

    Of an overlong one it is the beginning, and a byte that is no UTF-8 becomes a lone surrogate:
    `read_records` names both.

    Raises:
        DataError: See `open_text`.
    """
    with open_text(path) as raw:
        text = _decoded(raw)
        for line in islice(_lines(_parts(text)), most):
            yield line.rstrip("\r\n")


def _decoded(raw: io.BufferedReader) -> TextIO:
    """Decode text; a byte that is no UTF-8 becomes a lone surrogate, so that its line is known."""
    return io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")


@contextmanager
def open_text(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file of text, maybe compressed by gzip; what can be wrong with it is named.

    Raises:
        DataError: It is not there, it cannot be read, or it is no text.
    """
    try:
        with open_file(path) as file, _decompressed(file) as raw:
            require_text(path, raw.peek(8)[:8])
            yield raw
    except WeightsError as error:
        raise DataError(str(error)) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a whole gzip file ({error}); get it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _reader(path: Path) -> Callable[[Path, str, TextIO], Records]:
    name = path.name.lower().removesuffix(".gz")
    for ending, read in READERS.items():
        if name.endswith(ending):
            return read
    raise DataError(
        f"{path}: expected a name that ends in {', '.join(READERS)} (or these and .gz), which says "
        "what the file holds; give it such a name"
    )


def _decompressed(file: BinaryIO) -> io.BufferedReader:
    buffered = cast("io.BufferedReader", file)  # which `open` makes
    if buffered.peek(2)[:2] != GZIP:
        return buffered
    return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=buffered)))


def _read_table(path: Path, name: str, text: TextIO) -> Records:
    """Read CSV or TSV."""
    previous_limit = csv.field_size_limit(MAX_LINE)
    try:
        delimiter, parts = _delimiter(path, _parts(text))
        lines = _TableLines(parts, delimiter)
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            csv.field_size_limit(MAX_LINE)
            lines.row = line = rows.line_num + 1
            source = f"{name}:{line}"
            try:
                row = next(rows)
            except StopIteration:
                break
            except csv.Error as error:
                if rows.line_num > line or "unexpected end" in str(error):
                    _refuse_open_quote(path, line, rows.line_num)
                if header is None:
                    raise DataError(f"{path}:{line}: expected a header row ({error})") from None
                yield BadRow(source, f"expected fields of CSV, got a line that is none ({error})")
                continue
            is_cut = lines.cut >= line
            if is_cut and header is None:
                raise DataError(f"{path}:{line}: {TOO_LONG}; expected a header row")
            if is_cut:
                yield BadRow(source, TOO_LONG)
            elif row and header is None:
                header = _header(path, line, row)
            elif row:
                yield _record(source, cast("list[str]", header), row)
    finally:
        csv.field_size_limit(previous_limit)


def _parts(text: TextIO) -> Iterator[str]:
    """Return an iterator over lines with their ends; an overlong one is in several parts."""
    return iter(partial(text.readline, PART), "")


def _rest(part: str, parts: Iterator[str]) -> Iterator[str]:
    """Yield the parts of a line after its first one."""
    while len(part) == PART and not part.endswith(("\n", "\r")):
        part = next(parts, "")
        yield part


def _lines(parts: Iterator[str]) -> Iterator[str]:
    """Yield lines with their ends, of an overlong one only the beginning."""
    for line in parts:
        if len(line) == PART:
            deque(_rest(line, parts), maxlen=0)
        yield line


class _TableLines:
    """Lines of CSV; what an overlong one does to quotes stands for it.

    Args:
        parts: Of the lines.
        delimiter: Of the fields.

    Attributes:
        row: Number of the line, from 1, at which the row begins that is read.
        cut: Number of the last line that was overlong.
    """

    def __init__(self, parts: Iterator[str], delimiter: str) -> None:
        self.parts, self.delimiter = parts, delimiter
        self.row, self.cut = 1, 0

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self.parts, start=1):
            if len(line) > MAX_LINE and _too_long(line.rstrip("\r\n")):
                self.cut = number
                yield self._shortened(line, is_open=number > self.row)
            else:
                yield line

    def _shortened(self, line: str, *, is_open: bool) -> str:
        """Return a line after which the `csv` module is where an overlong one would leave it.

        A quote opens a field at whose beginning it stands, and is text in the others. The field is
        open while its quotes are odd: a second one closes it, a third one is text, and opens it
        again. After one that is closed there must be a delimiter.

        Args:
            line: Its first part.
            is_open: Whether it begins in a field that is open.
        """
        quotes, begins, is_wrong = int(is_open), not is_open, False  # of a field, before a run
        for part in chain([line], _rest(line, self.parts)):
            for match in _RUNS.finditer(part.rstrip("\r\n")):
                run = match[0]
                if run[0] == '"':
                    quotes += len(run) if begins or quotes else 0
                    begins = False
                elif quotes % 2 == 0:
                    is_wrong = is_wrong or (quotes > 0 and run[0] != self.delimiter)
                    quotes, begins = 0, run[-1] == self.delimiter
        if is_wrong:
            return '"wrong\n' if is_open else "\n"
        return "\n" if is_open == (quotes % 2 == 1) else '"\n'


def _delimiter(path: Path, parts: Iterator[str]) -> tuple[str, Iterator[str]]:
    """Find what parts the columns, and return it with the parts of all lines.

    It is what a line for Excel says that is above the header, which is empty then, or else what
    most stands in the header, where that leaves no quote inside a name.
    """
    first = next(parts, "")
    if said := SAID_DELIMITER.fullmatch(first):
        return said[1], chain(["\n"], parts)
    parts = chain([first], parts)
    if path.name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t", parts
    columns = {}
    for delimiter in ",;\t":
        parts, lines = tee(parts)
        header = csv.reader(islice(lines, HEADER_LINES), delimiter=delimiter, strict=True)
        with suppress(csv.Error):  # of quotes that others are at
            names = next(header, [])
            columns[delimiter] = (not any('"' in name for name in names), len(names))
    return max(columns, key=lambda one: columns[one], default=","), parts


def _refuse_open_quote(path: Path, first: int, last: int) -> NoReturn:
    """Refuse a file in which a quote is not closed: nothing after it can be made out.

    Raises:
        DataError: Always.
    """
    raise DataError(
        f"{path}:{first}: expected the quote that opens here to be closed, it is not up to line "
        f"{last}; quote fields that hold quotes, and double these"
    )


def _record(source: str, header: list[str], row: list[str]) -> Record | BadRow:
    if reason := fault_of("".join(row)):
        return BadRow(source, reason)
    if len(row) != len(header):
        return BadRow(source, f"expected {len(header)} columns, got {len(row)}")
    return Record(source, dict(zip(header, row, strict=True)))


def _header(path: Path, line: int, row: list[str]) -> list[str]:
    if reason := fault_of("".join(row)):
        raise DataError(f"{path}:{line}: {reason}; expected a header row")
    names = [name.strip() for name in row]
    twice = next((one for one in names if one and names.count(one) > 1), None)
    if twice is not None:
        raise DataError(f"{path}:{line}: has the column {shown(twice)} twice; rename one of them")
    if not any(names):
        raise DataError(f"{path}:{line}: expected a header row with names, got empty ones")
    return [name or f"column {number}" for number, name in enumerate(names, start=1)]


def fault_of(text: str) -> str:
    """Say what makes a text unusable; nothing if it is usable."""
    if "\0" in text:
        return "expected text, got a NUL byte"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            if 0xDC80 <= code <= 0xDCFF:
                return f"expected UTF-8, got byte 0x{code - 0xDC00:02x}"
            return f"expected text, got half a character (U+{code:04X})"
    return ""


def text_in(values: Mapping[str, Any], name: str) -> str:
    """Return the text in a column; ValueError says that there is none, or what is wrong with it."""
    text = values.get(name)
    if not isinstance(text, str) or not text.strip():
        got = "none" if text is None or isinstance(text, str) else shown(text, 40)
        raise ValueError(f"expected a text, got {got} in column {shown(name, 40)}")
    if reason := fault_of(text):
        raise ValueError(reason)
    return text


def language_in(values: Mapping[str, Any], name: str) -> str:
    """Return the language in a column, after which files are named; ValueError says otherwise."""
    language = text_in(values, name).strip()
    if len(language) > LANGUAGE or not language.isprintable() or {"/", "\\"} & {*language}:
        raise ValueError(
            f"expected a language like 'de' or 'zh-CN', got {shown(language, 40)} in column "
            f"{shown(name, 40)}"
        )
    return language


def _read_text(path: Path, name: str, text: TextIO) -> Records:
    """Read lines of one to three fields that are parted by tabs."""
    columns: tuple[str, ...] | None = None
    for number, line in enumerate(_lines(_parts(text)), start=1):
        source, bare = f"{name}:{number}", line.rstrip("\r\n")
        if not bare:
            continue
        fields = bare.split("\t")
        if columns is None:
            if len(fields) > len(TXT_COLUMNS):
                raise DataError(
                    f"{path}:{number}: expected text, or text and label, or text, second text and "
                    f"label, parted by tabs, got {len(fields)} fields; a .tsv with a header can "
                    "have any columns"
                )
            columns = TXT_COLUMNS[len(fields) - 1]
        if reason := _too_long(bare) or fault_of(bare):
            yield BadRow(source, reason)
        elif len(fields) != len(columns):
            expected = " and ".join(columns)
            reason = f"expected {expected} parted by tabs, got {len(fields)} fields"
            yield BadRow(source, reason)
        else:
            yield Record(source, dict(zip(columns, fields, strict=True)))


def _too_long(line: str) -> str:
    return TOO_LONG if len(line) > MAX_LINE else ""


def _read_json_lines(path: Path, name: str, text: TextIO) -> Records:
    yield from _json_lines(path, name, _lines(_parts(text)))


def _json_lines(path: Path, name: str, lines: Iterator[str]) -> Records:
    decoder = Decoder()
    for number, line in enumerate(lines, start=1):
        source, bare = f"{name}:{number}", line.strip()
        if not bare:
            continue
        if reason := _too_long(bare) or fault_of(bare):
            yield BadRow(source, reason)
            continue
        try:
            value, end = decoder.raw_decode(bare)  # faster than `decode`
            if end < len(bare):
                raise json.JSONDecodeError("Extra data", bare, end)
            yield decoder.record(source, value)
        except (ValueError, RecursionError) as error:
            yield BadRow(source, f"expected an object of JSON ({error})")


class Decoder(json.JSONDecoder):
    """Reads JSON as the standard has it, and makes records of its objects."""

    def __init__(self) -> None:
        super().__init__(parse_constant=refuse_constant, object_pairs_hook=self._made)
        self._twice = ""  # a name that is twice in an object

    def _made(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self._twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        return found

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """Read a value that begins at a character of a text; where it ends comes with it."""
        self._twice = ""
        return super().raw_decode(s, idx)

    def whole(self, text: str) -> Any:
        """Read a text that is one value; ValueError or RecursionError says that it is none."""
        value = self.decode(text)
        if self._twice:
            raise ValueError(f"it has {shown(self._twice, 40)} twice")
        return value

    def record(self, source: str, value: Any) -> Record | BadRow:
        """Make a record of the value that was read last."""
        if not isinstance(value, dict):
            return BadRow(source, f"expected an object of JSON, got {shown(value, 40)}")
        if self._twice:
            return BadRow(source, f"expected each name once, got {shown(self._twice, 40)} twice")
        return Record(source, value)


def _read_json(path: Path, name: str, text: TextIO) -> Records:
    """Read a list of objects piece by piece, or lines of objects."""
    parts = _parts(text)
    blank, begun = "", next(parts, "")
    while begun and not begun.strip() and len(blank) <= MAX_LINE:
        blank, begun = blank + begun, next(parts, "")
    if begun.lstrip().startswith("["):
        yield from _json_list(path, name, blank + begun, text)
    else:
        yield from _json_lines(
            path, name, chain(io.StringIO(blank, ""), _lines(chain([begun], parts)))
        )


def _json_list(path: Path, name: str, buffer: str, text: TextIO) -> Records:
    """Read the objects of a list; it begins in `buffer`, and goes on in `text`."""
    at, line, wanted = 0, 1, "["  # the next character of `buffer`, its line, what may stand there
    is_closed = False
    decoder = Decoder()

    def refuse(expected: str) -> NoReturn:
        raise DataError(f"{path}:{line}: expected {expected}; nothing after it can be read")

    while True:
        space = _SPACE.match(buffer, at)
        assert space is not None
        line, at = line + _line_ends(space[0]), space.end()
        character = buffer[at : at + 1]
        try:
            if not character:
                raise ValueError("the file ends")
            if is_closed:
                refuse(f"the file to end after its list, got {shown(character)}")
            if wanted and character not in wanted:
                refuse(f"{wanted[0]} of a list of objects, got {shown(character)}")
            if wanted or character == "]":
                is_closed = character == "]"
                at, wanted = at + 1, ""
                continue
            value, end = decoder.raw_decode(buffer, at)
        except (ValueError, RecursionError) as error:  # which the next block may cure
            block = text.read(BLOCK) if len(buffer) - at <= MAX_LINE else ""
            if not block and is_closed:
                return
            if not block:
                refuse(f"{'a list' if wanted else 'an object'} of JSON ({error})")
            buffer, at = buffer[at:] + block, 0
            continue
        source, written = f"{name}:{line}", buffer[at:end]
        reason = fault_of(written)
        yield BadRow(source, reason) if reason else decoder.record(source, value)
        line, at, wanted = line + _line_ends(written), end, ",]"


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


READERS: Mapping[str, Callable[[Path, str, TextIO], Records]] = {
    ".csv": _read_table,
    ".tsv": _read_table,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".txt": _read_text,
}
