"""Time what is saved by leaving padding out, and what is left of it by grouping texts by length.

    python -m benchmarks.padding TEXTS VOCABULARY [--shape bert-base]

Training steps with AdamW, dropout on, and evaluation of new weights with compiled layers, on 32
texts a batch: random ones padded to the longest of each batch, the same ones without padding, and
both again where the texts are sorted by length first (these few; `--group_by_length` sorts those of
50 batches, which leaves less padding). TEXTS is SST-2's train.tsv, or any file with a text at the
beginning of each line. In one process, all ways taking turns; CPU time, so that other programs
matter little. The ratio is to the first way: the median of the rounds, with the smallest and the
largest of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shapes import SHAPES
from paddlenlp_ext.process import runtime

BATCH, LONGEST, TEXTS = 32, 128, 10_000
WAYS = ("random, padded", "random, packed", "sorted, padded", "sorted, packed")


def main() -> None:
    """Print a line of a table for each kind of work and each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    runtime.tune()
    runtime.import_paddle()
    texts = batches(args.texts, args.vocabulary, args.batches)
    print(
        "| Work | Batches | Positions | Time of a batch | Ratio |\n| --- | --- | --- | --- | --- |"
    )
    for work, times in measure(args.shape, texts, args.rounds).items():
        for way, seconds in times.items():
            ratios = [one / other for one, other in zip(times[WAYS[0]], seconds, strict=True)]
            print(
                f"| {args.shape}, {work} | {way} | {positions(texts, way)} "
                f"| {1000 * statistics.median(seconds) / args.batches:.0f} ms "
                f"| **{statistics.median(ratios):.2f}x** "
                f"({min(ratios):.2f} to {max(ratios):.2f}) |",
                flush=True,
            )


Texts = list[list[list[int]]]  # ids of each text of each batch


def batches(texts: Path, vocabulary: Path, count: int) -> Texts:
    """Draw batches of texts."""
    from paddlenlp_ext.tokenizers.bert import BertTokenizer

    lines = texts.read_text(encoding="utf-8").splitlines()[1 : TEXTS + 1]
    drawn = np.random.default_rng(1).permutation(len(lines))[: count * BATCH]
    chosen = [lines[row].partition("\t")[0] for row in drawn]
    tokenizer = BertTokenizer(str(vocabulary))
    ids = tokenizer(chosen, truncation=True, max_length=LONGEST)["input_ids"]
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def in_way(texts: Texts, way: str) -> Texts:
    """Put texts of similar length together, if it is a way that does."""
    if way.startswith("random"):
        return texts
    ids = sorted((row for batch in texts for row in batch), key=len)
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def positions(texts: Texts, way: str) -> int:
    """Count the positions of all batches that are computed."""
    return sum(
        sum(map(len, batch)) if way.endswith("packed") else len(batch) * max(map(len, batch))
        for batch in in_way(texts, way)
    )


def measure(shape: str, texts: Texts, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Time all batches; by the kind of work and the way, seconds of each round."""
    import paddle

    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.nn.cpu import stack
    from paddlenlp_ext.training.optimization import adamw

    row = SHAPES[shape]
    cls: Any = model_class(row.family, "ForSequenceClassification")
    model = cls(
        (cls.presets[row.preset] if row.preset else cls.config_class()).replace(**row.sizes)
    )
    model.compile_layers()
    optimizer, packs = adamw(model, 1e-5, max_grad_norm=1.0), stack.pack

    def step(batch: list[list[int]], *, trains: bool) -> None:
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
        for number, text in enumerate(batch):
            ids[number, : len(text)] = np.array(text) % model.config.vocab_size
        inputs = {"input_ids": paddle.to_tensor(ids), "attention_mask": paddle.to_tensor(ids > 0)}
        labels = paddle.arange(len(batch)) % 2
        model.train() if trains else model.eval()
        with paddle.set_grad_enabled(trains):
            loss = model(**inputs, labels=labels).loss
        loss.item()
        if trains:
            loss.backward()
            optimizer.step()
            optimizer.clear_grad(set_to_zero=False)

    found: dict[str, dict[str, list[float]]] = {}
    for work, trains in (("training step", True), ("evaluation", False)):
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(rounds + 1):
            first = number % len(WAYS)
            for way in (*WAYS[first:], *WAYS[:first]):
                stack.pack = packs if way.endswith("packed") else lambda *_: None
                began = time.process_time()
                for batch in in_way(texts, way):
                    step(batch, trains=trains)
                times[way].append(time.process_time() - began)
        found[work] = {way: seconds[1:] for way, seconds in times.items()}  # the first warms up
    return found


if __name__ == "__main__":
    main()
