"""Bars of what was measured language by language, or in other parts of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paddlenlp_ext.reporting.drawing import ENTRY, Names, Theme, legend, new_figure, title_lines
from paddlenlp_ext.reporting.lines import split_of
from paddlenlp_ext.reporting.runs import Group, RunRecord, parts_of

AVERAGE = "average"
MARKS = "Dxo^sv<>P*+d"  # of reported rows
MOST_NUMBERS = 48  # bars that have their numbers in them
WIDTH = 0.26  # inches of a bar
LEGEND = 3.4  # inches of a name below

# Of a row of a paper: a number for each language, and for the average if it has one.
Reported = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Table:
    """What was measured of the parts of a split.

    Attributes:
        split: "test".
        metric: "acc".
        groups: By its name, of each group the numbers of its runs by the part.
    """

    split: str
    metric: str
    groups: Mapping[str, Mapping[str, Sequence[float]]]

    @property
    def parts(self) -> list[str]:
        """All parts that any group has."""
        return [*dict.fromkeys(part for rows in self.groups.values() for part in rows)]

    @property
    def is_share(self) -> bool:
        """Whether all numbers are parts of one, and so shown in per cent."""
        numbers = [one for rows in self.groups.values() for found in rows.values() for one in found]
        return all(0 <= one <= 1 for one in numbers)


def language_tables(groups: Sequence[Group]) -> list[Table]:
    """Collect what groups of runs have measured of the parts of splits."""
    found: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    for group in groups:
        for run in group.runs:
            for (split, metric), numbers in {**_of_results(run), **_of_history(run)}.items():
                rows = found.setdefault((split, metric), {}).setdefault(group.name, {})
                for part, value in numbers.items():
                    rows.setdefault(part, []).append(value)
    return [Table(split, metric, rows) for (split, metric), rows in found.items()]


def bars(table: Table, reported: Reported | None, names: Names, *, theme: Theme) -> Any:
    """Draw the parts beside each other, and their average as the last ones and as lines.

    Args:
        table: What was measured.
        reported: Rows of papers, in the table's unit.
        names: How parts are drawn.
        theme: Colours.
    """
    parts, factor = table.parts, 100.0 if table.is_share else 1.0
    places = np.arange(len(parts) + 1) + np.r_[np.zeros(len(parts)), 0.5]
    rows = {name: row for name, row in (reported or {}).items() if set(row) & set(parts)}
    count = len(table.groups)
    inches = max(6.5, 1.2 + len(places) * max(count * WIDTH + 0.15, 0.42))
    entries = count + len(rows)
    beside = max(1, min(entries, int(inches // LEGEND)))
    drawn = names.of(parts)
    longest = max(map(len, drawn))
    is_upright = longest > 5
    high = 3.6 + ENTRY * math.ceil(entries / beside) * (entries > 1)
    figure = new_figure(inches, high + 0.075 * longest * is_upright)
    axes = figure.subplots()
    handles: dict[str, Any] = {}
    for number, (name, by_part) in enumerate(table.groups.items()):
        colour = theme.colour(number, count)
        values = [[factor * one for one in by_part.get(part, ())] for part in parts]
        values.append(_averages(values))
        means = np.array([np.mean(one) if one else math.nan for one in values])
        spread = np.array([np.std(one, ddof=1) if len(one) > 1 else math.nan for one in values])
        width = 0.8 / count
        at = places - 0.4 + width * (number + 0.5)
        handles[name] = axes.bar(at, means, width * 0.92, color=colour)
        axes.errorbar(at, means, spread, fmt="none", ecolor=theme.ink, elinewidth=1, capsize=2)
        axes.axhline(means[-1], color=colour, linewidth=1, linestyle="--", zorder=0.5)
        if count * len(places) <= MOST_NUMBERS:
            texts = [f"{mean:.1f}" if factor > 1 else f"{mean:.3g}" for mean in means]
            _write(axes, at, texts, theme, is_narrow=count > 1)
    for number, (name, row) in enumerate(rows.items()):
        heights = [row.get(part, math.nan) for part in (*parts, AVERAGE)]
        look = {"color": theme.ink, "marker": MARKS[number % len(MARKS)], "markersize": 4.5}
        (handles[f"reported: {name}"],) = axes.plot(places, heights, linestyle="none", **look)
    unit = ", per cent" * (factor > 1)
    title = title_lines(f"{table.metric} of {table.split}{unit}", inches - 1)
    axes.set(title="\n".join(title), xlim=(places[0] - 0.6, places[-1] + 0.6))
    axes.set_xticks(places, [*drawn, AVERAGE], rotation=90 if is_upright else 0)
    axes.grid(visible=False, axis="x")
    if len(handles) > 1:
        legend(figure, handles, loc="outside lower center", ncols=beside)
    return figure


def _write(axes: Any, at: Any, texts: Sequence[str], theme: Theme, *, is_narrow: bool) -> None:
    """Write numbers at the feet of bars, where nothing else is; upright in narrow ones."""
    for x, text in zip(at, texts, strict=True):
        if text != "nan":
            axes.annotate(
                text, (x, 0), (0, 3), textcoords="offset points", ha="center", va="bottom",
                fontsize=7.5, color=theme.ground, rotation=90 if is_narrow else 0,
            )  # fmt: skip


def _averages(values: Sequence[Sequence[float]]) -> list[float]:
    """Average the parts of each run; none where a run lacks one."""
    counts = {len(one) for one in values}
    return [float(np.mean(run)) for run in zip(*values, strict=True)] if len(counts) == 1 else []


def _of_history(run: RunRecord) -> dict[tuple[str, str], dict[str, float]]:
    """Read what the best step's model scored, or the last's: the first metric."""
    steps = [row["step"] for row in run.evaluations]
    measured = run.at(run.best_step if run.best_step in steps else max(steps, default=None))
    found: dict[tuple[str, str], dict[str, float]] = {}
    for whole, parts in parts_of([*measured]).items():
        for part in parts:
            metric, value = next(iter(measured[f"{whole}_{part}"].items()))
            if value is not None:
                found.setdefault((whole, metric), {})[part] = value
    return found


def _of_results(run: RunRecord) -> dict[tuple[str, str], dict[str, float]]:
    """Read tables of languages, each a line, and lines of parts; the newest count."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    by_part: dict[str, tuple[str, float]] = {}
    for line in run.results:
        split = split_of(line)
        numbers = {name: value for name, value in line["metrics"].items() if value is not None}
        if AVERAGE in numbers and len(numbers) > 3:
            metric, _, *codes = numbers
            found[split, metric] = {code: numbers[code] for code in codes}
        elif numbers:
            by_part[split] = next(iter(numbers.items()))
    for whole, parts in parts_of([*by_part]).items():
        for part in parts:
            metric, value = by_part[f"{whole}_{part}"]
            found.setdefault((whole, metric), {})[part] = value
    return found
