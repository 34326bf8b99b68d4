"""Processes that are killed, asked to end, or lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.faults.runs import Ended, continued, flags, run
from tests.faults.table import Fault, Measured, Scale, all_of, joined

PHASES = {"warm-up": ("step", 1), "step": ("step", 5), "evaluation": ("evaluation", 1)}
PHASES |= {"save": ("save", 1), "data preparation": ("data preparation", 1)}
DEATHS = ("exception", "exit", "SIGKILL", "SIGSEGV")
SAVED = {"warm-up", "step", "evaluation", "save"}  # where there is something to save


def signals(scale: Scale) -> Measured:
    """Send signals to the launcher or a process, and continue the run."""
    cases = list(_cases())
    if scale.short:
        cases = [cases[3], cases[9], cases[12]]
    saved = same = orphans = codes = 0
    slowest = 0.0
    for number, (name, target, phase) in enumerate(cases):
        place = scale.folder / f"signal-{number}"
        ended = _interrupted(scale, place, f"{name} to {target}", phase)
        slowest = max(slowest, ended.seconds)
        orphans += ended.orphans
        codes += ended.code != 0
        saved += phase not in SAVED or (place / "out" / "latest").exists()
        same += continued(scale.folder, place, 2)
    return joined(
        all_of(saved, len(cases), "saved what there was"),
        all_of(same, len(cases), "continued bit for bit"),
        Measured(f"slowest end {slowest:.1f} s", slowest <= 20 and codes == len(cases)),
        Measured(f"{orphans} orphans", not orphans),
    )


def _cases() -> Iterator[tuple[str, str, str]]:
    for name in ("SIGTERM", "SIGINT"):
        for target in ("the launcher", "one process"):
            for phase in PHASES:
                yield name, target, phase


def _interrupted(scale: Scale, place: Path, action: str, phase: str) -> Ended:
    kind, calls = PHASES[phase]
    # Only the first process saves; elsewhere the second is hit, if not the launcher.
    rank = int(kind != "save")
    return run(
        flags(scale.folder, place / "out", 2),
        place,
        processes=2,
        fault={"phase": kind, "calls": calls, "rank": rank, "action": action},
    )


def deaths(scale: Scale) -> Measured:
    """Lose a process in a step, or before the processes have found each other."""
    moments = (("step", 5, 1), ("join", 1, 0), ("join", 1, 1))
    cases = [(*moment, death) for moment in moments for death in DEATHS]
    if scale.short:
        cases = [cases[0], cases[2], cases[6]]
    ended_well = named = orphans = 0
    slowest = 0.0
    for number, (phase, calls, rank, death) in enumerate(cases):
        place = scale.folder / f"death-{number}"
        fault = {"phase": phase, "calls": calls, "rank": rank, "action": death}
        ended = run(flags(scale.folder, place / "out", 2), place, processes=2, fault=fault)
        slowest = max(slowest, ended.seconds)
        orphans += ended.orphans
        ended_well += ended.code != 0
        report = place / "log" / "FAILED.json"
        facts = json.loads(report.read_text()) if report.exists() else {}
        named += facts.get("rank") == rank and bool(facts["traceback"])
    return joined(
        all_of(ended_well, len(cases), "with an exit code other than 0"),
        Measured(f"slowest end {slowest:.1f} s", slowest <= 15),
        Measured(f"{orphans} orphans", not orphans),
        all_of(named, len(cases), "reported with rank and traceback"),
    )


FAULTS = (
    Fault(
        6,
        "SIGTERM and SIGINT, to the launcher and to one of two processes, in warm-up, step, "
        "evaluation, save and data preparation",
        "a checkpoint, the end within 20 s, no orphan, the continued run identical",
        signals,
    ),
    Fault(
        7,
        "one of two processes ends by exception, os._exit(7), SIGKILL or SIGSEGV, in a step and, "
        "the first or the second, before the processes have met",
        "the launcher ends within 15 s with an error, no orphan, rank and traceback in FAILED.json",
        deaths,
    ),
)
