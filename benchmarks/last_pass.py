"""Set the loss of the last pass beside what each run of a table has measured: for docs/results.md.

    python -m benchmarks.last_pass benchmarks/reproduce/e5-pawsx.toml reproduced

`reproduced` is the `--output_dir` of `paddlenlp-ext reproduce`, with runs of ours and of a program
of `benchmarks` with transformers, which prints its `losses`. The last line compares the runs of all
rows together.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from paddlenlp_ext.reporting.lines import HISTORY, read_history, read_lines
from paddlenlp_ext.reproduce.chance import from_measured
from paddlenlp_ext.reproduce.runs import LOG, Run, plan
from paddlenlp_ext.reproduce.tables import OURS, Table, read_table


def losses_of(run: Run) -> list[float]:
    """Return the loss of each update."""
    if run.is_of_library:
        return [row["loss"] for row in read_history(run.folder / HISTORY) if "split" not in row]
    lines = [line for line in read_lines(run.folder / LOG) if line and "losses" in line]
    return [float(loss) for loss in lines[-1]["losses"]]


def measured(run: Run) -> tuple[float, float]:
    """Return the mean loss of the last pass, and the first number of the row.

    Raises:
        SystemExit: The run is not complete.
    """
    found = run.measured()
    if found is None:
        raise SystemExit(f"{run.folder}: expected a complete run; let `reproduce` end first")
    losses = losses_of(run)
    updates = len(losses) // int(run.arguments["num_train_epochs"])
    number = fmean(found.values[name] for name in run.numbers[0])
    return fmean(losses[-updates:]), run.table.scale * number


def sides_of(table: Table, folder: Path) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return what was measured by row and side, seed after seed."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for run in plan(table, table.rows, folder, seeds=table.seeds):
        found.setdefault((run.row.names[0], run.side), []).append(measured(run))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", help="path of a TOML file, with a peer")
    parser.add_argument("output_dir", type=Path, help="that of `paddlenlp-ext reproduce`")
    args = parser.parse_args(argv)
    table = read_table(args.table)
    assert table.peer is not None
    found = sides_of(table, args.output_dir)
    sides = (OURS, table.peer.name)
    print("| Model |" + "".join(f" {side}: loss | number |" for side in sides))
    print("| --- |" + " --- | --- |" * len(sides))
    for row in table.rows:
        cells = [row.names[0]]
        for side in sides:
            losses, numbers = zip(*found[row.names[0], side], strict=True)
            cells += [", ".join(f"{loss:.2f}" for loss in losses)]
            cells += [", ".join(f"{number:.{table.digits}f}" for number in numbers)]
        print(f"| {' | '.join(cells)} |")
    ours, theirs = (
        [number for (_, one), runs in found.items() if one == side for _, number in runs]
        for side in sides
    )
    all_rows = from_measured(ours, theirs)
    print(json.dumps({"ours": fmean(ours), "theirs": fmean(theirs), **vars(all_rows)}))


if __name__ == "__main__":
    main()
