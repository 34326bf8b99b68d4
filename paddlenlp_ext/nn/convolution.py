"""The blocks of ConvBERT: attention mixed with dynamic convolution, and a grouped linear layer.

Jiang et al., 2020, arXiv 2008.02496, sections 4.1 to 4.3.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer
from paddle.nn import functional as F

from paddlenlp_ext.nn.attention import Mask, attend, rows_of
from paddlenlp_ext.nn.cpu.layers import Dropout, Linear, add_bias, depthwise, swap
from paddlenlp_ext.nn.positions import Positions, take, window
from paddlenlp_ext.nn.tracing import is_traced


class MixedAttention(nn.Layer):
    """Half of the width by attention, half by convolution with a kernel made for each position.

    The kernel comes from the position's query and from a key that has seen the `K` tokens around
    it, hence "span-based". Heads are half as wide as those of an attention of the whole width.

    Args:
        hidden_size: Width of the input and output, `H`.
        num_heads: Heads of each half, `A`; twice as many must divide `hidden_size`.
        kernel_size: Positions that a kernel covers, `K`; odd.
        dropout: Dropout probability of the attention weights.
        mask_padding: Keep padding out of the convolution, which otherwise sees it as it sees any
            token (as the original does).
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        kernel_size: int,
        dropout: float,
        *,
        mask_padding: bool = False,
    ) -> None:
        super().__init__()
        half = hidden_size // 2
        self.heads = [num_heads, half // num_heads]
        self.kernel_size = kernel_size
        self.mask_padding = mask_padding
        self.q_proj = Linear(hidden_size, half)
        self.k_proj = Linear(hidden_size, half)
        self.v_proj = Linear(hidden_size, half)
        self.key_conv_attn_layer = SeparableConvolution(hidden_size, half, kernel_size)
        self.conv_kernel_layer = Linear(half, num_heads * kernel_size)
        self.conv_out_layer = Linear(hidden_size, half)
        self.out_proj = Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        hidden_states: Tensor,
        mask: Mask | None = None,
        positions: Positions | None = None,
        *,
        with_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend and convolve; arguments and result as those of `Attention.forward`."""
        near = window(positions, self.kernel_size // 2)
        seen = take(hidden_states, near)
        query = self.q_proj(seen)
        key, value = self.k_proj(hidden_states), self.v_proj(hidden_states)
        means, weights = attend(
            take(query, positions).reshape([0, 0, *self.heads]),
            key.reshape([0, 0, *self.heads]),
            value.reshape([0, 0, *self.heads]),
            rows_of(mask, positions),
            self.dropout,
            with_weights=with_weights,
        )
        convolved = take(self._convolve(seen, query, mask, near), positions)
        mixed = paddle.concat([means, convolved], axis=2)
        return self.out_proj(mixed.flatten(2)), weights

    def _convolve(
        self, hidden_states: Tensor, query: Tensor, mask: Mask | None, near: slice | None
    ) -> Tensor:
        """Convolve what is near: [B, L, H] -> [B, L, A, D]."""
        values = self.conv_out_layer(hidden_states)
        if self.mask_padding and mask is not None:
            # Padding is what no position attends to. Zeros stand there as beyond the ends.
            real = take(mask.allowed.any(axis=[1, 2]), near)
            real = real.astype(values.dtype).unsqueeze(2)  # [B, L, 1]
            hidden_states, values = hidden_states * real, values * real
        spans = self.key_conv_attn_layer(hidden_states)
        scores = self.conv_kernel_layer(spans * query)
        scores = scores.reshape([0, 0, self.heads[0], self.kernel_size])
        kernel = F.softmax(scores.astype("float32")).astype(values.dtype)  # [B, L, A, K]
        values = values.reshape([0, 0, *self.heads])
        # A program for inference has no use for a gradient, and other runtimes no idea of one.
        convolve = _sum_of_taps if is_traced() else DynamicConvolution.apply
        return convolve(values, kernel)


class SeparableConvolution(nn.Layer):
    """Convolution of each unit alone, then of all units at each position; zeros beyond the ends.

    Args:
        width: Units of the input.
        output_width: Units of the output.
        kernel_size: Positions that the first part covers, `K`; odd.
    """

    def __init__(self, width: int, output_width: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1D(
            width,
            width,
            kernel_size,
            padding=kernel_size // 2,
            groups=width,
            bias_attr=False,
            data_format="NLC",
        )
        self.pointwise = nn.Conv1D(width, output_width, 1, bias_attr=False, data_format="NLC")
        self.bias = self.create_parameter([output_width], is_bias=True)

    def forward(self, states: Tensor) -> Tensor:
        """[B, L, width] -> [B, L, output_width]."""
        if not is_traced():
            # A product of matrices, which is what it is, takes a quarter of the convolution's time.
            weight = self.pointwise.weight.squeeze(2)
            convolved = depthwise(states, self.depthwise.weight)
            mixed = paddle.matmul(convolved, weight, transpose_y=True)
            return add_bias(mixed, self.bias)
        # In a program the units come first: Paddle2ONNX knows no other convolution.
        states = states.transpose([0, 2, 1])
        weight = self.depthwise.weight
        states = F.conv1d(states, weight, padding=weight.shape[2] // 2, groups=weight.shape[0])
        return F.conv1d(states, self.pointwise.weight).transpose([0, 2, 1]) + self.bias


class DynamicConvolution(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    """Sum of the `K` values around each position, each position with weights of its own.

    `out[b, i, a, d]` is the sum over taps `j` of `kernel[b, i, a, j]` times
    `values[b, i + j - K // 2, a, d]`, which is zero beyond the ends.

    Written out, one tap at a time, because Paddle's own gradient of the same sum keeps a copy of
    the values for every tap, and is several times slower.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, kernel: Tensor) -> Tensor:
        """Convolve values, float [B, L, A, D], with kernels, float [B, L, A, K]."""
        ctx.save_for_backward(values, kernel)
        ctx.needed = (not values.stop_gradient, not kernel.stop_gradient)
        return _sum_of_taps(values, kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Give the gradients of both inputs for that of the output, float [B, L, A, D].

        Paddle demands None for an input that is frozen.
        """
        values, kernel = ctx.saved_tensor()
        length, taps = kernel.shape[1], kernel.shape[3]
        values = _with_ends(values, taps // 2)
        by_tap = [(values[:, j : j + length] * gradient).sum(-1) for j in range(taps)]
        of_kernel = paddle.stack(by_tap, axis=-1)
        # Position i gave its value to i + K // 2 - j by tap j: the taps run backwards.
        gradient, kernel = _with_ends(gradient, taps // 2), _with_ends(kernel, taps // 2)
        of_values = sum(
            gradient[:, j : j + length] * kernel[:, j : j + length, :, taps - 1 - j : taps - j]
            for j in range(taps)
        )
        return of_values if ctx.needed[0] else None, of_kernel if ctx.needed[1] else None


def _sum_of_taps(values: Tensor, kernel: Tensor) -> Tensor:
    length, taps = kernel.shape[1], kernel.shape[3]
    values = _with_ends(values, taps // 2)
    return sum([values[:, j : j + length] * kernel[..., j : j + 1] for j in range(taps)])


def _with_ends(states: Tensor, side: int) -> Tensor:
    """[B, L, A, D] -> [B, L + 2 · side, A, D], with zeros at both ends."""
    return F.pad(states, [0, 0, side, side, 0, 0, 0, 0])


class GroupedLinear(nn.Layer):
    """A linear layer that joins only units of the same group: a `G`-th of the weights.

    Args:
        width: Units of the input.
        output_width: Units of the output.
        groups: Number of groups, `G`; must divide both.
    """

    def __init__(self, width: int, output_width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = self.create_parameter([groups, width // groups, output_width // groups])
        self.bias = self.create_parameter([output_width], is_bias=True)

    def forward(self, states: Tensor) -> Tensor:
        """[B, L, width] -> [B, L, output_width]."""
        grouped = swap(states.reshape([1, -1, self.groups, self.weight.shape[1]]))
        output = paddle.matmul(grouped, self.weight)  # [1, G, B · L, output_width / G]
        return add_bias(swap(output).reshape([*states.shape[:2], -1]), self.bias)
