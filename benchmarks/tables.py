"""Make tables of records: every figure as a ratio with its spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from benchmarks.cases import SECTIONS, Case, Section
from benchmarks.jobs import NEW_WORDS, SENTENCES, TEXTS, Job
from benchmarks.measure import MULTILINGUAL, Record, fields_of
from benchmarks.shapes import product_flops
from benchmarks.worker import PRODUCT

Rounds = dict[int, Record]
Statistic = Callable[[list[float]], float]


class Ratio(NamedTuple):
    """The other side's figure over ours, pair by pair."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        spread = f"{self.low:.2f} to {self.high:.2f}"
        return f"**{self.median:.2f}x** ({spread}, {self.pairs} pairs)"


def ratio(ours: Rounds, theirs: Rounds, figure: Callable[[Record], float]) -> Ratio | None:
    """Compare two sides in the rounds that both have; none without one."""
    pairs = [
        figure(theirs[number]) / figure(ours[number]) for number in ours.keys() & theirs.keys()
    ]
    if not pairs:
        return None
    return Ratio(statistics.median(pairs), min(pairs), max(pairs), len(pairs))


def of_case(records: Iterable[Record], section: str, case: Case) -> dict[str, Rounds]:
    """The records of each side of a case that were made by the job as it is now."""
    wanted = {side: fields_of(job) for side, job in case.jobs.items()}
    found: dict[str, Rounds] = {side: {} for side in case.jobs}
    for record in records:
        if (record.section, record.case) == (section, case.name) and record.job == wanted.get(
            record.side
        ):
            found[record.side][record.round] = record
    return found


def seconds(record: Record) -> float:
    """Time of a row, or of a pass where there are no rows: smaller is better."""
    return record.seconds / (record.rows or 1)


def peak(record: Record) -> float:
    """Most memory, in MB."""
    return record.peak_mb


def shown_time(rounds: Rounds, case: Case, of: Statistic = statistics.median) -> str:
    """The times of a side in the unit of its case; the median of them unless told otherwise."""
    if case.unit == "s":
        found = of([record.seconds for record in rounds.values()])
        return f"{found:.2f} s" if found >= 1 else f"{1000 * found:.0f} ms"
    times = [seconds(record) for record in rounds.values()]
    if case.unit == "ms a sentence":
        return f"{1000 * of(times):.1f} ms"
    rate = of([1 / time for time in times])
    return f"{rate:,.0f} {case.unit}" if rate >= 100 else f"{rate:.1f} {case.unit}"


def shown_memory(rounds: Rounds, case: Case) -> str:
    """The median of a side's peaks."""
    return f"{statistics.median(map(peak, rounds.values())):,.0f} MB"


def comparison(
    records: Sequence[Record],
    name: str,
    section: Section,
    figure: Callable[[Record], float],
    shown: Callable[[Rounds, Case], str],
) -> list[str]:
    """The table of a section's cases: each side of ours beside the best way of each peer.

    Of each comparison, the least favourable first.
    """
    lines = []
    for case in section.cases:
        found = of_case(records, name, case)
        rows = []
        for one, ways in case.pairs:
            ratios = [(ratio(found[one], found[way], figure), way) for way in ways]
            if known := [(compared, way) for compared, way in ratios if compared]:
                compared, other = min(known)
                cells = (case.name, one, shown(found[one], case), other, shown(found[other], case))
                rows.append((list(case.jobs).index(one), compared, cells))
        rows.sort(key=lambda row: row[:2])
        lines += [f"| {' | '.join(cells)} | {compared} |" for _, compared, cells in rows]
        lines += alone(found, case, shown) if len(case.jobs) == 1 else []
    head = ["| Work | Side | | Compared with | | Ratio |", "| --- | --- | --- | --- | --- | --- |"]
    return [*head, *lines] if lines else []


def all_sides(records: Sequence[Record], name: str, section: Section) -> list[str]:
    """Time, its range and memory of every side."""
    lines = []
    for case in section.cases:
        for side, rounds in of_case(records, name, case).items():
            if rounds:
                low, high = (shown_time(rounds, case, of) for of in (min, max))
                cells = (case.name, side, shown_time(rounds, case), f"{low} to {high}")
                lines.append(f"| {' | '.join(cells)} | {shown_memory(rounds, case)} |")
    head = ["| Work | Side | Median | Range | Memory |", "| --- | --- | --- | --- | --- |"]
    return [*head, *lines] if lines else []


def alone(found: dict[str, Rounds], case: Case, shown: Callable[[Rounds, Case], str]) -> list[str]:
    """The row of a case that is compared with nothing."""
    return [
        f"| {case.name} | {side} | {shown(rounds, case)} | | | |"
        for side, rounds in found.items()
        if rounds
    ]


def floor(records: Sequence[Record], name: str, section: Section) -> list[str]:
    """How near training steps come to what their matrix products alone would take."""
    m, k, n = PRODUCT
    (product,) = section.cases
    rates: dict[str, dict[str, float]] = {}
    for side, rounds in of_case(records, name, product).items():
        if rounds:
            fastest = min(record.seconds for record in rounds.values())
            of_type = rates.setdefault(product.jobs[side].dtype, {})
            of_type[side] = 2e-9 * m * k * n / fastest
    if not rates:
        return []
    (case,) = SECTIONS["steps"].cases
    whole, less = (1e-9 * product_flops(768, 3072, 4, 16, 128, read) for read in (None, 1))
    lines = [
        f"Products of {m:,} x {k:,} and {k:,} x {n:,} numbers. Those of a step of {case.name} are",
        f"{whole:.0f} GFLOP; of ours, with what is read of the last layer alone, {less:.0f}. At",
        "the best rate they take so long, and no step can be faster:",
        "",
        f"| Numbers | GFLOP/s | {whole:.0f} GFLOP | {less:.0f} GFLOP |",
        "| --- | --- | --- | --- |",
    ]
    for dtype, of_type in rates.items():
        told = ", ".join(f"{side} {rate:.0f}" for side, rate in of_type.items())
        times = (f"{gflop / max(of_type.values()):.2f} s" for gflop in (whole, less))
        lines.append(f"| {dtype} | {told} | {' | '.join(times)} |")
    lines += ["", "| Side | A step takes | Share of the floor |", "| --- | --- | --- |"]
    for side, rounds in of_case(records, "steps", case).items():
        job = case.jobs[side]
        if rounds and job.dtype in rates:
            skips = job.package == "ours" and not job.all_positions
            least = (less if skips else whole) / max(rates[job.dtype].values())
            share = least / statistics.median(record.seconds for record in rounds.values())
            lines.append(f"| {side} | {shown_time(rounds, case)} | {share:.0%} |")
    return lines


def section_tables(records: Sequence[Record], name: str, section: Section) -> list[str]:
    """All tables of a section, and where, when and how they were measured; none without records."""
    made = {
        "time": lambda: comparison(records, name, section, seconds, shown_time),
        "memory": lambda: comparison(records, name, section, peak, shown_memory),
        "sides": lambda: all_sides(records, name, section),
        "floor": lambda: floor(records, name, section),
    }
    titles = {
        "memory": "Peak memory of the process:",
        "sides": "All sides, with the peak memory of the process:",
    }
    lines: list[str] = []
    for kind in section.tables:
        if table := made[kind]():
            lines += [*([titles[kind], ""] if kind in titles else []), *table, ""]
    return [*lines, origin(records, name, section)] if lines else []


def origin(records: Sequence[Record], name: str, section: Section) -> str:
    """Where, when, with what and by which command."""
    measured = [
        (case.jobs[side], rounds.values())
        for case in section.cases
        for side, rounds in of_case(records, name, case).items()
        if rounds
    ]
    used = [record for _, rounds in measured for record in rounds]
    machines = sorted({record.machine for record in used})
    dates = sorted({record.date for record in used})
    versions = sorted(
        {f"{name} {version}" for one in used for name, version in one.versions.items()}
    )
    told = f"{'; '.join(machines)}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}"
    sources = sorted({record.source for record in used} - {""})
    with_sources = f"; from {', '.join(sources)}" if sources else ""
    with_versions = f"; {', '.join(versions)}" if versions else ""
    busy = max(record.load for record in used)
    beside = f"; up to {busy:.0f} other processes wanted to run" if busy else ""
    flags = " ".join(folder_flags([job for job, _ in measured]))
    with_flags = f' BENCH_FLAGS="{flags}"' if flags else ""
    return f"{told}{with_sources}{with_versions}{beside}. `make bench ONLY={name}{with_flags}`"


def folder_flags(jobs: Sequence[Job]) -> list[str]:
    """Flags that name the folders which jobs read; without them the samples in data are read."""
    files = {job.file_name for job in jobs}
    reads = {
        "--sst2 GLUE_FOLDER": any(file.startswith(("sst2-", SENTENCES)) for file in files),
        "--texts TEXT_FOLDER": not files.isdisjoint({TEXTS, NEW_WORDS}),
        "--multilingual TOKENIZER_FOLDER": any(
            job.work == "tokenize" and job.shape in MULTILINGUAL for job in jobs
        ),
    }
    return [flag for flag, is_read in reads.items() if is_read]
