"""The tables that can be run again, as data: one TOML file each.

A table of the package is known by its name; any other is the path of its file. What the keys of a
file mean is said with the fields of `Table` and `Row`.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_file
from paddlenlp_ext.files.typed import typed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).with_name("tables")
MAX_TABLE = 1 << 20  # bytes
PLACE = re.compile(r"\{(\w+)\}")  # in an argument: what --set gives

OURS = "paddlenlp_ext"  # name of our side
SEED = "seed"  # an argument of which each run has its own
LEAST = {"seeds": 1, "digits": 0, "reported_runs": 1}  # of a table's numbers

Word = str | int | float | bool
Arguments = Mapping[str, Word | Sequence[Word]]  # values of flags by their names


@dataclass(frozen=True)
class Range:
    """Where `--search` looks for the number of an argument.

    Attributes:
        low: The least.
        high: The greatest. Where both are whole numbers, so are those between.
        log: Whether it counts by factors.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Peer:
    """What every row is compared with, run with the same seeds and settings.

    Attributes:
        name: Heading of its column.
        command: Its words before the flags: another library's program, which prints a line of
            JSON with `results`, or a `paddlenlp-ext` command, which gets `ours` as well.
        arguments: Of its own, besides those of both sides.
    """

    name: str
    command: str
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What one row, or one cell, of a page stands for.

    Attributes:
        names: Under the table's `columns`.
        reported: Numbers of the page, as it has them; empty where it has none.
        numbers: What they are: "dev acc", a split and a metric, or a list of such, whose mean it
            is; empty for those of the table.
        arguments: Of this row.
        ours: Of this row, and not of another library.
        theirs: Of this row, and of the peer alone.
        command: In place of the table's.
        block: Heading above this row and those that follow, as on the page.
        has_peer: Whether the peer runs this row, too.
        minutes: That a run takes, as far as the page lets one know.
    """

    names: Sequence[str]
    reported: Sequence[float] = ()
    numbers: Sequence[str | Sequence[str]] = ()
    arguments: Arguments = field(default_factory=dict)
    ours: Arguments = field(default_factory=dict)
    theirs: Arguments = field(default_factory=dict)
    command: str = ""
    block: str = ""
    has_peer: bool = True
    minutes: float | None = None

    @property
    def key(self) -> str:
        """Name the row in paths and on the command line."""
        return slug(" ".join((self.block, self.names[0])))


@dataclass(frozen=True)
class Table:
    """A table, and how each number of it comes about.

    Attributes:
        name: Of its file.
        title: What it is of.
        source: Where the reported numbers stand.
        columns: Headings of the names of a row.
        rows: In the order of the page.
        command: What runs, before its flags.
        arguments: Of all rows, and of both sides.
        ours: Of all rows, and not of another library.
        peer: The other side, if there is one.
        headings: Of the numbers where a page has a column for each; without them a row has one
            cell, with its numbers one behind the other.
        numbers: What they are; see `Row`.
        scale: What measured numbers are multiplied with.
        digits: Behind the point.
        reported_runs: How many runs a reported number is the mean of.
        choice: The step of a run that counts: the "best" on dev or the "last".
        seeds: How many.
        grid: Values of arguments that `--grid` goes through; those best on dev, by mean, count.
        grid_source: Where they are from.
        search: Of arguments for `--search`: a list of values, or a range.
        places: What `{name}` in an argument stands for, said to whoever has to give it.
        minutes_source: Where the minutes of the rows are from.
    """

    name: str
    title: str
    source: str
    columns: Sequence[str]
    rows: Sequence[Row]
    command: str
    arguments: Arguments = field(default_factory=dict)
    ours: Arguments = field(default_factory=dict)
    peer: Peer | None = None
    headings: Sequence[str] = ()
    numbers: Sequence[str | Sequence[str]] = ()
    scale: float = 100
    digits: int = 2
    reported_runs: int = 1
    choice: Literal["best", "last"] = "best"
    seeds: int = 5
    grid: Mapping[str, Sequence[Word]] = field(default_factory=dict)
    grid_source: str = ""
    search: Mapping[str, Sequence[Word] | Range] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    minutes_source: str = ""

    def numbers_of(self, row: Row) -> list[list[str]]:
        """Return what each number of a row is the mean of: ["dev acc"]."""
        found = row.numbers or self.numbers
        return [[one] if isinstance(one, str) else [*one] for one in found]


def known_tables() -> dict[str, Path]:
    """Return the files of the package's tables by their names."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def read_table(name: str) -> Table:
    """Read a table of the package, or that of a path.

    Raises:
        UserError: There is none, or it is none.
    """
    path = known_tables().get(name) or Path(name).expanduser()
    if name not in known_tables() and not path.is_file():
        raise UserError(
            f"{name}: there is no such table; known: {', '.join(known_tables())}, or the path of a "
            "TOML file"
        )
    try:
        content = tomllib.loads(read_file(path, MAX_TABLE).decode())
        if "name" in content:
            raise ValueError("unknown key 'name'; a table has the name of its file")
        table: Table = typed(Table, {**content, "name": path.stem})
    except ValueError as error:
        raise UserError(f"{path}: expected a table: {error}") from error
    for wrong in itertools.chain(*(find(table) for find in FAULTS)):
        raise UserError(f"{path}: {wrong}")
    return table


def _faults(table: Table) -> Iterator[str]:
    """Say what is wrong with values of a table."""
    if not table.rows:
        yield "has no [[rows]]"
    if table.peer and table.peer.name == OURS:
        yield f"peer.name: {OURS} is the name of our side"
    for name, least in LEAST.items():
        if getattr(table, name) < least:
            yield f"{name} must be {least} or more, not {getattr(table, name)}"
    if table.scale <= 0:
        yield f"scale must be above 0, not {table.scale:g}"


def _faults_of_settings(table: Table) -> Iterator[str]:
    """Say what is wrong with the values that a grid or a search goes through."""
    for kind, several in (("grid", table.grid), ("search", table.search)):
        for name, values in several.items():
            if name == SEED:
                yield f"{kind}.{name}: each run has its own; 'seeds' says how many"
            if isinstance(values, Range):
                if values.low >= values.high or (values.log and values.low <= 0):
                    yield f"{kind}.{name}: expected 'low' < 'high', and both above 0 with 'log'"
            elif not values or len({*values}) < len(values):
                yield f"{kind}.{name}: expected values to go through, each once"


def _faults_of_rows(table: Table) -> Iterator[str]:
    """Say which rows cannot be told apart, or have what does not fit together."""
    keys = [row.key if row.names else "" for row in table.rows]
    for place, (row, key) in enumerate(zip(table.rows, keys, strict=True)):
        name = f"row {key}" if key else f"rows[{place}]"
        numbers = table.numbers_of(row)
        parts = [len(one.split(" ", 1)) for number in numbers for one in number]
        if len(row.names) != max(1, len(table.columns)):
            yield f"{name}: expected {max(1, len(table.columns))} names, one for each of 'columns'"
        if not key:
            yield f"{name}: expected a first name with letters or digits"
        if keys.count(key) > 1:
            yield f"{name}: another row has the same name"
        if not (parts and all(numbers) and {*parts} == {2}):
            yield f"{name}: expected 'numbers' such as 'dev acc', a split and a metric"
        if row.reported and len(row.reported) != len(numbers):
            yield f"{name}: {len(row.reported)} reported numbers for {len(numbers)} 'numbers'"
        if table.headings and len(table.headings) != len(numbers):
            yield f"{name}: {len(numbers)} 'numbers' for {len(table.headings)} headings"


def _faults_of_runs(table: Table) -> Iterator[str]:
    """Say what of a row's runs cannot be."""
    for row in table.rows:
        name, commands = f"row {row.key}", _commands(table, row)
        if not all(command.split() for command in commands):
            yield f"{name}: expected a 'command'"
        if any(map(PLACE.search, commands)):
            yield f"{name}: expected places such as {{data}} in arguments alone, not in a 'command'"
        if SEED in _arguments(table, row):
            yield f"{name}: argument {SEED}: each run has its own; 'seeds' says how many"
        if row.minutes is not None and row.minutes <= 0:
            yield f"{name}: minutes must be above 0, not {row.minutes:g}"


FAULTS = (_faults, _faults_of_settings, _faults_of_rows, _faults_of_runs)


def _arguments(table: Table, row: Row) -> set[str]:
    parts = [table.arguments, table.ours, row.arguments, row.ours, row.theirs]
    parts += [table.peer.arguments] if table.peer else []
    return {name for part in parts for name in part}


def _commands(table: Table, row: Row) -> list[str]:
    return [row.command or table.command, *([table.peer.command] if table.peer else [])]


def choose_rows(table: Table, names: Iterable[str]) -> list[Row]:
    """Return the rows that are named, by `key` or by the first of their names; or all.

    Raises:
        UserError: There is no such row.
    """
    wanted = [slug(name) for name in names]
    rows = [row for row in table.rows if {row.key, slug(row.names[0])} & {*wanted}]
    known = {key for row in table.rows for key in (row.key, slug(row.names[0]))}
    if missing := [name for name in wanted if name not in known]:
        rows_there = ", ".join(row.key for row in table.rows)
        raise UserError(f"`only` {missing[0]}: {table.name} has no such row; it has {rows_there}")
    return rows or [*table.rows]


def reported_by_part(name: str, only: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the reported numbers of rows, each by what it is of: {"ERNIE-M": {"en": 85.5}}.

    Args:
        name: Of the table.
        only: Names of rows; none for all.

    Raises:
        UserError: There is no such table or row.
    """
    table = read_table(name)
    return {
        ", ".join(filter(None, (row.names[0], row.block))): {
            parts[0].partition(" ")[2]: number
            for parts, number in zip(table.numbers_of(row), row.reported, strict=True)
        }
        for row in choose_rows(table, only)
        if row.reported
    }


def slug(text: str) -> str:
    """Spell a name in small letters, of whatever script, digits and hyphens."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")
