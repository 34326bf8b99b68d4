"""Inject every fault, print what came of it beside what must, and exit 1 if a target is missed.

python -m tests.faults            # about an hour on two cores
python -m tests.faults --short    # some ten minutes
python -m tests.faults --only 6,7 --markdown table.md
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults import (
    checkpoints,
    creation,
    inputs,
    kills,
    lost_machines,
    mistakes,
    processes,
    resources,
    rows,
    steadiness,
    suites,
)
from tests.faults.table import Fault, Measured, Result, Scale, markdown

MODULES = (
    kills,
    checkpoints,
    suites,
    creation,
    processes,
    lost_machines,
    resources,
    inputs,
    steadiness,
    mistakes,
    rows,
)
FAULTS = sorted(
    (fault for module in MODULES for fault in module.FAULTS), key=lambda fault: fault.number
)


def measure(fault: Fault, scale: Scale) -> Result:
    """Inject one fault; what goes wrong in doing so is a missed target, too."""
    began = time.monotonic()
    try:
        measured = fault.measure(scale)
    except Exception as error:
        measured = Measured(f"{type(error).__name__}: {error}".replace("\n", " ")[:300], False)
    return Result(fault, measured, time.monotonic() - began)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description="Inject faults and say what came of them.")
    parser.add_argument("--short", action="store_true", help="fewer injections, some 10 minutes")
    parser.add_argument("--only", help="numbers of rows, with commas")
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    args = parser.parse_args(argv)
    # Who starts this in the background may have had signals ignored; the runs must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    wanted = {int(number) for number in args.only.split(",")} if args.only else None
    results = []
    for fault in FAULTS:
        if wanted is not None and fault.number not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            result = measure(fault, Scale(args.short, Path(folder)))
        results.append(result)
        print(f"{fault.number:2d} {result.verdict}: {fault.injection}", flush=True)
        print(f"   target:   {fault.target}")
        print(f"   measured: {result.measured.text} ({result.seconds:.0f} s)", flush=True)
    if args.markdown:
        args.markdown.write_text(markdown(results), encoding="utf-8")
    missed = [str(result.fault.number) for result in results if result.measured.met is False]
    print(f"missed: {', '.join(missed)}" if missed else f"all targets met ({len(results)} rows)")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
