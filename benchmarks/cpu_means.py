"""Time what `paddlenlp_ext/nn/cpu/layers.py` does beside plain Paddle, and check that both agree.

    python -m benchmarks.cpu_means

Each means at the shapes of BERT-base on 16 texts of 128 tokens, `depthwise` at those of
ConvBERT-small; forward and backward pass, but for what is said to be forward only. The two sides
take turns; the ratio is the median of the rounds, with the smallest and the largest of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from paddlenlp_ext.process import runtime

runtime.tune()
runtime.import_paddle()

import numpy as np  # noqa: E402
import paddle  # noqa: E402
from paddle import Tensor, nn  # noqa: E402
from paddle.nn import functional as F  # noqa: E402

from paddlenlp_ext.nn.cpu import layers as cpu  # noqa: E402

BATCH, LENGTH, WIDTH, HEADS = 16, 128, 768, 12
UNITS, TAPS = 256, 9  # of ConvBERT-small
SHORT = 416  # rows of 32 short sentences
WORDS = 30_522  # of BERT


class Pair(NamedTuple):
    """The same computation, by us and by Paddle.

    Attributes:
        name: For the table.
        inputs: That both get, and want the gradients of.
        ours: By `nn/cpu/layers.py`.
        plain: By Paddle.
        trains: Whether the backward pass counts too.
        exact: Whether both draw the same numbers.
    """

    name: str
    inputs: list[Tensor]
    ours: Callable[..., Tensor]
    plain: Callable[..., Tensor]
    trains: bool = True
    exact: bool = True


def pairs() -> list[Pair]:
    """All means."""
    wide = _random(BATCH, LENGTH, WIDTH)
    scores = _random(BATCH, HEADS, LENGTH, LENGTH)
    mask = paddle.zeros([BATCH, 1, 1, LENGTH])
    layers = [cls(WIDTH, 4 * WIDTH) for cls in (cpu.Linear, nn.Linear)]
    layers[1].set_state_dict(layers[0].state_dict())
    norms = [cls(WIDTH) for cls in (cpu.LayerNorm, nn.LayerNorm)]
    taps = _random(UNITS, 1, TAPS)
    ids = paddle.randint(0, WORDS, [BATCH, LENGTH])
    options: Any = {"padding": TAPS // 2, "groups": UNITS, "data_format": "NLC"}
    return [
        Pair(f"Linear, {WIDTH} to {4 * WIDTH}", [wide], *layers),
        Pair(
            f"add_bias, {SHORT} rows of 384, forward",
            [_random(SHORT, 384), _random(384)],
            cpu.add_bias,
            paddle.add,
            trains=False,
        ),
        Pair(
            "swap",
            [_random(BATCH, LENGTH, HEADS, WIDTH // HEADS)],
            cpu.swap,
            # Paddle's is a view, so that somebody has to copy it
            lambda states: states.transpose([0, 2, 1, 3]).contiguous(),
        ),
        Pair(
            "add_mask",
            [scores],
            lambda states: cpu.add_mask(states, mask),
            lambda states: states + mask,
        ),
        Pair("Dropout", [scores], cpu.Dropout(0.1), nn.Dropout(0.1), exact=False),
        Pair(f"gelu, {4 * WIDTH} wide", [_random(BATCH, LENGTH, 4 * WIDTH)], cpu.gelu, F.gelu),
        Pair("LayerNorm", [wide], *norms),
        Pair(
            f"embed, {WORDS:,} rows",
            [_random(WORDS, WIDTH)],
            lambda table: cpu.embed(ids, table),
            lambda table: F.embedding(ids, table),
        ),
        Pair(
            f"depthwise, {UNITS} units, {TAPS} taps",
            [_random(BATCH, LENGTH, UNITS), taps],
            cpu.depthwise,
            lambda states, weight: F.conv1d(states, weight, **options),
        ),
    ]


def _random(*shape: int) -> Tensor:
    tensor = paddle.randn(shape)
    tensor.stop_gradient = False
    return tensor


def compute(function: Callable[..., Tensor], pair: Pair) -> list[Tensor]:
    """Return the output, and the gradients of the inputs where they count."""
    if not pair.trains:
        with paddle.no_grad():
            return [function(*pair.inputs)]
    output = function(*pair.inputs)
    output.backward(paddle.ones_like(output))
    gradients = [tensor.grad for tensor in pair.inputs]
    for tensor in pair.inputs:
        tensor.clear_gradient(False)
    return [output, *gradients]


def measure(pair: Pair, rounds: int) -> str:
    """Compare both sides; return a row of the table."""
    found = [compute(function, pair) for function in (pair.ours, pair.plain)]
    if pair.exact:
        for got, expected in zip(*found, strict=True):
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-3, atol=1e-3)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    sides = {"ours": pair.ours, "plain": pair.plain}
    for turn in range(rounds + 1):
        for name in sorted(sides, reverse=bool(turn % 2)):
            began = time.perf_counter()
            compute(sides[name], pair)
            seconds[name].append(time.perf_counter() - began)
    ours, plain = (seconds[name][1:] for name in ("ours", "plain"))
    ratios = sorted(other / own for own, other in zip(ours, plain, strict=True))
    return (
        f"| {pair.name} | {1e3 * statistics.median(ours):.2f} ms "
        f"| {1e3 * statistics.median(plain):.2f} ms "
        f"| **{statistics.median(ratios):.2f}x** ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    paddle.seed(1)
    print("| Means | nn/cpu.py | Paddle | Ratio |\n| --- | --- | --- | --- |")
    for pair in pairs():
        print(measure(pair, args.rounds), flush=True)


if __name__ == "__main__":
    main()
