"""The tables and lists of a report, as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from paddlenlp_ext.reporting.lines import Line
from paddlenlp_ext.reporting.runs import Group, RunRecord, parts_of

MOST_CLASSES = 100  # rows of the table of labels
LONGEST = 600  # letters of a text


def escaped(value: object) -> str:
    """Return a value as text of a page; names of folders that are no Unicode by escapes."""
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode())


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], texts: Sequence[str] = ()
) -> str:
    """Write a table; numbers stand at the right.

    Args:
        header: Names of the columns; those without a cell are left out.
        rows: Their cells; None is an empty one.
        texts: Columns of long texts.
    """
    lines = [[*row] for row in rows]
    kept = [at for at in range(len(header)) if any(row[at] is not None for row in lines)]
    header, lines = [header[at] for at in kept], [[row[at] for at in kept] for row in lines]
    is_number = [
        any(isinstance(row[at], (int, float)) for row in lines) for at in range(len(header))
    ]
    kinds = [
        ' class="text"' if name in texts else ' class="number"' * number
        for name, number in zip(header, is_number, strict=True)
    ]
    head = "".join(f"<th{k}>{escaped(name)}</th>" for name, k in zip(header, kinds, strict=True))
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{k}>{_cell(v)}</td>" for v, k in zip(row, kinds, strict=True))
        + "</tr>"
        for row in lines
    )
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>\n'


def of_runs(groups: Sequence[Group]) -> str:
    """List the runs with what they scored at their best step, and means over the seeds."""
    columns = [
        *dict.fromkeys(name for group in groups for run in group.runs for name in _scores(run))
    ]
    rows: list[Sequence[object]] = []
    for group in groups:
        found = [_scores(run) for run in group.runs]
        for run, scores in zip(group.runs, found, strict=True):
            total = f" of {run.total_steps:,}" if run.total_steps else ""
            rows.append(
                (
                    *(str(run.folder), run.state, f"{run.step:,}{total}", run.best_step),
                    *(scores.get(name) for name in columns),
                    *_times(run),
                )
            )
        if len(found) > 1:
            name = f"{group.name}: " * (len(groups) > 1) + f"mean of {len(found)} runs"
            means = [_mean([scores.get(column) for scores in found]) for column in columns]
            rows.append((name, "", "", None, *means, None, None, None, None))
    times = ("updates, s", "evaluation, s", "updates a second", "memory, GiB")
    return table(("run", "state", "updates", "best", *columns, *times), rows)


def of_classes(groups: Sequence[Group]) -> str:
    """List precision, recall and F1 of each label at the best step: means over the seeds."""
    rows: list[Sequence[object]] = []
    for group in groups:
        found: dict[tuple[str, str], list[Line]] = {}
        for run in group.runs:
            for row in run.evaluations:
                classes = row.get("classes")
                if row["step"] == run.best_step and type(classes) is dict:
                    for label, one in classes.items():
                        if type(one) is dict:
                            found.setdefault((row["split"], label), []).append(one)
        for (split, label), ones in found.items():
            lacking = [None] * (len(group.runs) - len(ones))
            numbers = [
                _mean([*(one.get(name) for one in ones), *lacking])
                for name in ("precision", "recall", "f1")
            ]
            name = (group.name,) * (len(groups) > 1)
            rows.append((*name, split, label, *numbers, ones[0].get("support")))
    header = (*("runs",) * (len(groups) > 1), "split", "label", "precision", "recall", "f1", "rows")
    more = f"<p>The first {MOST_CLASSES} of {len(rows)}.</p>" * (len(rows) > MOST_CLASSES)
    return table(header, rows[:MOST_CLASSES]) + more if rows else ""


def of_errors(errors: Iterable[Line], *, has_texts: bool) -> str:
    """List errors, the worst first."""
    columns = {
        "loss": "loss",
        "split": "split",
        "source": "row",
        "label": "label",
        "predicted": "predicted",
        "probability": "probability",
    } | ({"text": "text"} if has_texts else {})
    rows = [[_short(error.get(name)) for name in columns] for error in errors]
    return table([*columns.values()], rows, ("text",)) if rows else ""


def of_facts(run: RunRecord) -> str:
    """Write down what was run: command, signature, data, versions, machine, settings."""
    facts = run.facts
    items: dict[str, str] = {}
    for start in facts.get("starts") or ():
        step = start.get("step")
        since = f" from step {step:,} on" if step and type(step) is int else ""
        items[f"command, {start.get('date')}{since}"] = (
            f"<pre>{escaped(start.get('command'))}</pre>"
        )
    signatures = dict.fromkeys(str(line["signature"]) for line in run.results)
    items["signature"] = "<br>".join(map(escaped, signatures)) or escaped(run.signature)
    if data := facts.get("data"):
        rows = [(split, one.get("rows"), one.get("digest")) for split, one in data.items()]
        items["data"] = table(("split", "rows", "digest"), rows)
    for name in ("model", "versions", "machine", "settings"):
        if found := facts.get(name):
            items[name] = escaped(_listed(found))
    if date := facts.get("date"):
        items["last written"] = escaped(date)
    for path, failure in run.failures.items():
        said = f"{failure.get('date')}: process {failure.get('rank')}: {failure.get('reason')}"
        items[str(path)] = escaped(said)
    lines = "\n".join(f"<dt>{escaped(name)}</dt><dd>{text}</dd>" for name, text in items.items())
    return f"<h3>{escaped(run.folder)}</h3>\n<dl>\n{lines}\n</dl>\n"


def _scores(run: RunRecord) -> dict[str, float]:
    """Return what a run scored at its best step: of many parts of a split, the average."""
    measured = run.at(run.best_step)
    many = parts_of([*measured])
    found: dict[str, list[float]] = {}
    for split, metrics in measured.items():
        whole = split.partition("_")[0]
        for name, value in metrics.items():
            column = f"{whole} {name}, average" if whole in many else f"{split} {name}"
            found.setdefault(column, []).append(math.nan if value is None else value)
    return {name: fmean(values) for name, values in found.items()}


def _times(run: RunRecord) -> tuple[float | None, ...]:
    """Return seconds of updates and of evaluations, updates a second, and GiB."""
    seconds = run.of_updates("seconds").values
    evaluating = run.facts.get("evaluation_seconds")
    memory = run.facts.get("device_memory") or run.facts.get("memory")
    total = float(seconds.sum()) if len(seconds) else None
    return (
        None if total is None else round(total, 1),
        evaluating,
        round(len(seconds) / total, 2) if total else None,
        round(memory / 2**30, 2) if memory else None,
    )


def _mean(values: Sequence[float | None]) -> object:
    """Write the mean of what there is, its standard deviation, and of how many if some lack."""
    there = [one for one in values if isinstance(one, (int, float)) and math.isfinite(one)]
    lacking = f" ({len(there)} of {len(values)})" * (len(there) < len(values))
    if len(there) < 2:
        return f"{there[0]:.4f}{lacking}" if there and lacking else next(iter(there), None)
    return f"{fmean(there):.4f} ± {stdev(there):.4f}{lacking}"


def _listed(found: Any) -> str:
    """Write down an object in a line."""
    if isinstance(found, Mapping):
        return "; ".join(f"{name} {_listed(value)}" for name, value in found.items())
    return _short(found) if isinstance(found, str) else str(found)


def _short(value: Any) -> Any:
    """Cut a long text."""
    is_long = isinstance(value, str) and len(value) > LONGEST
    return f"{value[: LONGEST - 1]}…" if is_long else value


def _cell(value: object) -> str:
    """Write a cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else escaped(value)
