"""Time what is saved by computing the last layer for those positions alone that a head reads.

    python -m benchmarks.unread_positions [SHAPE:BATCHxLENGTH ...]

Training steps with AdamW, dropout on, and evaluation of new weights on full batches of random
tokens; with --masked, of a masked language model that is told the places of 15 % of the tokens. In
one process, both ways taking turns; CPU time, so that other programs matter little. The ratio is
the median of the rounds, with the smallest and the largest of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from benchmarks.shapes import SHAPES
from paddlenlp_ext.process import runtime

WORKS = ("bert-base-4:16x128", "minilm:32x14", "bert-base:16x32", "convbert-small:16x128")
MASKED = 0.15


def main() -> None:
    """Print a line of a table for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", metavar="SHAPE:BATCHxLENGTH", default=WORKS)
    parser.add_argument("--masked", action="store_true", help="a masked language model")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    runtime.tune()
    runtime.import_paddle()
    print(
        "| Work | | All positions | Those that are read | Ratio |\n| --- | --- | --- | --- | --- |"
    )
    for work in args.works:
        shape, _, sizes = work.partition(":")
        batch, length = map(int, sizes.split("x"))
        for name, pairs in measure(shape, batch, length, args.rounds, masked=args.masked).items():
            whole, read = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratios = [one / other for one, other in pairs]
            print(
                f"| {shape}, {batch} x {length} | {name} | {1000 * whole:.0f} ms "
                f"| {1000 * read:.0f} ms | **{statistics.median(ratios):.2f}x** "
                f"({min(ratios):.2f} to {max(ratios):.2f}) |",
                flush=True,
            )


def measure(
    shape: str, batch: int, length: int, rounds: int, *, masked: bool = False
) -> dict[str, list[tuple[float, float]]]:
    """Time both ways; by the kind of work, pairs of seconds: all positions, those that are read."""
    import numpy as np
    import paddle

    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.training.optimization import adamw

    row = SHAPES[shape]
    cls: Any = model_class(row.family, "ForMaskedLM" if masked else "ForSequenceClassification")
    model = cls(
        (cls.presets[row.preset] if row.preset else cls.config_class()).replace(**row.sizes)
    )
    optimizer = adamw(model, 1e-5, max_grad_norm=1.0)
    inputs = {"input_ids": paddle.randint(5, model.config.vocab_size, [batch, length])}
    labels = paddle.arange(batch) % 2
    if masked:
        places = np.flatnonzero(np.random.default_rng(1).random(batch * length) < MASKED)
        inputs["masked_positions"] = paddle.to_tensor(places)
        labels = inputs["input_ids"].flatten().index_select(inputs["masked_positions"])

    def train() -> None:
        model.train()
        model.run(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)

    def evaluate() -> None:
        model.eval()
        with paddle.no_grad():
            model.run(**inputs, labels=labels).loss.item()

    found: dict[str, list[tuple[float, float]]] = {}
    for name, work in (("training step", train), ("evaluation", evaluate)):
        pairs = []
        for number in range(rounds + 1):
            times = {}
            for whole in (True, False) if number % 2 else (False, True):
                model.compute_unread(whole)
                began = time.process_time()
                work()
                times[whole] = time.process_time() - began
            pairs.append((times[True], times[False]))
        found[name] = pairs[1:]  # the first ones warm up
    return found


if __name__ == "__main__":
    main()
