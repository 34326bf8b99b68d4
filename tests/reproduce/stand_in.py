"""Takes the place of a script: works a moment, and writes the files that a script writes.

What a seed and a learning rate give is known, so that a table of it is, too. With `--peer_of` it
prints a line of JSON as the programs of transformers do.
"""

import argparse
import json
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--output_dir", type=Path)
    add("--seed", type=int)
    add("--learning_rate", type=float, default=1.0)
    add("--task_name")
    add("--seconds", type=float, default=0.0)
    add("--ended", type=Path, help="gets a line for each run that ends")
    add("--fails", type=int, nargs="*", default=[], help="seeds of which a run fails")
    add(
        "--diverges",
        type=int,
        nargs="*",
        default=[],
        help="seeds of which the last step is worth nothing",
    )
    add("--metric_for_best_model", help="is the caller's business")
    add("--peer", action="store_true")
    args = parser.parse_args()
    time.sleep(args.seconds)
    if args.seed in args.fails:
        sys.exit(f"error: seed {args.seed} is a bad one")
    best = (0.5 + args.seed / 100) * args.learning_rate
    if args.peer:
        results = {"dev": {"acc": best + 0.1, "f1": 0.25}}
        print(json.dumps({"results": results, "torch": "2.0"}), flush=True)
    else:
        history = [
            {"step": step, "loss": loss, "split": "dev", "metrics": {"acc": acc, "f1": acc / 2}}
            for step, loss, acc in ((1, 1.0, best / 2), (2, 1.5, best), (3, 2.0, best / 4))
        ]
        if args.seed in args.diverges:
            history[-1]["loss"] = None
        lines = "".join(json.dumps(row) + "\n" for row in history)
        (args.output_dir / "history.jsonl").write_text(lines)
        signature = f"tiny|{args.task_name}|dev|acc|seed{args.seed}"
        metrics = {"acc": best / 4, "f1": best / 8}
        result = {
            "signature": signature,
            "metrics": metrics,
            "step": 3,
            "loss": history[-1]["loss"],
        }
        (args.output_dir / "results.jsonl").write_text(json.dumps(result) + "\n")
    if args.ended:
        with args.ended.open("a") as file:
            file.write(f"{args.task_name} {args.learning_rate} {args.seed} {args.peer}\n")


if __name__ == "__main__":
    main()
