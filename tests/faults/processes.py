"""Processes that are killed, asked to end, or lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.runs import Ended, continued, flags, result, run, unbroken
from tests.faults.table import Fault, Measured, Scale, all_of, joined

PHASES = {"warm-up": ("step", 1), "step": ("step", 5), "evaluation": ("evaluation", 1)}
PHASES |= {"save": ("save", 1), "data preparation": ("data preparation", 1)}
DEATHS = ("exception", "exit", "SIGKILL", "SIGSEGV")
IGNORED = ("HUP", "INT", "TERM")
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


def hangups(scale: Scale) -> Measured:
    """Lose the terminal or the launcher, and send signals that were switched off."""
    saved = same = orphans = 0
    cases = [(1, "SIGHUP to one process"), (2, "SIGHUP to the launcher")]
    cases += [] if scale.short else [(2, "SIGHUP to one process"), (2, "SIGKILL to the launcher")]
    for number, (processes, action) in enumerate(cases):
        place = scale.folder / f"hangup-{number}"
        fault = {"phase": "step", "calls": 5, "rank": processes - 1, "action": action}
        given = flags(scale.folder, place / "out", processes)
        ended = run(given, place, processes=processes, fault=fault, patience=20)
        orphans += ended.orphans
        saved += ended.code != 0 and (place / "out" / "latest").exists()
        same += continued(scale.folder, place, processes)
    place = scale.folder / "spawned"
    given = flags(scale.folder, place / "out", 2, n_gpu=2, max_steps=100_000, num_train_epochs=9999)
    sent: list[int] = []

    def hang_up(pids: list[int], history: Path = place / "out" / "history.jsonl") -> None:
        if not sent and history.exists() and history.read_bytes().count(b"\n") > 5:
            sent.append(pids[0])
            os.kill(pids[0], signal.SIGHUP)

    ended = run(given, place, meanwhile=hang_up)
    orphans += ended.orphans
    saved += ended.code == 129 and (place / "out" / "latest").exists()
    unmoved = 0
    for name in IGNORED:
        place = scale.folder / f"ignored-{name}"
        ended = run(
            flags(scale.folder, place / "out"),
            place,
            prefix=["sh", "-c", f"trap '' {name}; exec \"$@\"", "sh"],
            fault={"phase": "step", "calls": 5, "action": f"SIG{name} to one process"},
        )
        unmoved += ended.code == 0 and result(place / "out") == unbroken(scale.folder, 1)
    return joined(
        all_of(saved, len(cases) + 1, "saved"),
        all_of(same, len(cases), "continued bit for bit"),
        Measured(f"{orphans} orphans", not orphans),
        all_of(unmoved, len(IGNORED), "that were ignored changed nothing"),
    )


def launches(scale: Scale) -> Measured:
    """Start two launches of two processes in one folder, the second one a little later."""
    delays = [2] if scale.short else [0, 0.5, 1, 2, 3, 4, 5]
    ended: dict[str, Ended] = {}
    same = 0
    for number, delay in enumerate(delays):
        place = scale.folder / f"launches-{number}"

        def start(name: str, place: Path = place, number: int = number) -> None:
            output = place / name
            given = flags(scale.folder, output, 2)
            ended[f"{name}-{number}"] = run(given, place, processes=2)

        threads = [threading.Thread(target=start, args=(name,)) for name in ("first", "second")]
        wanted = unbroken(scale.folder, 2)
        for thread in threads:
            thread.start()
            time.sleep(delay if thread is threads[0] else 0)
        for thread in threads:
            thread.join()
        for name in ("first", "second"):
            good = ended[f"{name}-{number}"].code == 0
            same += good and result(place / name) == wanted
    slowest = max(one.seconds for one in ended.values())
    return joined(
        all_of(same, 2 * len(delays), "runs as if they were alone"),
        Measured(f"slowest {slowest:.0f} s", slowest <= 90),
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
    Fault(
        29,
        "SIGHUP to one process, the launcher and --n_gpu; SIGKILL of the launcher; SIGHUP, SIGINT "
        "and SIGTERM that were ignored when the run began",
        "a checkpoint, no orphan, the continued run identical; what was ignored changes nothing",
        hangups,
    ),
    Fault(
        30,
        "two launches of two processes in one log folder, the second 0 to 5 s after the first",
        "both come to what they come to alone; neither waits for the other",
        launches,
    ),
)
