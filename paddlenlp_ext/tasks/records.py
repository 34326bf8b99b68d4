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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
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
SAID_DELIMITER = re.compile(r'"?sep=(.)"?[\r\n]*')


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
        # A byte that is no UTF-8 becomes a lone surrogate, so that its line is known.
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        yield from read(path, name or path.name, text)


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
    lines = _TableLines(text)
    first = next(lines, "")
    said = SAID_DELIMITER.fullmatch(first)  # by Excel, above the header
    delimiter = said[1] if said else _delimiter(path, first)
    begun = chain(["\n" if said else first], lines)
    rows = csv.reader(begun, delimiter=delimiter, strict=True)
    previous_limit = csv.field_size_limit(MAX_LINE)
    try:
        header: list[str] | None = None
        while True:
            csv.field_size_limit(MAX_LINE)
            line = rows.line_num + 1
            source = f"{name}:{line}"
            lines.is_cut = lines.is_cut and line == 1  # the first was read already
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
            if lines.is_cut and header is None:
                raise DataError(f"{path}:{line}: {TOO_LONG}; expected a header row")
            if lines.is_cut:
                yield BadRow(source, TOO_LONG)
            elif row and header is None:
                header = _header(path, line, row)
            elif row:
                yield _record(source, cast("list[str]", header), row)
    finally:
        csv.field_size_limit(previous_limit)


class _Lines(Iterator[str]):
    """Lines with their ends, of an overlong one only the beginning.

    Args:
        text: What they are read from.
        begun: What was read of the first one.

    Attributes:
        quotes: In the whole of the line that was read last.
    """

    def __init__(self, text: TextIO, begun: str = "") -> None:
        self.text, self.begun, self.quotes = text, begun, 0

    def __next__(self) -> str:
        line = part = self.begun or self.text.readline(PART)
        self.begun, self.quotes = "", part.count('"')
        if not line:
            raise StopIteration
        while len(part) == PART and not part.endswith(("\n", "\r")):
            part = self.text.readline(PART)
            self.quotes += part.count('"')
        return line


class _TableLines(_Lines):
    """Lines of CSV: of an overlong one only whether it opens, or closes, a quote.

    Attributes:
        is_cut: Whether there was an overlong one since this was set.
    """

    is_cut = False

    def __next__(self) -> str:
        line = super().__next__()
        if not _too_long(line.rstrip("\r\n")):
            return line
        self.is_cut = True
        return '"' * (self.quotes % 2) + "\n"


def _delimiter(path: Path, header: str) -> str:
    """Find what parts the columns: what most stands in the header."""
    if path.name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    columns = {}
    for delimiter in ",;\t":
        with suppress(csv.Error):  # of quotes that others are at
            row: list[str] = next(csv.reader([header], delimiter=delimiter, strict=True), [])
            columns[delimiter] = len(row)
    return max(columns, key=lambda one: columns[one], default=",")


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
    for number, line in enumerate(_Lines(text), start=1):
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
    yield from _json_lines(path, name, _Lines(text))


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
            yield decoder.record(source, decoder.decode(bare))
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
    blank, begun = "", text.readline(PART)
    while begun and not begun.strip() and len(blank) <= MAX_LINE:
        blank, begun = blank + begun, text.readline(PART)
    if begun.lstrip().startswith("["):
        yield from _json_list(path, name, blank + begun, text)
    else:
        yield from _json_lines(path, name, chain(io.StringIO(blank, ""), _Lines(text, begun)))


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
