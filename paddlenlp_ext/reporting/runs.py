"""A run as its folder tells of it, and runs that differ by nothing but their seed."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process.launcher import FAILED
from paddlenlp_ext.reporting.curves import Curve
from paddlenlp_ext.reporting.lines import (
    HISTORY,
    OUTCOMES,
    RECORD,
    RESULTS,
    RUN,
    Line,
    read_facts,
    read_history,
    read_results,
)
from paddlenlp_ext.reporting.scores import best, by_step, scores_of

SEED = re.compile(r"seed\d+")
LENGTH = re.compile(r"len\d+")
SIGNED = ("seed", "batch_size", "gradient_accumulation_steps")  # settings that signatures have
SEVERAL = 3  # parts of a split, as languages, from which on their average stands for them


@dataclass(frozen=True)
class RunRecord:
    """What the folder of a run holds.

    Attributes:
        folder: Its `output_dir`.
        updates: Rows of its history, one an update.
        evaluations: The others, one a split and step.
        results: Lines of its results, and not of those of another run in the folder.
        facts: What was run, and how far; empty for runs of before there was such a file.
        outcomes: What "best" and "last" model get right and wrong, by split.
    """

    folder: Path
    updates: Sequence[Line] = ()
    evaluations: Sequence[Line] = ()
    results: Sequence[Line] = ()
    facts: Line = field(default_factory=dict)
    outcomes: Line = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read a run, which may be going on, or have ended anyhow.

        Raises:
            UserError: There is none.
        """
        run = cls.of(folder)
        if not (run.updates or run.evaluations or run.results or run.facts):
            raise UserError(
                f"{folder}: expected {HISTORY}, {RESULTS} or {RUN} of a run, got none with a whole "
                "line; give the `output_dir` of one"
            )
        return run

    @classmethod
    def of(cls, folder: Path) -> RunRecord:
        """Read what there is in a folder."""
        rows = [*read_history(folder / HISTORY)]
        facts = read_facts(folder / RUN, RECORD)
        own = _trained(facts.get("signature", ""))
        return cls(
            folder,
            [row for row in rows if "split" not in row],
            [row for row in rows if "split" in row],
            [
                line
                for line in read_results(folder / RESULTS)
                if not own or _trained(line["signature"]) in ((), own)
            ],
            facts,
            read_facts(folder / OUTCOMES),
        )

    @property
    def failures(self) -> dict[Path, Line]:
        """What Paddle's launcher was told of processes that failed, where its logs are here."""
        places = (self.folder / FAILED, self.folder / "log" / FAILED)
        return {path: found for path in places if (found := read_facts(path))}

    @property
    def signature(self) -> str:
        """What its numbers depend on; empty where nothing says so yet."""
        told = [str(line["signature"]) for line in self.results]
        trained = [one for one in told if _trained(one)]
        newest: str = self.facts.get("signature") or ["", *told, *trained][-1]
        return newest

    @property
    def name(self) -> str:
        """What it is called where others are called otherwise."""
        return self.folder.name or str(self.folder)

    @property
    def step(self) -> int:
        """The last update that was written down."""
        return max((row["step"] for row in self.updates), default=0)

    @property
    def splits(self) -> list[str]:
        """The splits that were evaluated, in their order."""
        return [*dict.fromkeys(row["split"] for row in self.evaluations)]

    @property
    def metrics(self) -> list[str]:
        """The metrics of its evaluations."""
        return [*dict.fromkeys(name for row in self.evaluations for name in row["metrics"])]

    def loss(self) -> Curve:
        """The loss of each update."""
        return Curve.of((row["step"], row["loss"]) for row in self.updates)

    def of_updates(self, name: str) -> Curve:
        """Another number of each update: `learning_rate` or `seconds`."""
        found = ((row["step"], row.get(name)) for row in self.updates)
        return Curve.of((step, v) for step, v in found if isinstance(v, (int, float)))

    def measured(self, split: str, name: str) -> Curve:
        """A metric of a split over the steps, or its "loss"."""
        rows = [row for row in self.evaluations if row["split"] == split]
        if name == "loss":
            return Curve.of((row["step"], row["loss"]) for row in rows)
        return Curve.of((r["step"], r["metrics"][name]) for r in rows if name in r["metrics"])

    @property
    def best_step(self) -> int | None:
        """The step that its models are judged best at: as the run says, or by the first metric."""
        told: int | None = self.facts.get("best_step")
        return best(scores_of(by_step(self.evaluations))) if told is None else told

    @property
    def total_steps(self) -> int | None:
        """Updates of the whole run, where it says so."""
        return self.facts.get("total_steps")

    @property
    def state(self) -> str:
        """How the run has ended, or whether it goes on."""
        if not self.facts:
            return "not known"
        if "ended" in self.facts:
            return str(self.facts["ended"])
        process = self.facts.get("process", {})
        if process.get("host") == socket.gethostname():
            return "goes on" if _is_there(process.get("number")) else "ended without a word"
        return "goes on, or ended without a word"

    def at(self, step: int | None) -> dict[str, dict[str, float | None]]:
        """The metrics of each split at a step."""
        return {row["split"]: row["metrics"] for row in self.evaluations if row["step"] == step}

    def outcome(self) -> tuple[int, Mapping[str, Any]]:
        """Return the step and the outcomes by split of the best model, or else of the newest.

        Those of a step that is no longer in the history are another course of the run.
        """
        steps = {row["step"] for row in self.evaluations}
        for which in ("best", "last"):
            found = self.outcomes.get(which)
            if type(found) is dict and type(found.get("step")) is int and found["step"] in steps:
                if which == "best" and found["step"] != self.best_step:
                    continue  # an earlier best one, or by another metric
                splits = found.get("splits")
                if type(splits) is dict and splits:
                    return found["step"], splits
        return 0, {}


@dataclass(frozen=True)
class Group:
    """Runs that are drawn as one, since they differ by their seeds alone.

    Attributes:
        name: By what the group differs from the others.
        runs: At least one.
    """

    name: str
    runs: Sequence[RunRecord]

    @property
    def splits(self) -> list[str]:
        """The splits that any of the runs evaluated."""
        return [*dict.fromkeys(split for run in self.runs for split in run.splits)]

    @property
    def metrics(self) -> list[str]:
        """The metrics of any of the runs."""
        return [*dict.fromkeys(name for run in self.runs for name in run.metrics)]

    def curves(self, split: str, name: str) -> list[Curve]:
        """A metric of a split, run by run."""
        return [run.measured(split, name) for run in self.runs]


def grouped(runs: Sequence[RunRecord]) -> list[Group]:
    """Bring runs together that differ by nothing but their seed, and name what others differ by."""
    signed: dict[tuple[str, ...], list[RunRecord]] = {}
    for run in runs:
        signed.setdefault(_key(run), []).append(run)
    found = {
        (*key, *more): some
        for key, members in signed.items()
        for more, some in _parted(members).items()
    }
    common = set.intersection(*(set(key) for key in found))
    names = []
    for key, members in found.items():
        parts = [part for part in key if part not in common]
        several = f"{len(members)} runs" if len(members) > 1 else members[0].name
        names.append("|".join(parts) or several)
    return [Group(name, members) for name, members in zip(names, found.values(), strict=True)]


def parts_of(splits: Sequence[str]) -> dict[str, list[str]]:
    """Tell the splits that have many parts, as languages: their parts by what they are parts of."""
    found: dict[str, list[str]] = {}
    for split in splits:
        whole, _, part = split.partition("_")
        if part:
            found.setdefault(whole, []).append(part)
    return {whole: parts for whole, parts in found.items() if len(parts) >= SEVERAL}


def _trained(signature: str) -> tuple[str, ...]:
    """Return the parts of a signature that say how a model was trained; empty where it was not.

    Of the task that is its collection: the rest may be named after the files of a split.
    """
    model, task, _split, _metric, *others = [*signature.split("|"), "", "", ""]
    how = [part for part in takewhile(lambda one: not LENGTH.fullmatch(one), others) if part]
    seeds = (part for part in others if SEED.fullmatch(part))
    return (model, task.partition("/")[0], *how, *seeds) if how else ()


def _key(run: RunRecord) -> tuple[str, ...]:
    """Return what runs of a group have in common; a run that does not say it has its own group."""
    if not run.signature:
        return (str(run.folder),)
    model, task, _split, _metric, *others = [*run.signature.split("|"), "", "", ""][:64]
    return model, task, *(part for part in others if part and not SEED.fullmatch(part))


def _parted(runs: Sequence[RunRecord]) -> dict[tuple[str, ...], list[RunRecord]]:
    """Part runs of one signature by what it leaves out: other settings, and other data.

    Rows that are held out depend on the seed, and so do digests; what counts as other data is that
    of a seed which is there twice.
    """
    seeds = [[part for part in run.signature.split("|") if SEED.fullmatch(part)] for run in runs]
    is_twice = any(seeds.count(one) > 1 for one in seeds)
    told = [_settings(run) | (_digests(run) if is_twice else {}) for run in runs]
    values: dict[str, set[str]] = {}
    for name, value in (item for one in told for item in one.items()):
        values.setdefault(name, set()).add(value)
    words = {name: _apart(some) for name, some in values.items() if len(some) > 1}
    found: dict[tuple[str, ...], list[RunRecord]] = {}
    for run, one in zip(runs, told, strict=True):
        parts = (f"{name} {some[one[name]]}" for name, some in words.items() if name in one)
        found.setdefault(tuple(parts), []).append(run)
    return found


def _apart(values: Collection[str]) -> dict[str, str]:
    """Name values as shortly as tells them apart: paths from where they part."""
    start = ""
    if all(map(os.path.isabs, values)):
        with suppress(ValueError):  # on several drives
            start = os.path.commonpath(values)
    return {value: os.path.relpath(value, start) if start else value for value in values}


def _settings(run: RunRecord) -> dict[str, str]:
    """Return the settings of a run that its signature does not have, or not all."""
    settings = run.facts.get("settings", {})
    return {name: str(value) for name, value in settings.items() if name not in SIGNED}


def _digests(run: RunRecord) -> dict[str, str]:
    """Return the beginnings of the digests of a run's data, by split."""
    data = run.facts.get("data", {})
    return {
        f"{split} data": str(one["digest"])[:8] for split, one in data.items() if "digest" in one
    }


def _is_there(process: object) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(int(str(process)), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True
