"""The runs of a table: their commands, their folders, and what they have measured.

A run is complete when its own files have the numbers of its row: the scripts write `results.jsonl`
once they have ended training and testing, so nothing else has to be kept in mind.
"""

from __future__ import annotations

import argparse
import itertools
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.reporting.lines import (
    ENDED_WELL,
    HISTORY,
    RECORD,
    RESULTS,
    RUN,
    Line,
    is_history_row,
    read_evaluations,
    read_facts,
    read_lines,
    read_results,
    split_of,
)
from paddlenlp_ext.reporting.scores import best, by_step, scores_of, spelled
from paddlenlp_ext.reproduce.tables import OURS, PLACE, Row, Table, slug

LOG = "log.txt"
STATE = "run.json"  # what was started, and how long it took
STATE_TYPES = {
    **dict.fromkeys(("asked", "flags"), Sequence[str]),
    **dict.fromkeys(("seconds", "spent"), float),
}
COMMAND = "paddlenlp-ext"
JUDGE = "metric_for_best_model"  # the setting that says which step is best
# The same installation as this process, whatever the PATH has.
BEGINNINGS = {COMMAND: [sys.executable, "-m", "paddlenlp_ext"], "python": [sys.executable]}


@dataclass(frozen=True)
class Measured:
    """What a complete run says.

    Attributes:
        values: By split and metric: "dev acc".
        score: On dev, of the step that counts; higher is better.
        signature: What the numbers depend on.
    """

    values: Mapping[str, float]
    score: float
    signature: str


@dataclass(frozen=True)
class Run:
    """One run of one side of a row.

    Attributes:
        table: Whose it is.
        row: Likewise.
        side: `OURS`, or the name of the peer.
        settings: Values of the grid's arguments.
        seed: Of data order, dropout and new weights.
        folder: Its output folder.
        command: Its words before the flags.
        arguments: All others, `{places}` not filled in.
        more: Words that were given for all runs.
    """

    table: Table
    row: Row
    side: str
    settings: Mapping[str, Any]
    seed: int
    folder: Path
    command: str
    arguments: Mapping[str, Any]
    more: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name the run for people."""
        parts = [self.row.key, *(f"{name}={value}" for name, value in self.settings.items())]
        side = [] if self.side == OURS else [self.side]
        return " ".join([*parts, *side, f"seed {self.seed}"])

    @property
    def is_of_library(self) -> bool:
        """Whether it is a script of this library, with files of its own; the peer's may be one."""
        return self.side == OURS or _is_command(self.command)

    @property
    def numbers(self) -> list[list[str]]:
        """What each of its row's numbers is the mean of."""
        return self.table.numbers_of(self.row)

    @property
    def asked(self) -> list[str]:
        """Return the flags of the run, places not filled in: another run has others."""
        return [*as_flags(self.arguments), *self.more]

    def shown(self, places: Mapping[str, str] | None = None, *, seed: bool = True) -> str:
        """Write the command as a user would type it, a place without a value in capitals."""
        known = places or {}
        arguments = {
            name: value for name, value in self.arguments.items() if seed or name != "seed"
        }
        words = [*self.command.split(), *as_flags(arguments), *self.more]
        filled = (
            PLACE.sub(lambda found: known.get(found[1], found[1].upper()), word) for word in words
        )
        return shlex.join(filled)

    @property
    def program(self) -> list[str]:
        """Return the words of the process to start, before its flags."""
        first, *others = self.command.split()
        return [*BEGINNINGS.get(first, [first]), *others]

    def flags(self, places: Mapping[str, str]) -> list[str]:
        """Return its flags, but for the output folder.

        Raises:
            UserError: A place is not given.
        """
        return [_filled(word, places, self.table) for word in self.asked]

    def measured(self) -> Measured | None:
        """Read what it has measured; None as long as a number of its row is missing."""
        found = self._own() if self.is_of_library else self._peers()
        wanted = [name for parts in self.numbers for name in parts]
        if found is None or not all(
            math.isfinite(found.values.get(one, math.nan)) for one in wanted
        ):
            return None
        return found

    def lack(self) -> str:
        """Say what a run that has ended lacks to be complete."""
        metrics = {split_of(one): one["metrics"] for one in read_results(self.folder / RESULTS)}
        metrics |= {row["split"]: row["metrics"] for row in self._said()[1]}
        there = [name for name, value in _flat(metrics).items() if not math.isnan(value)]
        lacking = [name for parts in self.numbers for name in parts if name not in there]
        if lacking and there:
            return f"has no {', '.join(lacking)}, but {', '.join(there)}"
        ends = read_facts(self.folder / RUN, RECORD).get("ends_with", self.table.choice)
        if not lacking and ends != self.table.choice:
            return (
                f"has tested its {ends} model, where the table's 'choice' is {self.table.choice}: "
                "change that, or the argument load_best_model_at_end"
            )
        return "ended without the numbers of its row"

    def _own(self) -> Measured | None:
        """Read a script's own files."""
        recorded = {split_of(line): line for line in read_results(self.folder / RESULTS)}
        splits = {name.split(" ", 1)[0] for parts in self.numbers for name in parts}
        if not splits <= {*recorded}:  # not at its end
            return None
        evaluated = by_step(read_evaluations(self.folder / HISTORY))
        scores = scores_of(evaluated, self._judged_by())
        step = best(scores) if self.table.choice == "best" else max(evaluated, default=None)
        # A model that is worth nothing has none, nor has a step that is being evaluated. With the
        # best one a run may have ended early for models that are worth nothing.
        steps = {line["step"] for line in recorded.values() if "step" in line}
        is_sound = steps <= {*scores} and None not in [
            one.get("loss", 0) for one in recorded.values()
        ]
        choice, known = self.table.choice, read_facts(self.folder / RUN, RECORD)
        if not is_sound and (choice != "best" or known.get("ended") not in ENDED_WELL):
            return None
        chosen = () if step is None else evaluated[step]
        of_step = {row["split"]: row["metrics"] | {"loss": row["loss"]} for row in chosen}
        if not splits <= {*of_step} and known.get("ends_with", choice) != choice:
            return None  # of another model than the one that was tested
        metrics = {name: line["metrics"] for name, line in recorded.items()} | of_step
        signature = recorded[sorted(splits)[0]]["signature"]
        return Measured(_flat(metrics), -math.inf if step is None else scores[step], signature)

    def _judged_by(self) -> str | None:
        """Return the metric that its command chooses the best step by; None for the first."""
        flags = argparse.ArgumentParser(add_help=False)
        flags.add_argument(f"--{JUDGE}", type=spelled)
        known: str | None = vars(flags.parse_known_args(self.asked)[0])[JUDGE]
        return known

    def _peers(self) -> Measured | None:
        """Read the line of JSON that another library's program prints."""
        line, rows = self._said()
        if not rows:
            return None
        dev = [row for row in rows if row["split"].startswith("dev")]
        score = scores_of({0: dev or rows}).get(0, -math.inf)
        libraries = ("transformers", "torch")
        versions = [f"{name} {line[name]}" for name in libraries if name in line]
        values = {row["split"]: row["metrics"] for row in rows}
        return Measured(_flat(values), score, ", ".join(versions))

    def _said(self) -> tuple[Line, list[Line]]:
        """Return the last line of a program with results, and a row of a history for each split."""
        said = read_lines(self.folder / LOG, b'"results"')
        line = [{}, *(line for line in said if line and "results" in line)][-1]
        results = line.get("results")
        rows = [
            {"step": 0, "loss": 0.0, "split": split, "metrics": metrics}
            for split, metrics in (results.items() if isinstance(results, dict) else ())
        ]
        return line, rows if all(map(is_history_row, rows)) else []

    @property
    def seconds(self) -> float | None:
        """How long it took; None where it is not known, or not complete."""
        return self.state().get("seconds")

    def state(self) -> dict[str, Any]:
        """Read what is known of how it was run before."""
        return read_facts(self.folder / STATE, STATE_TYPES)


def plan(
    table: Table,
    rows: Iterable[Row],
    folder: Path,
    *,
    seeds: int,
    points: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    more: Sequence[str] = (),
) -> list[Run]:
    """List all runs of some rows, those of one row after those of another.

    Args:
        table: What to run.
        rows: Of it.
        folder: In which the table has its own.
        seeds: How many: 1, 2, ...
        points: Settings to run by the row's key; a row without any is run with the page's own.
        more: Words that all runs of our side get, too.
    """
    runs = []
    for row in rows:
        own = {**table.arguments, **row.arguments}
        of_page = {name: own[name] for name in table.grid if name in own}
        sides = [(OURS, row.command or table.command, {**own, **table.ours, **row.ours})]
        if table.peer and row.has_peer:
            shared = {**table.ours, **row.ours} if _is_command(table.peer.command) else {}
            theirs = {**own, **shared, **table.peer.arguments, **row.theirs}
            sides.append((table.peer.name, table.peer.command, theirs))
        for side, command, arguments in sides:
            for settings in (points or {}).get(row.key) or [of_page]:
                for seed in range(1, seeds + 1):
                    where = "_".join(f"{name}={value}" for name, value in settings.items())
                    last = f"seed-{seed}" if side == OURS else f"{slug(side)}-seed-{seed}"
                    path = folder / table.name / row.key / (where or "page") / last
                    words = {**arguments, **settings, "seed": seed}
                    extra = more if side == OURS else ()
                    runs.append(Run(table, row, side, settings, seed, path, command, words, extra))
    return runs


def grid_of(table: Table) -> list[dict[str, Any]]:
    """List all settings of a table's grid.

    Raises:
        UserError: The table has no grid.
    """
    if not table.grid:
        raise UserError(f"`grid`: {table.name} has none: its source names no values to go through")
    products = itertools.product(*table.grid.values())
    return [dict(zip(table.grid, values, strict=True)) for values in products]


def minutes_of(runs: Sequence[Run]) -> dict[Path, float]:
    """Estimate the minutes of runs by their folders: as measured here, or as the page has it.

    A run takes as long as its passes over the data; one of which nothing is known is left out.
    """
    of_page: dict[tuple[str, str], float] = {}  # minutes of a pass
    here: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        key = (run.row.key, run.side)
        if run.row.minutes is not None:
            own = {**run.table.arguments, **run.row.arguments}
            of_page[key] = run.row.minutes / _passes(own)
        if (seconds := run.seconds) is not None:  # of a file
            here.setdefault(key, []).append(seconds / 60 / _passes(run.arguments))
    rates = of_page | {key: fmean(minutes) for key, minutes in here.items()}
    return {
        run.folder: rates[key] * _passes(run.arguments)
        for run in runs
        if (key := (run.row.key, run.side)) in rates
    }


def _passes(arguments: Mapping[str, Any]) -> float:
    """Return the passes over the data; 1 where they are not said, as of a run of some updates."""
    passes = arguments.get("num_train_epochs")
    return passes if isinstance(passes, int | float) and passes > 0 else 1


def as_flags(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Spell arguments as words: true is a flag alone, false none."""
    for name, value in arguments.items():
        if value is not False:
            yield f"--{name}"
        if isinstance(value, list):
            yield from map(str, value)
        elif not isinstance(value, bool):
            yield str(value)


def _is_command(command: str) -> bool:
    return command.split()[0] == COMMAND


def _filled(word: str, places: Mapping[str, str], table: Table) -> str:
    def given(found: Any) -> str:
        name = found[1]
        if name not in places:
            what = table.places.get(name, "a place")
            raise UserError(f"{table.name} needs `set` {name}=PATH: {what}")
        return places[name]

    return PLACE.sub(given, word)


def _flat(splits: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        f"{split} {name}": math.nan if value is None else value
        for split, metrics in splits.items()
        for name, value in metrics.items()
    }
