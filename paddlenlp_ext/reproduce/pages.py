"""Write what a table has come to: Markdown for people, CSV for programs, LaTeX for papers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.reproduce.chance import Difference, from_measured, from_reported
from paddlenlp_ext.reproduce.record import Record, Side, names_of
from paddlenlp_ext.reproduce.runs import grid_of
from paddlenlp_ext.reproduce.tables import OURS, Row, Table

Words = Callable[[str], str]  # a heading in a page's language
Cells = list[list[str]]
NOT_YET = "not yet"
MOST_VALUES = 8  # of a setting that are listed
COLUMNS = (
    *("number", "side", "reported", "mean", "deviation", "seeds", "planned", "difference"),
    *("half_width", "is_chance", "settings", "command", "signature"),
)
LATEX = {one: f"\\{one}" for one in "&%_#${}"} | {
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def english(word: str) -> str:
    """Say what a heading stands for."""
    return ENGLISH.get(word, word)


def write(table: Table, record: Record, folder: Path) -> None:
    """Write `table.md`, `table.csv` and `table.tex`."""
    cells = cells_of(table, record)
    commands = "\n".join(_commands(table, record))
    page = f"# {table.title}\n\n{markdown(cells)}\n{note(table, record)}\n\n{commands}\n"
    for name, text in {"md": page, "csv": _csv(table, record), "tex": _latex(cells)}.items():
        with replace_file(folder / f"table.{name}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def markdown(cells: Cells) -> str:
    """Write rows, the first of which has the headings."""
    rows = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    escaped = ((cell.replace("|", r"\|") for cell in row) for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def cells_of(
    table: Table, record: Record, words: Words = english, *, measured_only: bool = False
) -> Cells:
    """Lay out a table: a row of the page is one here, or has one for each kind of number.

    Args:
        table: What it is of.
        record: What was measured.
        words: Translates headings.
        measured_only: Leave out the rows of which nothing was measured.
    """
    rows = [
        row
        for row in table.rows
        if not measured_only or any(side.seeds for side in record.get(row.key, {}).values())
    ]
    if table.headings:
        return _wide(table, rows, record, words)
    others = [one for one in (_reported(table), table.peer and table.peer.name) if one]
    heading = OURS if table.peer else "Measured"
    cells = [[*map(words, [*table.columns, *([others[0]] if _reported(table) else [])])]]
    cells[0] += [words(heading), *([table.peer.name] if table.peer else [])]
    cells[0] += [words("Difference") + f" ({words(one)})" * (len(others) > 1) for one in others]
    for row in rows:
        sides = record.get(row.key, {})
        ours = sides.get(OURS)
        line = [*map(words, row.names)]
        if _reported(table):
            line.append(" / ".join(f"{value:.{table.digits}f}" for value in row.reported))
        line.append(_measured(table, ours, words))
        if table.peer:
            line.append(_measured(table, sides.get(table.peer.name), words) if row.has_peer else "")
        line += [
            " / ".join(
                _said(one, table.digits, words) for one in _differences(table, row, sides, to)
            )
            for to in others
        ]
        cells.append(line)
    return cells


def note(table: Table, record: Record, words: Words = english) -> str:
    """Say how to read the table: what the numbers are, and what more than chance means."""
    splits = {
        name.split(" ")[0] for row in table.rows for one in table.numbers_of(row) for name in one
    }
    is_of_dev = table.choice == "best" and all(split.startswith("dev") for split in splits)
    parts = [words("choice best dev" if is_of_dev else f"choice {table.choice}")]
    if any(side.tried for sides in record.values() for side in sides.values()):
        parts += [words("settings")]
    parts += [words("deviation")]
    if _reported(table):
        parts += [words("interval reported").format(runs=table.reported_runs)]
        parts += [words("source").format(source=table.source)]
    if table.peer:
        parts += [words("interval sides")]
    parts += [words("bold")] * bool(table.headings)
    return " ".join(parts)


# How tables are to be read; other languages have the same keys.
ENGLISH = {
    "choice best": "Measured: of each run the step that is best on dev, tested once; the mean over "
    "the seeds.",
    "choice best dev": "Measured: of each run the step that is best on dev, and its number there; "
    "the mean over the seeds.",
    "choice last": "Measured: of each run the last step; the mean over the seeds.",
    "settings": "Of several settings those whose mean score on dev is best.",
    "deviation": "± is the standard deviation over the seeds.",
    "interval reported": "Difference: measured less reported, with half of Student's 95 % "
    "interval, for which the reported number counts as the mean of {runs} run(s) that deviate as "
    "ours do; of twenty numbers one lies outside by chance.",
    "interval sides": "Difference: ours less theirs, with half of Welch's 95 % interval; of twenty "
    "numbers one lies outside by chance.",
    "bold": "Differences that are more than chance are bold.",
    "source": "Reported: {source}.",
    "nothing yet": "Nothing measured yet: `paddlenlp-ext reproduce {name}`.",
}


def _reported(table: Table) -> str:
    return "Reported" if any(row.reported for row in table.rows) else ""


def _wide(table: Table, rows: Iterable[Row], record: Record, words: Words) -> Cells:
    cells = [[*map(words, table.columns), *map(words, table.headings)]]
    block = ""
    for row in rows:
        if row.block != block:
            block = row.block
            cells.append([block, *[""] * (len(cells[0]) - 1)])
        sides = record.get(row.key, {})

        def add(what: str, values: Iterable[str], row: Row = row) -> None:
            first, *others = map(words, row.names)
            cells.append([f"{first}, {what}", *others, *values])

        if row.reported:
            add(words("reported"), (f"{value:.{table.digits}f}" for value in row.reported))
        names = [OURS, *([table.peer.name] if table.peer and row.has_peer else [])]
        for name in names:
            side = sides.get(name)
            heading = name if table.peer else words("measured")
            numbers = range(len(table.headings))
            if side is None or not side.seeds:
                add(f"{heading}: {words(NOT_YET)}", ("" for _ in numbers))
            else:
                add(
                    f"{heading} ({_seeds(side, words)})",
                    (_number(side, place, table.digits) for place in numbers),
                )
        for to in [_reported(table), table.peer.name if table.peer else ""]:
            differences = _differences(table, row, sides, to)
            if differences:
                add(words("difference"), (_short(one, table.digits) for one in differences))
    return cells


def _differences(table: Table, row: Row, sides: Mapping[str, Side], to: str) -> list[Difference]:
    """Compare our numbers with those that are reported, or with the peer's."""
    ours, other = sides.get(OURS), sides.get(to)
    if ours is None or not ours.seeds:
        return []
    places = range(len(table.numbers_of(row)))
    if to == "Reported" and row.reported:
        runs = table.reported_runs
        return [from_reported(ours.number(at), row.reported[at], runs) for at in places]
    if other is None or not other.seeds:
        return []
    return [from_measured(ours.number(at), other.number(at)) for at in places]


def _measured(table: Table, side: Side | None, words: Words) -> str:
    if side is None or not side.seeds:
        return words(NOT_YET)
    places = range(len(next(iter(side.values.values()))))
    numbers = " / ".join(_number(side, place, table.digits) for place in places)
    return f"{numbers} ({_seeds(side, words)})"


def _number(side: Side, place: int, digits: int) -> str:
    deviation = side.deviation(place)
    more = "" if deviation is None else f" ± {deviation:.{digits}f}"
    return f"{side.mean(place):.{digits}f}{more}"


def _seeds(side: Side, words: Words) -> str:
    """Say how many seeds there are, and what is missing."""
    if side.seeds < side.planned:
        said = words("{n} of {planned} seeds")
    else:
        said = words("{n} seed") if side.seeds == 1 else words("{n} seeds")
    said = said.format(n=side.seeds, planned=side.planned)
    left = words("; {n} other settings incomplete").format(n=side.settings_left)
    return said + left * bool(side.settings_left)


def _short(one: Difference, digits: int) -> str:
    half = "" if one.half_width is None else f" ± {one.half_width:.{digits}f}"
    text = f"{one.value:+.{digits}f}{half}"
    return f"**{text}**" if one.is_chance is False else text


def _said(one: Difference, digits: int, words: Words) -> str:
    without = "one seed: no interval" if one.runs < 2 else "seeds do not deviate: no interval"
    verdict = {True: "within chance", False: "more than chance", None: without}
    return f"{_short(one, digits).strip('*')}, {words(verdict[one.is_chance])}"


def _commands(table: Table, record: Record) -> Iterable[str]:
    """List how each row came about."""
    tried = [side.tried for sides in record.values() for side in sides.values() if side.tried]
    if table.grid_source and any(all(map(grid_of(table).__contains__, one)) for one in tried):
        yield f"Values of the grid: {table.grid_source}.\n"
    yield "Commands, to which seed and output folder are added, and signatures:\n"
    for row in table.rows:
        for side in record.get(row.key, {}).values():
            name = ", ".join(one for one in (row.block, row.names[0]) if one)
            signature = f"; signature of its first run: `{side.signature}`" * bool(side.signature)
            yield f"- {name}: `{side.command}`{_tried(side)}{signature}"


def _tried(side: Side) -> str:
    """Say among which settings those of a side were chosen."""
    if not side.tried:
        return ""
    values: dict[str, list[Any]] = {}
    for name, value in (pair for settings in side.tried for pair in settings.items()):
        values.setdefault(name, []).append(value)
    listed = (f"{name} {_listed(several)}" for name, several in values.items())
    return f"; the best on dev of {len(side.tried)} settings ({'; '.join(listed)})"


def _listed(values: Sequence[Any]) -> str:
    several = [*dict.fromkeys(values)]
    if len(several) > MOST_VALUES and all(isinstance(one, int | float) for one in several):
        return f"{min(several):.6g} to {max(several):.6g}"
    return ", ".join(f"{one:.6g}" if isinstance(one, float) else str(one) for one in several)


def _csv(table: Table, record: Record) -> str:
    """Write a line for each number of each side."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["block", *table.columns, *COLUMNS])
    for row in table.rows:
        sides = record.get(row.key, {})
        to = _reported(table) if row.reported else table.peer.name if table.peer else ""
        differences = _differences(table, row, sides, to)
        for name, side in sides.items():
            for place, number in enumerate(names_of(table.numbers_of(row))):
                one = differences[place] if differences and name == OURS else None
                numbers = {
                    "number": number,
                    "side": name,
                    "reported": row.reported[place] if row.reported else None,
                    "mean": side.mean(place) if side.seeds else None,
                    "deviation": side.deviation(place),
                    "seeds": side.seeds,
                    "planned": side.planned,
                    "difference": one and one.value,
                    "half_width": one and one.half_width,
                    "is_chance": one and one.is_chance,
                    "settings": json.dumps(side.settings),
                    "command": side.command,
                    "signature": side.signature,
                }
                writer.writerow([row.block, *row.names, *(numbers[column] for column in COLUMNS)])
    return text.getvalue()


def _latex(cells: Sequence[Sequence[str]]) -> str:
    """Write a tabular of the package booktabs."""

    def line(row: Sequence[str]) -> str:
        return " & ".join(map(_escaped, row)) + r" \\"

    head, *rows = cells
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{'l' * len(head)}}}",
            *(r"\toprule", line(head), r"\midrule", *map(line, rows), r"\bottomrule"),
            "\\end{tabular}\n",
        ]
    )


def _escaped(text: str) -> str:
    text = "".join(LATEX.get(character, character) for character in text)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)
