"""What Paddle computes slowly on a CPU, computed otherwise.

Everything here computes what plain Paddle computes, but for rounding (and for other random numbers
where some are dropped), and is plain Paddle on a GPU or XPU and in programs (`to_static`, export).
How much faster than Paddle 3.3.1, forward and backward pass on two cores of an AMD EPYC, `embed` on
those of an Intel Xeon, at the shapes of BERT-base on 16 texts of 128 tokens
(`python -m benchmarks.cpu_means`):

- `Linear` and `add_bias`, with the gradient of a bias: 1.5 times; the bias alone: 2.3;
- `swap`, which brings attention heads in front of the positions and back: 7.6;
- `add_mask`, a mask added to scores: 6.7;
- `Dropout` of attention weights: 3.0;
- `gelu`: 2.5;
- `LayerNorm`: 1.8;
- `embed`, with the gradient of a table of 30,522 rows: 1.4;
- `depthwise`, a convolution of each unit alone, at the shape of ConvBERT-small: 2.7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer
from paddle.nn import functional as F

from paddlenlp_ext.nn.cpu import compiled, onednn
from paddlenlp_ext.nn.cpu.bfloat16 import product_in_bfloat16
from paddlenlp_ext.nn.tracing import is_traced
from paddlenlp_ext.process import devices

STEPS = 1 << 16  # probabilities are whole numbers of 16 bits
BLOCK = 16  # neighbouring positions that a depthwise convolution computes together


def on_cpu(tensor: Tensor) -> bool:
    """Return whether a tensor is computed with now, and on a CPU."""
    return not is_traced() and devices.of(tensor).is_host


class Linear(nn.Linear):
    """`paddle.nn.Linear`, with the same parameters and initializers, and a fast bias."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        if not on_cpu(input):
            return F.linear(input, self.weight, self.bias)
        multiplied = multiply(input, self.weight)
        return multiplied if self.bias is None else add_bias(multiplied, self.bias)


def multiply(states: Tensor, weight: Tensor, *, turned: bool = False) -> Tensor:
    """Multiply states, float [..., M], by a weight: float [M, N], or [N, M] if it is `turned`."""
    multiplied = None
    if not is_traced():
        multiplied = product_in_bfloat16(states, weight, turned=turned)
    if multiplied is not None:
        return multiplied
    return paddle.matmul(states, weight, transpose_y=True) if turned else F.linear(states, weight)


def add_bias(states: Tensor, bias: Tensor) -> Tensor:
    """Add a bias, float [H], to every row of states, float [..., H]."""
    if not on_cpu(states) or states.dtype != bias.dtype:
        return states + bias
    if paddle.is_grad_enabled() and not (states.stop_gradient and bias.stop_gradient):
        total: Tensor = _AddBias.apply(states, bias)
        return total
    return _plus_bias(states, bias)


class _AddBias(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    """A sum whose second gradient is one too, over all rows.

    Paddle takes a kernel for sums of any shape, on one core and without vectors. A product with a
    row of ones is the same sum by the fastest code there is.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, bias: Tensor) -> Tensor:
        ctx.wanted = (not states.stop_gradient, not bias.stop_gradient)
        return _plus_bias(states, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        # Paddle demands None for an input that is frozen.
        return gradient if ctx.wanted[0] else None, sum_rows(gradient) if ctx.wanted[1] else None


def _plus_bias(states: Tensor, bias: Tensor) -> Tensor:
    """Copy the bias for every row, and add tensors of one shape, which Paddle does with vectors."""
    return bias.tile([*states.shape[:-1], 1]).add_(states)


def sum_rows(states: Tensor) -> Tensor:
    """Add up all rows: float [..., H] -> [H]."""
    rows = states.reshape([-1, states.shape[-1]])
    ones = paddle.ones([1, rows.shape[0]], rows.dtype)
    return paddle.matmul(ones, rows).reshape([-1])


def swap(states: Tensor) -> Tensor:
    """Exchange the two axes in the middle: [B, M, N, D] -> [B, N, M, D]."""
    swapped: Tensor = _Swap.apply(states) if on_cpu(states) else states.transpose([0, 2, 1, 3])
    return swapped


class _Swap(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    """A transposition by whole rows of `D` numbers.

    Paddle's own is a view, and whoever needs it in one piece copies it number by number.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        return _swapped(states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _swapped(gradient)


def _swapped(states: Tensor) -> Tensor:
    batch, m, n, width = states.shape
    if m == 1 or n == 1:
        return states.reshape([batch, n, m, width])
    order = np.arange(batch * m * n, dtype=np.int32).reshape(batch, m, n).transpose(0, 2, 1)
    rows = paddle.gather(states.reshape([-1, width]), paddle.to_tensor(order.ravel(), place="cpu"))
    return rows.reshape([batch, n, m, width])


def add_mask(scores: Tensor, mask: Tensor) -> Tensor:
    """Add to scores, float32 [B, A, Lq, L], a mask, float32 [B, 1, 1 | Lq, L], without gradient.

    Paddle adds tensors of one shape with vectors, and otherwise looks up each number's partner.
    """
    if on_cpu(scores):
        mask = mask.tile(
            [want // have for want, have in zip(scores.shape, mask.shape, strict=True)]
        )
    return scores + mask


class Dropout(nn.Dropout):
    """`paddle.nn.Dropout` with its random numbers from NumPy.

    Paddle draws them one by one, on one core. Its generator still decides, by a seed for NumPy's:
    what seeds or restores it (a resumed run, recomputation) decides here too.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[...] -> [...]."""
        if not self.training or self.p == 0:
            return input  # which Paddle would copy
        drop = _Drop.apply if self.p < 1 and on_cpu(input) else F.dropout
        dropped: Tensor = drop(input, self.p)
        return dropped


class _Drop(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    @staticmethod
    def forward(ctx: Any, states: Tensor, probability: float) -> Tensor:
        limit = round(probability * STEPS)
        count = states.size
        seed = paddle.randint(0, np.iinfo(np.int32).max, [1]).item()
        numbers = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
        kept = paddle.to_tensor((numbers >= limit).reshape(states.shape), place="cpu")
        ctx.save_for_backward(kept)  # a byte each
        ctx.scale = STEPS / (STEPS - limit)
        return _scaled(states, kept, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (kept,) = ctx.saved_tensor()
        return _scaled(gradient, kept, ctx.scale)


def _scaled(states: Tensor, kept: Tensor, scale: float) -> Tensor:
    return states * kept.astype(states.dtype).scale_(scale)


def gelu(states: Tensor) -> Tensor:
    """Apply the exact GELU, by erf: float [...] -> [...]."""
    kernel = onednn.gelu() if on_cpu(states) and states.dtype == paddle.float32 else None
    if kernel is None:
        return F.gelu(states)
    activated: Tensor = _Gelu.apply(states, kernel)
    return activated


def tanh_gelu(states: Tensor) -> Tensor:
    """Apply the form of GELU by tanh: float [...] -> [...]."""
    return F.gelu(states, approximate=True)


class _Gelu(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    """By oneDNN, on all cores and with vectors; Paddle's gradient has neither."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, kernel: onednn.Gelu) -> Tensor:
        states = states.contiguous()
        activated = paddle.empty_like(states)
        kernel.forward(states.size, states.data_ptr(), activated.data_ptr())
        ctx.save_for_backward(states)
        ctx.kernel = kernel
        return activated

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (states,) = ctx.saved_tensor()
        gradient, result = gradient.contiguous(), paddle.empty_like(states)
        places = (tensor.data_ptr() for tensor in (states, gradient, result))
        ctx.kernel.backward(states.size, *places)
        return result


def embed(ids: Tensor, table: Tensor) -> Tensor:
    """Look up rows on a CPU: int64 [...], float [V, E] -> float [..., E]."""
    wants_gradient = paddle.is_grad_enabled() and not table.stop_gradient and ids.size
    are_usual = ids.dtype == paddle.int64 and table.dtype == paddle.float32
    if not wants_gradient or not are_usual or compiled.kernels() is None:
        return F.embedding(ids, table)
    return _Embed.apply(table, ids.contiguous())


class _Embed(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    """Paddle fills the gradient with zeros on one core."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape = table.shape
        return F.embedding(ids, table)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensor()
        kernels = compiled.kernels()
        assert kernels is not None
        rows, width = ctx.shape
        of_table = paddle.empty([rows, width], gradient.dtype)
        kernels.call("scatter", gradient.contiguous(), ids, ids.size, width, of_table, rows)
        return of_table, None


class LayerNorm(nn.LayerNorm):
    """`paddle.nn.LayerNorm` over the last axis, with weight and bias, and a fast gradient.

    Where the weight is frozen, Paddle 2.6 to 3.3 leave it out of the gradient of the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[..., H] -> [..., H]."""
        weight, bias = self.weight, self.bias
        if on_cpu(input):
            is_wanted = not all(one.stop_gradient for one in (input, weight, bias))
            if is_wanted and paddle.is_grad_enabled():
                return _Normalization.apply(input, weight, bias, self._epsilon)
        elif weight.stop_gradient:
            return F.layer_norm(input, weight.shape, epsilon=self._epsilon) * weight + bias
        return super().forward(input)


class _Normalization(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    """All sums of its gradient, over units and over rows, are products with ones."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(states, weight)
        ctx.wanted = [not one.stop_gradient for one in (states, weight, bias)]
        ctx.epsilon = epsilon
        return F.layer_norm(states, weight.shape, weight, bias, epsilon)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # Paddle demands None for an input that is frozen.
        states, weight = ctx.saved_tensor()
        width = weight.shape[0]
        rows, states = gradient.reshape([-1, width]), states.reshape([-1, width])
        mean, weights = paddle.full([width, 1], 1 / width, rows.dtype), weight.unsqueeze(1) / width
        centered = states - paddle.matmul(states, mean)
        scale = paddle.rsqrt(paddle.matmul(centered * centered, mean) + ctx.epsilon)
        normal = centered * scale
        product = rows * normal
        # With g the gradient times the weight and n the normalised state, means over the units:
        # (g - mean(g) - n mean(g n)) / deviation.
        inner = normal * paddle.matmul(product, weights) + paddle.matmul(rows, weights)
        of_states = ((rows * weight - inner) * scale).reshape(gradient.shape)
        return (
            of_states if ctx.wanted[0] else None,
            sum_rows(product) if ctx.wanted[1] else None,
            sum_rows(rows) if ctx.wanted[2] else None,
        )


def depthwise(states: Tensor, weight: Tensor) -> Tensor:
    """Convolve each unit alone: float [B, L, C], taps of each, float [C, 1, K], K odd -> [B, L, C].

    Beyond the ends are zeros.
    """
    if on_cpu(states) and weight.shape[2] <= BLOCK:
        convolved: Tensor = _Depthwise.apply(states, weight)
        return convolved
    padding = weight.shape[2] // 2
    return F.conv1d(states, weight, padding=padding, groups=weight.shape[0], data_format="NLC")


class _Depthwise(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    """A convolution as a product of matrices.

    What `S` neighbouring positions see, `S + K - 1` numbers of one unit, times a matrix with the
    unit's taps on its diagonals. Most products are with zeros, and yet it is far faster.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor) -> Tensor:
        seen = _windows(states, weight.shape[2])
        ctx.save_for_backward(seen, weight)
        ctx.needed = (not states.stop_gradient, not weight.stop_gradient)
        return _convolved(seen, weight.squeeze(1), states.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        # Paddle demands None for an input that is frozen.
        seen, weight = ctx.saved_tensor()
        taps = weight.shape[2]
        seen_back = _windows(gradient, taps)
        of_states = of_weight = None
        if ctx.needed[0]:  # a position gave to its neighbours what they took: taps run backwards
            of_states = _convolved(seen_back, weight.squeeze(1).flip([1]), gradient.shape)
        if ctx.needed[1]:
            blocks = seen_back[:, :, taps // 2 : taps // 2 + BLOCK]
            products = paddle.matmul(blocks, seen, transpose_x=True)  # [C, S, S + K - 1]
            of_weight = _sums_of_diagonals(products, taps).unsqueeze(1)
        return of_states, of_weight


def _windows(states: Tensor, taps: int) -> Tensor:
    """Lay out what each block of positions sees: [B, L, C] -> [C, B · blocks, S + K - 1]."""
    batch, length, units = states.shape
    blocks = -(-length // BLOCK)
    ends = [taps // 2, (blocks + 1) * BLOCK - length - taps // 2]
    row = F.pad(states.transpose([2, 0, 1]), [0, 0, 0, 0, *ends])  # [C, B, (blocks + 1) · S]
    own = row[:, :, : blocks * BLOCK].reshape([units, batch * blocks, BLOCK])
    following = row[:, :, BLOCK:].reshape([units, batch * blocks, BLOCK])
    return paddle.concat([own, following[:, :, : taps - 1]], axis=2)


def _convolved(seen: Tensor, weight: Tensor, shape: list[int]) -> Tensor:
    """Multiply windows with the taps of their unit, [C, K], and bring units to the end again."""
    batch, length, units = shape
    blocks = paddle.matmul(seen, _diagonals(weight), transpose_y=True)  # [C, B · blocks, S]
    return blocks.reshape([units, batch, -1])[:, :, :length].transpose([1, 2, 0]).contiguous()


def _diagonals(weight: Tensor) -> Tensor:
    """Put taps on diagonals: [C, K] -> [C, S, S + K - 1], row `i` has them from column `i` on.

    Read on as one row, such a matrix repeats: the taps, then `S` zeros.
    """
    units, taps = weight.shape
    width = BLOCK + taps - 1
    row = F.pad(weight, [0, 0, 0, BLOCK]).tile([1, BLOCK])
    return row[:, : BLOCK * width].reshape([units, BLOCK, width])


def _sums_of_diagonals(products: Tensor, taps: int) -> Tensor:
    """Go back from `_diagonals`: [C, S, S + K - 1] -> [C, K], sums of what was the same tap."""
    row = F.pad(products.flatten(1), [0, 0, 0, BLOCK])
    return row.reshape([-1, BLOCK, BLOCK + taps]).sum(1)[:, :taps]
