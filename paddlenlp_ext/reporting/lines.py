"""The files that a run writes beside its checkpoints, and what can be read of them at any time.

A run may be going on, or have been killed in the middle of a line: what is whole is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

RESULTS = "results.jsonl"  # what came of it, with a signature
HISTORY = "history.jsonl"  # every update and evaluation
RUN = "record.json"  # what was run, where and how far
OUTCOMES = "outcomes.json"  # what the best model and the newest get right and wrong
CURVES = "curves.png"

Line = dict[str, Any]


def read_lines(path: Path) -> Iterator[Line | None]:
    """Read the whole lines of a file.

    Yields:
        Objects; None for what is no JSON, or none of an object.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                yield row if type(row) is dict else None


def read_history(path: Path) -> Iterator[Line]:
    """Read what is a row of a history; nothing where the file cannot be read."""
    with suppress(OSError):
        yield from (row for row in read_lines(path) if row is not None and is_history_row(row))


def is_history_row(row: Line) -> bool:
    """Return whether a line has what is read of a history's rows."""
    metrics = row.get("metrics", {})
    if type(row.get("step")) is not int or "loss" not in row or type(metrics) is not dict:
        return False
    if "split" in row and not (type(row["split"]) is str and metrics):
        return False
    return all(
        type(value) in (int, float, type(None)) for value in (row["loss"], *metrics.values())
    )


def read_facts(path: Path) -> Line:
    """Read a file of one object; empty where there is none, or another's."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_bytes())
        return found if type(found) is dict else {}
    return {}
