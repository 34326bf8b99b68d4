"""Tables are files that people write: whatever stands in one, it is refused or does no harm."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from pathlib import Path

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.reproduce import pages
from paddlenlp_ext.reproduce.runs import minutes_of, plan
from paddlenlp_ext.reproduce.tables import known_tables, read_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OTHERS = Path(__file__).parents[2] / "benchmarks/reproduce"
VALUES = (5, -1.5, math.nan, "x", "", [], [1], ["a b"], {}, {"a": 1}, True, [{}])


@pytest.mark.parametrize("path", [known_tables()["convbert-glue"], OTHERS / "minilm-glue.toml"])
def test_other_values_are_refused_or_harmless(path, tmp_path):
    content = tomllib.loads(path.read_text())
    content["rows"] = content["rows"][:2]
    wrong, refused = tmp_path / "wrong.toml", 0
    for way in ways_into(content):
        for value in VALUES:
            write(wrong, replaced(content, way, value))
            refused += 1
            with contextlib.suppress(UserError):
                table = read_table(str(wrong))
                for run in plan(table, table.rows, tmp_path, seeds=1):
                    run.flags(dict.fromkeys(table.places, "there"))
                    minutes_of([run])
                pages.note(table, {})
                pages.markdown(pages.cells_of(table, {}))
                refused -= 1
    assert refused > len(VALUES)


def ways_into(content, before=()):
    """Where there are values: keys and indices, one after the other."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from ways_into(value, (*before, key))


def replaced(content, way, value):
    """A copy with another value somewhere."""
    if not way:
        return value
    copy = content.copy()
    copy[way[0]] = replaced(content[way[0]], way[1:], value)
    return copy


def write(path, content):
    """Write TOML, a line for each key."""

    def spelled(value):
        if isinstance(value, dict):
            return f"{{{', '.join(f'{key} = {spelled(one)}' for key, one in value.items())}}}"
        if isinstance(value, list):
            return f"[{', '.join(map(spelled, value))}]"
        return json.dumps(value).replace("NaN", "nan")

    path.write_text("".join(f"{key} = {spelled(value)}\n" for key, value in content.items()))
