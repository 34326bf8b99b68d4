"""Steps computed at once beside steps by programs of `paddle.jit.to_static`, on a CPU.

    python -m benchmarks.to_static

A BERT of MiniLM's shape with new weights, without dropout; batches of 16 texts of 128 tokens, a
fifth of them padding. For each way: seconds until the first step is done, which makes the program,
and milliseconds of a step after it, the median.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

WAYS = {
    "kernels": {},
    "without kernels": {"compiled": False},
    "to_static, default": {"full_graph": False},
    "to_static, full graph": {"full_graph": True},
}
ROWS, LENGTH = 16, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--steps", type=int, default=12, help="of each way that are timed")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    args = parser.parse_args()
    from paddlenlp_ext.process import runtime

    runtime.tune()
    runtime.import_paddle()
    print(f"| | first training step (s) | training step (ms) | evaluation (ms) |\n{'|---' * 4}|")
    for name in args.ways:
        first, training, evaluation = measure(args.layers, args.steps, **WAYS[name])
        print(f"| {name} | {first:.1f} | {training:.0f} | {evaluation:.0f} |", flush=True)


def measure(
    layers: int, steps: int, *, compiled: bool = True, full_graph: bool | None = None
) -> tuple[float, float, float]:
    """Time one way: the first training step in s, later ones and evaluations in ms."""
    import numpy as np
    import paddle

    from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
    from paddlenlp_ext.training.optimization import adamw

    paddle.seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            hidden_size=384, num_hidden_layers=layers, num_attention_heads=12,
            intermediate_size=1536, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip
    model.compile_layers(compiled)
    if full_graph is not None:
        paddle.jit.to_static(model, full_graph=full_graph)
    random = np.random.default_rng(0)
    lengths = np.linspace(0.6 * LENGTH, LENGTH, ROWS).astype(int)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype("int64")
    batch: dict[str, Any] = {
        "input_ids": paddle.to_tensor(random.integers(5, 30000, mask.shape) * mask),
        "attention_mask": paddle.to_tensor(mask),
    }
    labels = paddle.to_tensor(random.integers(0, 2, ROWS))
    optimizer = adamw(model, 1e-5)

    def train() -> None:
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        loss.item()

    def evaluate() -> None:
        with paddle.no_grad():
            model(**batch).logits.numpy()

    def timed(run: Any, count: int) -> list[float]:
        found = []
        for _ in range(count):
            began = time.perf_counter()
            run()
            found.append(time.perf_counter() - began)
        return found

    model.train()
    first, *others = timed(train, steps + 2)
    model.eval()
    evaluations = timed(evaluate, steps + 2)
    return first, 1000 * median(others[1:]), 1000 * median(evaluations[2:])


if __name__ == "__main__":
    main()
