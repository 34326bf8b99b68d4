"""Measure speed and memory beside other libraries; write docs/performance.md.

    python -m benchmarks --vocab FOLDER --paddlenlp_python PYTHON
    python -m benchmarks --only steps,evaluation    # some sections
    python -m benchmarks --leave_out torch.compile  # in less than half of the time
    python -m benchmarks --tables_only              # tables of what was measured before

Every measurement is a process of its own, and the sides take turns. Each is a line of the results
file; a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.cases import SECTIONS
from benchmarks.document import replace_section
from benchmarks.jobs import ROOT, Package
from benchmarks.measure import Workplace, measure, read
from benchmarks.tables import section_tables

DOCUMENT = ROOT / "docs/performance.md"
FOLDER = ROOT / "outputs/benchmarks"
ALL = list(SECTIONS)


def sections(text: str) -> list[str]:
    """Read names of sections with commas between them."""
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(SECTIONS)}")
    return names or ALL


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    told = ", ".join(f"{name} ({part.minutes:g} min)" for name, part in SECTIONS.items())
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog=f"Sections, with the minutes that they take on two quiet cores: {told}.",
    )
    add = parser.add_argument
    add("--only", type=sections, default=ALL, help=f"sections, with commas; {', '.join(ALL)}")
    add("--rounds", type=int, help="turns of each side; 3, or 5 where they are short")
    add("--sides", nargs="+", help="only sides of these names, as the tables have them")
    add("--leave_out", nargs="+", default=(), help="works and sides with this in their names")
    add("--cores", type=int, help="that all sides may use; all")
    add("--tables_only", action="store_true", help="measure nothing")
    add("--again", action="store_true", help="forget what was measured of these sections")
    add("--paddlenlp_python", help="python of an environment with PaddleNLP 2.8.1")
    add("--sst2", type=Path, default=ROOT / "data/glue", help="folder with SST-2; the sample")
    add("--vocab", type=Path, help="folder with a BERT's vocab.txt, for SST-2 and tokenization")
    add("--multilingual", type=Path, help="folder with a sentencepiece model and a vocab.txt")
    add("--texts", type=Path, default=ROOT / "data", help="texts to tokenize; the sample data")
    add("--folder", type=Path, default=FOLDER, help="for results, weights and batches")
    add("--document", type=Path, default=DOCUMENT, help="where the tables go")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write tables; return 1 if a job failed."""
    args = parse_args(argv)
    if args.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    pythons: dict[Package, str] = {"ours": sys.executable, "transformers": sys.executable}
    if find_spec("onnxruntime") and find_spec("paddle2onnx"):
        pythons["onnxruntime"] = sys.executable
    if args.paddlenlp_python:
        pythons["paddlenlp"] = args.paddlenlp_python
    results = args.folder / "results.jsonl"
    place = Workplace(
        results=results,
        folder=args.folder / "prepared",
        pythons=pythons,
        sst2=args.sst2.resolve(),
        vocabulary=args.vocab and args.vocab.resolve(),
        multilingual=args.multilingual and args.multilingual.resolve(),
        texts=args.texts.resolve(),
    )
    if args.again:
        forget(results, args.only)

    def wanted(case: str, side: str) -> bool:
        left_out = any(word in name for word in args.leave_out for name in (case, side))
        return not left_out and (args.sides is None or side in args.sides)

    failed = False
    for name in args.only:
        lines = measure(name, SECTIONS[name], place, args.rounds, wanted)
        for line in () if args.tables_only else lines:
            failed = failed or "FAILED" in line
            print(line, flush=True)
        if made := section_tables(read(results), name, SECTIONS[name]):
            document = args.document.read_text(encoding="utf-8")
            args.document.write_text(replace_section(document, name, made), encoding="utf-8")
    return int(failed)


def forget(results: Path, names: Sequence[str]) -> None:
    """Remove the records of some sections."""
    if results.exists():
        lines = results.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not any(f'"section": "{name}"' in line for name in names)]
        results.write_text("".join(kept))


if __name__ == "__main__":
    sys.exit(main())
