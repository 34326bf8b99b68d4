"""The console command `paddlenlp-ext reproduce`: what it is asked for, and what it says."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from paddlenlp_ext.cli import parsing
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import locks
from paddlenlp_ext.reproduce import pages, readme, record
from paddlenlp_ext.reproduce.runs import Run, as_flags, grid_of, minutes_of, plan
from paddlenlp_ext.reproduce.search import Search, require
from paddlenlp_ext.reproduce.tables import (
    PLACE,
    SEED,
    Row,
    Table,
    choose_rows,
    known_tables,
    read_table,
)
from paddlenlp_ext.reproduce.work import Failure, do, refuse_others

FAILED = 1  # exit code when runs have failed
LOCK = ".lock"
OWN = (SEED, "output_dir")  # flags of which each run has its own
Points = dict[str, Sequence[Mapping[str, Any]]]  # settings by the row
MORE = """\
Each run is a process of its own, by the scripts that `paddlenlp-ext train` knows, in a folder of
its own below --output_dir. What is complete is not run again; a run that was stopped continues.
table.md, table.csv and table.tex are written after each run. Words after -- go to every run of
our side, as in: paddlenlp-ext reproduce bert-glue --seeds 3 -- --device cpu --data_dir glue
"""


def reproduce(parser: argparse.ArgumentParser, argv: Sequence[str]) -> int:
    """Run a table, or fill pages from what was run; return the exit code."""
    end = argv.index("--") if "--" in argv else len(argv)
    args, more = _add_flags(parser).parse_args(argv[:end]), argv[end + 1 :]
    if args.table is None and not args.update:
        parser.error(f"give a TABLE ({', '.join(known_tables())}, or a TOML file) or --update")
    if args.dry_run and args.update:
        raise UserError("`dry_run`: `update` writes pages; leave one")
    code = 0 if args.table is None else _run(args, more)
    for page in args.update or ():
        changed = readme.update(page, args.output_dir)
        print("\n".join(f"{path}: written" for path in changed) or f"{page}: is up to date")
    return code


def _refuse_own(words: Sequence[str], names: Iterable[str]) -> None:
    """Refuse flags that each run has of its own.

    Raises:
        UserError: There is one.
    """
    flags = argparse.ArgumentParser(add_help=False)
    for name in names:
        flags.add_argument(f"--{name}", nargs="?", const="", action="append")
    for name, given in vars(flags.parse_known_args(words)[0]).items():
        if given is not None:
            raise UserError(f"`{name}`: each run has its own; leave it out of what stands after --")


def _run(args: argparse.Namespace, more: Sequence[str]) -> int:
    """Run a table; return the exit code."""
    table = read_table(args.table)
    rows = choose_rows(table, args.only or ())
    varied = table.grid if args.grid else table.search if args.search else ()
    _refuse_own(more, (*OWN, *varied))
    places = dict(args.set or ())
    points: Points = {row.key: grid_of(table) for row in table.rows} if args.grid else {}

    def planned(some: Sequence[Row]) -> list[Run]:
        seeds = args.seeds or table.seeds
        return plan(table, some, args.output_dir, seeds=seeds, points=points, more=more)

    if args.search:
        require(table)
    jobs = args.jobs or max(1, len(args.devices or ()))
    _refuse_unknown(table, planned(table.rows), places)
    if args.dry_run:
        if args.search:
            raise UserError("`dry_run`: what `search` asks for follows from what is run; leave one")
        refuse_others(planned(rows), None)
        _show(planned(rows), places, jobs)
        return 0
    for run in planned(rows):  # before anything is written
        run.flags(places)
    if not args.search:  # whose runs are not known yet
        refuse_others(planned(rows), places)
    folder = args.output_dir / table.name
    _make(folder)
    failures = []
    with locks.hold(folder / LOCK):
        for runs in _portions(table, rows, args, points, planned):
            progress = _Progress(table, folder, runs, planned(rows), jobs)
            progress.write()
            try:
                devices = args.devices or ()
                failures += do(runs, places, jobs=jobs, devices=devices, ended=progress.ended)
            finally:
                progress.write()
    print((folder / "table.md").read_text(encoding="utf-8"), end="")
    for failure in failures:
        print(f"failed: {failure.run.name}: {failure.why}", file=sys.stderr)
        print(f"        {failure.run.folder}", file=sys.stderr)
    return FAILED if failures else 0


def _refuse_unknown(table: Table, runs: Sequence[Run], places: Iterable[str]) -> None:
    """Refuse places that no argument of any row has.

    Raises:
        UserError: There is one.
    """
    known = {name for run in runs for word in run.asked for name in PLACE.findall(word)}
    for name in places:
        if name not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise UserError(
                f"`set` {name}: {table.name} has no such place; {has}; flags go after --"
            )


def _portions(
    table: Table,
    rows: Sequence[Row],
    args: argparse.Namespace,
    points: Points,
    planned: Callable[[Sequence[Row]], list[Run]],
) -> Iterator[list[Run]]:
    """Yield the runs that are known: all, or of a search those of a trial after another."""
    if not args.search:
        yield planned(rows)
        return
    searches = {row.key: Search(table, row, args.output_dir) for row in rows}
    points |= {key: search.tried for key, search in searches.items()}  # in earlier calls
    for row in rows:
        search = searches[row.key]
        asked = itertools.chain(search.failed, iter(partial(search.ask, args.search), None))
        for number, settings in asked:
            points[row.key] = [settings]
            runs = planned([row])
            points[row.key] = search.tried
            yield runs
            search.tell(number, runs)
    yield []  # the pages of what was complete before


class _Progress:
    """Says what has ended, and keeps the pages as they are then."""

    def __init__(
        self, table: Table, folder: Path, runs: Sequence[Run], all_runs: Sequence[Run], jobs: int
    ) -> None:
        self.table = table
        self.folder = folder
        self.runs = runs
        self.all_runs = all_runs
        self.jobs = jobs
        self.left = [run for run in runs if run.measured() is None]

    def write(self) -> None:
        """Write the pages and the record; rows that are not asked for stay as they are in it."""
        found = record.collect(self.table, self.all_runs)
        found = {**record.read(self.table, self.folder), **found}
        record.keep(found, self.folder)
        pages.write(self.table, found, self.folder)

    def ended(self, run: Run, failure: Failure | None, seconds: float) -> None:
        """Tell of a run, and of what is left."""
        self.left = [one for one in self.left if one != run and one.measured() is None]
        what = f"failed ({failure.why})" if failure else f"complete after {_time(seconds / 60)}"
        left = _left(self.left, minutes_of(self.runs), self.jobs)
        done = f"[{len(self.runs) - len(self.left)}/{len(self.runs)}]"
        print(f"{done} {run.name}: {what}; {left}", file=sys.stderr, flush=True)
        self.write()


def _add_flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    add = parser.add_argument
    add("table", nargs="?", metavar="TABLE", help=f"{', '.join(known_tables())}, or a TOML file")
    where = "for a folder a run, and the tables"
    add("--output_dir", type=Path, metavar="DIR", default=Path("reproduced"), help=where)
    add("--seeds", type=parsing.positive_int, metavar="N", help="1 to N; default: the table's")
    values = "go through the values that the table's source names; those best on dev count"
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--grid", action="store_true", default=None, help=values)
    trials = "search N settings a row with Optuna, each by what the earlier ones gave on dev"
    several.add_argument("--search", type=parsing.positive_int, metavar="N", help=trials)
    add("--only", nargs="+", metavar="ROW", help="of the table's rows these")
    each = "runs at once; default: one, or one for each of --devices"
    add("--jobs", type=parsing.positive_int, metavar="N", help=each)
    gpus = "GPUs by their numbers, as 0,1: each has a run at a time"
    add("--devices", type=_devices, metavar="LIST", help=gpus)
    place = "what {NAME} in the table stands for, as a folder of data; can be repeated"
    add("--set", action="append", type=_pair, metavar="NAME=VALUE", help=place)
    only = "print all commands and how long they may take, and do nothing"
    add("--dry_run", "--dry-run", action="store_true", default=None, help=only)
    pages_to = "fill the marked tables of pages, and of their translations, from --output_dir"
    add("--update", nargs="+", type=Path, metavar="FILE", help=pages_to)
    return parser


def _devices(text: str) -> list[str]:
    numbers = [one.strip() for one in text.split(",")]
    if not all(map(str.isdigit, numbers)):
        raise argparse.ArgumentTypeError(f"expected numbers of GPUs as 0,1, got {text!r}")
    return numbers


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, str(Path(value).expanduser().absolute()) if Path(value).exists() else value


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made: {error.strerror}; give another `output_dir`"
        ) from error


def _show(runs: Sequence[Run], places: Mapping[str, str], jobs: int) -> None:
    """Print each command, and what is known of the time."""
    left = [run for run in runs if run.measured() is None]
    for run in runs:
        is_left = run in left
        output = as_flags({"output_dir": run.folder} if run.is_of_library else {})
        print(
            ("" if is_left else "# complete: ")
            + f"{run.shown(places)} {shlex.join(output)}".strip()
        )
    complete = len(runs) - len(left)
    if left and runs[0].table.minutes_source:
        print(f"# where nothing was run yet, times are from: {runs[0].table.minutes_source}")
    said = f"# {len(runs)} run{'s' * (len(runs) > 1)}, {complete} complete"
    print(f"{said}; {_left(left, minutes_of(runs), jobs)}")


def _left(runs: Sequence[Run], minutes: dict[Path, float], jobs: int) -> str:
    """Say how long some runs may take."""
    if not runs:
        return "nothing is left"
    known = [minutes[run.folder] for run in runs if run.folder in minutes]
    if not known:
        return f"{len(runs)} left; their time is known when one is complete"
    more = f", {len(runs) - len(known)} more of unknown time" * (len(known) < len(runs))
    return f"{len(runs)} left: about {_time(sum(known) / jobs)}{more}, {jobs} at a time"


def _time(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
