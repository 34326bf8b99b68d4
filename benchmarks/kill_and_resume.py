"""Kill pretraining runs with SIGKILL at random moments, resume them, and tell how they ended.

    python -m benchmarks.kill_and_resume FOLDER --processes 2 --runs 20
    python -m benchmarks.kill_and_resume FOLDER --script ernie_m --runs 10

The runs are those of a script with a tiny model on the sample corpus; they save and evaluate at
every other step, so many kills fall into a save. Each is killed again and again until it ends.
Its losses, weights and optimizer state are compared with those of a run that was left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.docs.test_readmes import script_of
from tests.scripts import multilingual_pretraining_run as multilingual
from tests.scripts import pretraining_run as bert
from tests.training.kill_run import kill

SCRIPTS = {"bert": bert.PRETRAIN, **multilingual.SCRIPTS}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for the runs; made if it is not there")
    parser.add_argument("--script", choices=SCRIPTS, default="bert", help="family of the models")
    parser.add_argument("--processes", type=int, default=1, help="of each run")
    parser.add_argument("--runs", type=int, default=0, help="that were killed and ended, at least")
    parser.add_argument("--kills", type=int, default=1, help="of all runs, at least")
    return parser.parse_args()


def train(script: str, processes: int, output: Path) -> dict[str, Any]:
    """Pretrain, or continue; print each loss, and return a digest of what was saved last."""
    runs = bert if script == "bert" else multilingual
    argv = runs.pretraining(output.parent, output, batch_size=8 // processes)
    script_of(SCRIPTS[script]).main(argv)
    for step, loss in enumerate(bert.losses(output), start=1):
        print(f"STEP {step} {loss!r}", flush=True)
    last = output / f"model_{runs.STEPS}"
    content = b"".join((last / name).read_bytes() for name in bert.WEIGHTS)
    return {"digest": hashlib.sha256(content).hexdigest()}


def main() -> int:
    """Kill; print a line of words, and all numbers as JSON in the last line."""
    args = parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.script == "bert":
        bert.prepare(args.folder)
    else:
        multilingual.prepare(args.folder, args.script)
    report = kill(
        partial(train, args.script), args.processes, args.kills, args.folder, runs=args.runs
    )
    same = report["losses"] == [1] and len(report["digests"]) == 1
    print(
        f"{report['identical']} of {report['killed_runs']} runs that were killed ended as the run "
        f"that was left alone; {report['kills']} kills, {args.processes} process(es), losses "
        f"{'the same' if report['losses'] == [1] else 'DIFFERENT'}"
    )
    print(json.dumps(report))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
