"""The end of either half of an encoder layer: bias, dropout, residual and LayerNorm, by a kernel.

`result = LayerNorm(residual + dropout(states + bias))`, see tokens.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import paddle
from paddle import Tensor

from paddlenlp_ext.nn.cpu import compiled


class NormGradients(NamedTuple):
    """What the backward pass finds."""

    residual: Tensor  # float32 [T, H]
    states: Tensor  # float32 [T, H]
    weight: Tensor  # float32 [H]
    shift: Tensor  # float32 [H]
    bias: Tensor  # float32 [H]


@dataclass(frozen=True)
class ResidualNorm:
    """It in one forward pass.

    Attributes:
        kernels: The library.
        bias: Of the linear layer before; float32 [H].
        weight: Of the LayerNorm; float32 [H].
        shift: Its bias; float32 [H].
        epsilon: Added to the variance.
        dropout: What is dropped.
    """

    kernels: compiled.Kernels
    bias: Tensor
    weight: Tensor
    shift: Tensor
    epsilon: float
    dropout: compiled.Dropout

    def forward(
        self, states: Tensor, residual: Tensor, *, keeps: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compute it from float32 [T, H], in place unless what is behind is to be kept.

        Returns:
            The result; `states` normalised, before weight and bias; the scales, float32 [T].
        """
        result = paddle.empty_like(states) if keeps else states
        scales = paddle.empty([states.shape[0]], states.dtype) if keeps else None
        places = (states, self.bias, residual, self.weight, self.shift, result, scales)
        self.kernels.call(
            "norm",
            compiled.Norm(*places, *states.shape, self.epsilon, self.dropout),
        )
        return result, states, scales

    def backward(self, gradient: Tensor, normal: Tensor, scales: Tensor) -> NormGradients:
        """Compute the gradients from that of the result and what the forward pass kept."""
        of_residual = paddle.empty_like(gradient)
        of_states = paddle.empty_like(gradient) if self.dropout.below else of_residual
        sums = [paddle.empty_like(self.weight) for _ in range(3)]
        places = (gradient, normal, scales, self.weight, of_residual, of_states, *sums)
        self.kernels.call(
            "norm_backward",
            compiled.NormBackward(*places, *gradient.shape, self.dropout),
        )
        return NormGradients(of_residual, of_states, *sums)
