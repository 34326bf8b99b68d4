"""The files that a run writes beside its checkpoints, and what can be read of them at any time.

A run may be going on, or have been killed in the middle of a line: what is whole is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from paddlenlp_ext.files.typed import typed

RESULTS = "results.jsonl"  # what came of it, with a signature
HISTORY = "history.jsonl"  # every update and evaluation
RUN = "record.json"  # what was run, where and how far
OUTCOMES = "outcomes.json"  # what the best model and the newest get right and wrong
CURVES = "curves.png"

HIGHEST = 1e100  # beyond which nothing was measured, and nothing can be drawn
ENDED_WELL = ("complete", "ended early")
# Of what is read of `record.json`, the types; a value of another one was not written here.
RECORD: Mapping[str, Any] = {
    **dict.fromkeys(("format", "signature", "ended", "ends_with"), str),
    **dict.fromkeys(("total_steps", "best_step"), int),
    **dict.fromkeys(("evaluation_seconds", "memory", "device_memory"), float),
    **dict.fromkeys(("process", "model", "versions", "machine", "settings"), Mapping[str, Any]),
    "starts": Sequence[Mapping[str, int | str]],
    "data": Mapping[str, Mapping[str, Any]],
}

Line = dict[str, Any]


def _number(text: str, make: Callable[[str], float] = float) -> float | None:
    """Read a number; None where no machine has measured it."""
    found = make(text)
    return found if abs(found) <= HIGHEST else None


_decoder = json.JSONDecoder(
    parse_float=_number,
    parse_int=partial(_number, make=int),
    parse_constant=lambda name: None,  # NaN, as older versions wrote
)


def _parsed(text: bytes) -> Any:
    return _decoder.decode(text.decode("utf-8", "surrogatepass"))


def read_lines(path: Path, having: bytes = b"") -> Iterator[Line | None]:
    """Read the whole lines of a file.

    Args:
        path: Of the file.
        having: What a line must have to be read; a history may have a million others.

    Yields:
        Objects; None for what is no JSON, or none of an object.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and having in line:
                try:
                    row = _parsed(line)
                except (ValueError, RecursionError):
                    row = None
                yield row if type(row) is dict else None


def read_history(path: Path) -> Iterator[Line]:
    """Read what is a row of a history; nothing where the file cannot be read."""
    with suppress(OSError):
        yield from filter(is_history_row, _objects(path))


def read_evaluations(path: Path) -> Iterator[Line]:
    """Read those of a history's rows that are not of updates; nothing where it cannot be read."""
    with suppress(OSError):
        rows = filter(is_history_row, _objects(path, b'"split"'))
        yield from (row for row in rows if "split" in row)


def read_results(path: Path) -> Iterator[Line]:
    """Read what is a result; nothing where the file cannot be read."""
    with suppress(OSError):
        yield from filter(is_result, _objects(path))


def _objects(path: Path, having: bytes = b"") -> Iterator[Line]:
    return (row for row in read_lines(path, having) if row is not None)


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


def is_result(row: Line) -> bool:
    """Return whether a line has what is read of a result."""
    metrics = row.get("metrics")
    return (
        type(row.get("signature")) is str
        and type(metrics) is dict
        and all(type(value) in (int, float, type(None)) for value in metrics.values())
    )


def split_of(result: Line) -> str:
    """Name the split that a result is of; empty where its signature does not say so."""
    parts: list[str] = result["signature"].split("|")
    return [*parts, "", ""][2]


def read_facts(path: Path, types: Mapping[str, Any] | None = None) -> Line:
    """Read a file of one object; empty where there is none, or another's.

    Args:
        path: Of the file.
        types: Of values by their names; those of other types are left out.
    """
    with suppress(OSError, ValueError, RecursionError):
        found = _parsed(path.read_bytes())
        facts = found.items() if type(found) is dict else ()
        return {name: value for name, value in facts if _fits((types or {}).get(name, Any), value)}
    return {}


def _fits(hint: Any, value: Any) -> bool:
    with suppress(ValueError):
        typed(hint, value)
        return True
    return False
