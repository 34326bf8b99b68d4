"""Time and memory of ConvBERT's dynamic convolution, written in four ways with the same result.

    python benchmarks/dynamic_convolution.py [--batch 16] [--length 128]

At the width of convbert-base: 6 heads of 64 units, 9 taps. Each way runs in a process of its own,
so that the peaks do not mix; memory is what twelve layers keep for the backward pass.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from paddlenlp_ext.nn.convolution import DynamicConvolution

HEADS, WIDTH, TAPS, LAYERS = 6, 64, 9, 12
SIDE = TAPS // 2


def ours(values: Tensor, kernel: Tensor) -> Tensor:
    """Tap by tap, with a gradient of its own."""
    return DynamicConvolution.apply(values, kernel)


def shifted(values: Tensor, kernel: Tensor) -> Tensor:
    """The same sum with Paddle's own gradient."""
    length = values.shape[1]
    values = F.pad(values, [0, 0, SIDE, SIDE, 0, 0, 0, 0])
    return sum(values[:, tap : tap + length] * kernel[..., tap : tap + 1] for tap in range(TAPS))


def unfolded(values: Tensor, kernel: Tensor) -> Tensor:
    """A copy of the values for every tap, and a product of matrices, as in both references."""
    length = values.shape[1]
    padded = F.pad(values, [0, 0, SIDE, SIDE, 0, 0, 0, 0])
    copies = paddle.stack([padded[:, tap : tap + length] for tap in range(TAPS)], axis=-1)
    return paddle.matmul(copies, kernel.unsqueeze(-1)).squeeze(-1)


def banded(values: Tensor, kernel: Tensor) -> Tensor:
    """The kernels as the diagonals of a matrix [B, A, L, L]."""
    batch, length = values.shape[:2]
    rows = kernel.transpose([0, 2, 1, 3])
    rows = paddle.concat([rows, paddle.zeros([batch, HEADS, length, length])], axis=-1)
    width = length + TAPS - 1  # one less than the rows have: each row moves one to the right
    matrix = rows.flatten(2)[..., : length * width].reshape([batch, HEADS, length, width])
    matrix = matrix[..., SIDE : SIDE + length]
    return paddle.matmul(matrix, values.transpose([0, 2, 1, 3])).transpose([0, 2, 1, 3])


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    way.__name__: way for way in (ours, shifted, unfolded, banded)
}


def measure(way: Callable[[Tensor, Tensor], Tensor], batch: int, length: int) -> str:
    """One line: milliseconds forward, with backward, megabytes; and a sum that tells errors."""
    paddle.seed(0)
    values = paddle.randn([batch, length, HEADS, WIDTH])
    scores = paddle.randn([batch, length, HEADS, TAPS])
    values.stop_gradient = scores.stop_gradient = False

    def train(layers: int) -> None:
        sum(way(values, F.softmax(scores)).square().sum() for _ in range(layers)).backward()

    train(1)
    gradients = float(values.grad.abs().sum() + scores.grad.abs().sum())
    both = min(timed(lambda: train(1)) for _ in range(5))
    with paddle.no_grad():
        forward = min(timed(lambda: way(values, F.softmax(scores)).sum().item()) for _ in range(5))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train(LAYERS)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"{1e3 * forward:8.1f} {1e3 * both:9.1f} {memory:8.0f}   {gradients:.6e}"


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure one way, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--way", choices=WAYS)
    args = parser.parse_args()
    if args.way:
        print(f"{args.way:9}{measure(WAYS[args.way], args.batch, args.length)}")
        return
    print(f"{'way':9}{'fwd ms':>8} {'+ bwd ms':>9} {'MB':>8}   gradients")
    for way in WAYS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--way", way], check=True)


if __name__ == "__main__":
    main()
