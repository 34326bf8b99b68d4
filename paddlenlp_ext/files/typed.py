"""Make dataclasses of what others have written into a file, and refuse values of other types."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from paddlenlp_ext.errors import shown

NAMES: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
    Mapping: "names with values",
}


def typed(hint: Any, value: Any, where: str = "") -> Any:
    """Return a value of a file as one of a type.

    Args:
        hint: The type: text, numbers, bool, None, Any, a Literal, a dataclass, or sequences,
            mappings and unions of such.
        value: As the file's parser has it.
        where: What the value is called: "rows[0].names".

    Raises:
        ValueError: It is of another type, or a number is not finite.
    """
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        for part in parts:
            if _has_form(part, value):
                return typed(part, value, where)
    elif _has_form(hint, value):
        if is_dataclass(kind):
            return _make(kind, value, where)
        if kind is Sequence:
            return [typed(parts[0], one, f"{where}[{index}]") for index, one in enumerate(value)]
        if kind is Mapping:
            return {name: typed(parts[1], one, _join(where, name)) for name, one in value.items()}
        return value
    raise ValueError(f"{where} must be {_spelled(hint)}, not {shown(value)}")


def _make(kind: Any, content: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = {one.name: one for one in fields(kind)}
    if unknown := [name for name in content if name not in known]:
        there = f" in {where}" if where else ""
        raise ValueError(f"unknown key {shown(unknown[0])}{there}; known: {', '.join(known)}")
    for name, one in known.items():
        if one.default is one.default_factory is MISSING and name not in content:
            raise ValueError(f"{_join(where, name)} is missing")
    values = {name: typed(hints[name], one, _join(where, name)) for name, one in content.items()}
    return kind(**values)


def _has_form(hint: Any, value: object) -> bool:
    """Return whether a value is of a type but for what is in it."""
    kind = get_origin(hint) or hint
    if is_dataclass(kind) or kind is Mapping:
        return isinstance(value, dict)
    if kind is Sequence:
        return isinstance(value, list)
    if kind is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return kind is Any or type(value) is kind


def _spelled(hint: Any) -> str:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return f"one of {', '.join(parts)}"
    if kind is Sequence:
        return "a list"
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_spelled, parts)))
    return NAMES.get(kind, NAMES[Mapping])


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
