"""Part XCOPA's validation files by premise: rows to train on and to test on, for docs/results.md.

    python benchmarks/xcopa_split.py XCOPA_FOLDER FOLDER

Reads `val.<language>.jsonl`, writes `train.<language>.jsonl` and `test.<language>.jsonl`. All
languages have the same premises, by `idx`; those of the test are the same in each, and the first
choice is right as often as the second one.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path


def split(source: Path, folder: Path, held_out: int, seed: int) -> dict[str, int]:
    """Write the files; return the rows of each split."""
    files = {path: path.read_text("utf-8").splitlines() for path in sorted(source.glob("val.*"))}
    if not files:
        raise SystemExit(f"{source}: no val.<language>.jsonl")
    labels = {row["idx"]: row["label"] for row in map(json.loads, next(iter(files.values())))}
    chance = random.Random(seed)
    test: set[int] = set()
    for label in (0, 1):
        numbers = sorted(number for number, found in labels.items() if found == label)
        test |= {*chance.sample(numbers, held_out // 2)}
    folder.mkdir(parents=True, exist_ok=True)
    rows = {"train": 0, "test": 0}
    for path, lines in files.items():
        parts: dict[str, list[str]] = {"train": [], "test": []}
        for line in lines:
            parts["test" if json.loads(line)["idx"] in test else "train"].append(line)
        for name, part in parts.items():
            written = folder / path.name.replace("val", name, 1)
            written.write_text("".join(f"{line}\n" for line in part), encoding="utf-8")
            rows[name] += len(part)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with val.<language>.jsonl")
    parser.add_argument("folder", type=Path, help="where to; made if it is not there")
    parser.add_argument("--held_out", type=int, default=30, help="premises of the test; even")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    rows = split(args.source, args.folder, args.held_out, args.seed)
    print(f"{args.folder}: " + ", ".join(f"{name} {count} rows" for name, count in rows.items()))


if __name__ == "__main__":
    main()
