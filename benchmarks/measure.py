"""Run the jobs of a section in turns, and keep every answer as a line of a file.

A measurement that is in the file already is not repeated, so a run that was interrupted goes on
where it was, and tables can be made again without measuring.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.cases import Section
from benchmarks.jobs import (
    EXPORTED,
    ROOT,
    Batches,
    Job,
    JobFailedError,
    JobRefusedError,
    Package,
    environment,
    run,
)
from benchmarks.machine import describe, load

MULTILINGUAL = (
    "rembert",
    "rembert_fast",
    "ernie_m",
    "xlm_r",
)  # families whose tokenizers need files that are not ours


@dataclass(frozen=True)
class Record:
    """One measurement of one side.

    Attributes:
        section: Its key.
        case: Its name.
        side: Its name.
        round: Number of the turn, from 0.
        job: All fields of the job; a record counts only for the job that made it.
        seconds: Of a pass.
        peak_mb: Most memory.
        rows: Examples of a pass.
        source: What its batches or texts were taken from.
        versions: Of what was measured.
        machine: Where.
        date: When.
        load: Processes that wanted to run just before; 0 on a quiet machine.
        wall: Seconds of the whole process.
    """

    section: str
    case: str
    side: str
    round: int
    job: dict[str, Any]
    seconds: float
    peak_mb: float = 0.0
    rows: int = 0
    source: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    date: str = ""
    load: float = 0.0
    wall: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What it is a measurement of."""
        return self.section, self.case, self.side, self.round, json.dumps(self.job, sort_keys=True)


@dataclass(frozen=True)
class Workplace:
    """Where measurements find what they need.

    Attributes:
        results: File of the records.
        folder: For weights and batches, which are made once and kept.
        pythons: Of the environment of each package; without one its sides are left out.
        sst2: Folder of SST-2's files, or the one above.
        vocabulary: Folder with a BERT's vocab.txt.
        multilingual: Folder with a sentencepiece model and a vocab.txt; may be absent.
        texts: Folder of .tsv and .txt files to tokenize.
    """

    results: Path
    folder: Path
    pythons: Mapping[Package, str]
    sst2: Path
    vocabulary: Path | None
    multilingual: Path | None
    texts: Path

    def can_run(self, job: Job) -> bool:
        """Whether the environment and the files of a job are there."""
        if job.package not in self.pythons:
            return False
        if job.work == "tokenize" and job.shape in MULTILINGUAL:
            return self.multilingual is not None
        needs_vocabulary = job.reads_texts or job.batches.kind != "full"
        return self.vocabulary is not None or not needs_vocabulary


def read(path: Path) -> list[Record]:
    """Read the records of a file; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Record(**json.loads(line)) for line in lines]


def fields_of(job: Job) -> dict[str, Any]:
    """What a record keeps of a job, as it is when it has been read again."""
    kept: dict[str, Any] = json.loads(job.to_json())
    return kept


def measure(
    name: str,
    section: Section,
    place: Workplace,
    rounds: int | None = None,
    wanted: Callable[[str, str], bool] = lambda case, side: True,
) -> Iterator[str]:
    """Measure what is not measured yet, and say what came of it.

    Args:
        name: Key of the section.
        section: What to measure.
        place: Where.
        rounds: In place of those of each case.
        wanted: Whether a case's side, by the names of both, is to be measured.

    Yields:
        A line for every measurement, and for every job that failed.
    """
    known = {record.key for record in read(place.results)}
    for case in section.cases:
        asked = {side: job for side, job in case.jobs.items() if wanted(case.name, side)}
        possible = {side: job for side, job in asked.items() if place.can_run(job)}
        yield from (
            f"{name}: {case.name}: {side}: left out" for side in asked if side not in possible
        )
        failed: set[str] = set()
        for number in range(rounds or case.rounds):
            for side in turn(list(possible), number):
                record = Record(name, case.name, side, number, fields_of(possible[side]), 0.0)
                if record.key not in known and side not in failed:
                    said, done = take(record, possible[side], place)
                    if not done:
                        failed.add(side)
                    yield f"{name}: {case.name}: {side}: {said}"


def turn(sides: list[str], number: int) -> list[str]:
    """Begin each round with another side, so that none always follows the same one."""
    first = number % max(1, len(sides))
    return sides[first:] + sides[:first]


def take(record: Record, job: Job, place: Workplace) -> tuple[str, bool]:
    """Measure once and append the record; return what to say, and whether it went well."""
    prepare([job], place)
    busy = load()
    began = time.monotonic()
    try:
        outcome = run(job, place.pythons[job.package], place.folder)
    except JobRefusedError as error:
        return f"left out: {error}", False
    except JobFailedError as error:
        return f"FAILED: {error}", False
    measured = {
        "seconds": outcome.seconds,
        "peak_mb": outcome.peak_mb,
        "rows": outcome.rows,
        "source": inputs.read(place.folder / job.file_name)["source"] if job.file_name else "",
        "versions": outcome.versions,
        "machine": describe(),
        "date": time.strftime("%Y-%m-%d"),
        "load": busy,
        "wall": round(time.monotonic() - began, 1),
    }
    place.results.parent.mkdir(parents=True, exist_ok=True)
    with place.results.open("a") as file:
        file.write(json.dumps(asdict(record) | measured) + "\n")
    return f"{outcome.seconds:.3f} s, {outcome.peak_mb:,.0f} MB", True


def prepare(jobs: Iterable[Job], place: Workplace) -> None:
    """Make the weights and batches that jobs need and that are not there."""
    folder = place.folder
    shapes, exports, batches, texts = set[str](), set[str](), set[Batches](), False
    for job in jobs:
        if job.has_model and not (folder / job.shape / "config.json").exists():
            shapes.add(job.shape)
        if job.package == "onnxruntime" and not (folder / job.shape / EXPORTED).exists():
            exports.add(job.shape)
        if job.file_name and not (folder / job.file_name).exists():
            texts = texts or job.reads_texts
            batches |= set() if job.reads_texts else {job.batches}
    if not (shapes or exports or batches or texts):
        return
    folder.mkdir(parents=True, exist_ok=True)
    order = {
        "folder": str(folder),
        "shapes": sorted(shapes),
        "exports": sorted(exports),
        "batches": [asdict(one) for one in batches],
        "sst2": str(place.sst2),
        "vocabulary": str(place.vocabulary),
        "multilingual": place.multilingual and str(place.multilingual),
        "texts": str(place.texts) if texts else None,
    }
    subprocess.run(
        [sys.executable, "-m", "benchmarks.prepare", json.dumps(order)],
        cwd=ROOT,
        env=environment(),
        check=True,
    )
