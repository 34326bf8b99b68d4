"""Time encoder layers computed by the kernels in C, beside the same by their parts one by one.

    python -m benchmarks.compiled_layers [SHAPE:BATCHxLENGTH ...]

Training steps with AdamW, dropout on, and evaluation, as `benchmarks.unread_positions` takes them.
"""

from __future__ import annotations

import argparse

from benchmarks.unread_positions import report

WORKS = ("bert-base-4:16x128", "minilm:32x14", "convbert-small:16x128", "convbert-base:4x128")


def main() -> None:
    """Print a line of a table for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", metavar="SHAPE:BATCHxLENGTH", default=WORKS)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    report(
        args.works,
        args.rounds,
        ("Part by part", "By the kernels"),
        lambda model, first: model.compile_layers(not first),
    )


if __name__ == "__main__":
    main()
