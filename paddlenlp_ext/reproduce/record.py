"""What the runs of a table have come to, in `table.json`: all that its pages are written from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_object, replace_file
from paddlenlp_ext.files.typed import typed
from paddlenlp_ext.reproduce.runs import Measured, Run
from paddlenlp_ext.reproduce.tables import Table

RECORD = "table.json"


@dataclass(frozen=True)
class Side:
    """What one side of a row has come to, with the settings that are best on dev.

    Attributes:
        command: Without seed and output folder.
        planned: Seeds that were asked for.
        settings: Values of the grid's arguments that were chosen.
        settings_left: How many others have runs that are not complete.
        signature: Of the first seed's numbers.
        values: The row's numbers by seed, scaled as the page has them.
        numbers: What these are: "dev acc"; empty where an earlier version did not say it.
        tried: All settings among which those were chosen; empty where there was no other.
    """

    command: str
    planned: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_left: int = 0
    signature: str = ""
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    numbers: Sequence[str] = ()
    tried: Sequence[Mapping[str, Any]] = ()

    @property
    def seeds(self) -> int:
        """How many were measured."""
        return len(self.values)

    def number(self, place: int) -> list[float]:
        """Return one of the row's numbers, of all seeds."""
        return [values[place] for values in self.values.values()]

    def mean(self, place: int) -> float:
        """Average a number over the seeds."""
        return fmean(self.number(place)) if self.values else math.nan

    def deviation(self, place: int) -> float | None:
        """Return the standard deviation of a number over the seeds; None of a single one."""
        return stdev(self.number(place)) if self.seeds > 1 else None


Record = Mapping[str, Mapping[str, Side]]  # by row, then by side


def collect(table: Table, runs: Iterable[Run]) -> Record:
    """Read what the runs of a table have measured so far.

    Of several settings those count whose mean on dev is best, among those with most seeds.
    """
    record: dict[str, dict[str, Side]] = {}
    for (key, side), group in groupby(runs, key=lambda run: (run.row.key, run.side)):
        by_settings: dict[str, list[tuple[Run, Measured | None]]] = {}
        for run in group:
            by_settings.setdefault(repr(run.settings), []).append((run, run.measured()))
        record.setdefault(key, {})[side] = _choose(table, [*by_settings.values()])
    return record


def _choose(table: Table, groups: Sequence[Sequence[tuple[Run, Measured | None]]]) -> Side:
    def worth(group: Sequence[tuple[Run, Measured | None]]) -> tuple[int, float]:
        scores = [found.score for _, found in group if found is not None]
        return len(scores), fmean(scores) if scores else -math.inf

    chosen = max(groups, key=worth)
    measured = [(run, found) for run, found in chosen if found is not None]
    first = chosen[0][0]
    return Side(
        first.shown(seed=False),
        len(chosen),
        first.settings,
        sum(any(found is None for _, found in group) for group in groups if group is not chosen),
        measured[0][1].signature if measured else "",
        {
            str(run.seed): [
                table.scale * fmean(found.values[name] for name in parts) for parts in run.numbers
            ]
            for run, found in measured
        },
        names_of(first.numbers),
        [group[0][0].settings for group in groups] if len(groups) > 1 else [],
    )


def names_of(numbers: Iterable[Sequence[str]]) -> list[str]:
    """Name numbers, of which some are means of several."""
    return [" + ".join(parts) for parts in numbers]


def keep(record: Record, folder: Path) -> None:
    """Write a record."""
    rows = {
        key: {name: asdict(side) for name, side in sides.items()} for key, sides in record.items()
    }
    with replace_file(folder / RECORD) as temporary:
        temporary.write_text(
            json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read(table: Table, folder: Path) -> Record:
    """Read the record of a table; an empty one where there is none.

    Raises:
        UserError: It is none, or has other numbers than the table.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    numbers = {row.key: names_of(table.numbers_of(row)) for row in table.rows}
    try:
        record: Record = typed(Record, read_object(path))
        for key, sides in record.items():
            for side in sides.values() if key in numbers else ():
                wanted = numbers[key]
                if [*side.numbers] not in ([], wanted):
                    raise ValueError(
                        f"{key} has {', '.join(side.numbers)}, the table {', '.join(wanted)}"
                    )
                for values in side.values.values():
                    if len(values) != len(wanted):
                        raise ValueError(f"{key} has {len(values)} numbers, not {len(wanted)}")
        return record
    except ValueError as error:
        raise UserError(
            f"{path}: is no record of this table: {error}; delete it, and run the table again"
        ) from error
