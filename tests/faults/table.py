"""What is injected, what must come of it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Measured(NamedTuple):
    """What came of an injection.

    Attributes:
        text: For the table.
        met: Whether that is the target; None where this machine does not allow to measure it.
    """

    text: str
    met: bool | None


@dataclass(frozen=True)
class Scale:
    """How much is done, and where.

    Attributes:
        short: Whether a few minutes must do.
        folder: For everything that is written.
    """

    short: bool
    folder: Path

    def of(self, long: int, short: int) -> int:
        """Choose a count."""
        return short if self.short else long


@dataclass(frozen=True)
class Fault:
    """A row of the table; `number` is that of docs/reliability.md."""

    number: int
    injection: str
    target: str
    measure: Callable[[Scale], Measured]


class Result(NamedTuple):
    """A measured row."""

    fault: Fault
    measured: Measured
    seconds: float

    @property
    def verdict(self) -> str:
        """The last column."""
        return {True: "met", False: "MISSED", None: "not measured"}[self.measured.met]


def all_of(good: int, count: int, what: str) -> Measured:
    """Say how many of all went well; all must."""
    return Measured(f"{good:,} of {count:,} {what}", good == count)


def joined(*parts: Measured) -> Measured:
    """Several figures of one row; one that could not be measured does not count."""
    verdicts = {part.met for part in parts} - {None}
    met = None if not verdicts else all(verdicts)
    return Measured("; ".join(part.text for part in parts), met)


def markdown(results: Sequence[Result]) -> str:
    """The table of the document."""
    lines = ["| # | Injection | Target | Measured | |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        fault = result.fault
        cells = (str(fault.number), fault.injection, fault.target, result.measured.text)
        lines.append(f"| {' | '.join(cells)} | {result.verdict} |")
    return "\n".join(lines) + "\n"
