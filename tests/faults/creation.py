"""Processes that prepare data: lost, and asked to end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.faults.runs import Ended, encoder, run
from tests.faults.table import Fault, Measured, Scale, all_of, joined
from tests.scripts.test_bert_run_glue import ROOT

SCRIPT = ROOT / "examples/language_model/bert/create_pretraining_data.py"
SAMPLE = ROOT / "data/pretraining/sample_text.txt"
CORPUS = 400  # times the sample: a minute of work, of which seconds are done
WORKING = 2.0  # seconds of a processor: imported, and at work
SMALL = 20_000  # bytes of a block with which the first process writes nearly all the time


def workers(scale: Scale) -> Measured:
    """Kill a process that makes pretraining data; ask the whole run to end."""
    corpus = scale.folder / "corpus.txt"
    corpus.write_text((SAMPLE.read_text(encoding="utf-8") + "\n\n") * CORPUS, encoding="utf-8")
    cases = {
        "killed": (signal.SIGKILL, -1, 2, []),
        "SIGTERM": (signal.SIGTERM, 0, 143, []),
        "Ctrl-C": (signal.SIGINT, 0, 130, []),
    }
    for name in ("SIGTERM", "Ctrl-C"):
        cases |= {f"{name}, writing": (*cases[name][:3], ["--block_bytes", str(SMALL)])}
    orphans = 0
    slowest = 0.0
    missed = []
    for name, (number, which, code, more) in cases.items():
        ended, seconds = _disturbed(scale, corpus, name, number, which, more)
        is_named = "a process that made examples was ended" in ended.error or which == 0
        left = list((scale.folder / name).glob("*.hdf5"))
        if ended.code != code or not is_named or left or "Traceback" in ended.output:
            missed.append(f"{name} ended with {ended.code}: {ended.output[-300:]!r}")
        orphans += ended.orphans
        slowest = max(slowest, seconds)
    return joined(
        all_of(len(cases) - len(missed), len(cases), "with one line or none, and no half file"),
        *(Measured(text, met=False) for text in missed),
        _raising(scale, corpus),
        Measured(f"slowest end {slowest:.1f} s", slowest <= 10),
        Measured(f"{orphans} orphans", not orphans),
    )


# Found on the path before the library: what Python imports first in every process.
RAISING = """
import os, sys
if "--multiprocessing-fork" in sys.orig_argv:
    from paddlenlp_ext.pretraining.instances import InstanceMaker
    def make(self, block):
        raise RuntimeError("injected into a process that makes examples")
    InstanceMaker.make = make
"""


def _raising(scale: Scale, corpus: Path) -> Measured:
    """Let a process that makes examples raise an error: it is in what the run says."""
    place = scale.folder / "raising"
    (place / "first").mkdir(parents=True)
    (place / "first/sitecustomize.py").write_text(RAISING, encoding="utf-8")
    words = ["--input_file", corpus, "--output_file", place / "train.hdf5", "--processes", "2"]
    given = [*map(str, words), "--vocab_file", str(encoder(scale.folder) / "vocab.txt")]
    path = os.pathsep.join([str(place / "first"), str(ROOT)])
    ended = run(given, place, script=SCRIPT, PYTHONPATH=path)
    last = ended.output.strip().splitlines()[-1:]
    is_named = last == ["RuntimeError: injected into a process that makes examples"]
    good = ended.code == 1 and is_named and not list(place.glob("*.hdf5")) and ended.orphans == 0
    return Measured(
        "an error of a process ends the run, last in what it says" if good else f"{last}", good
    )


def _disturbed(
    scale: Scale, corpus: Path, name: str, number: int, which: int, more: list[str]
) -> tuple[Ended, float]:
    place = scale.folder / name
    vocabulary = encoder(scale.folder) / "vocab.txt"
    words = ["--input_file", corpus, "--output_file", place / "train.hdf5", "--processes", "2"]
    sent: list[float] = []

    def disturb(processes: list[int]) -> None:
        at_work = [pid for pid in processes[1:] if _seconds_of(pid) > WORKING]
        if at_work and not sent:
            sent.append(time.time())
            os.kill(at_work[0] if which else processes[0], number)

    given = [*map(str, words), "--vocab_file", str(vocabulary), *more]
    began = time.time()
    ended = run(given, place, script=SCRIPT, meanwhile=disturb)
    return ended, began + ended.seconds - sent[0] if sent else float("inf")


def _seconds_of(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


FAULTS = (
    Fault(
        23,
        "a process that prepares pretraining data is killed, or raises an error; the whole run "
        "gets SIGTERM and SIGINT, waiting and writing",
        "it stops within 10 s with one line or that error, no half file, no orphan",
        workers,
    ),
)
