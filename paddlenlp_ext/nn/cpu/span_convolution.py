"""The half of ConvBERT's attention that convolves, for the unit of `encoder_layer.py`.

Between products of matrices, kernels in C compute what `MixedAttention` does by Paddle's operations
(convolution.c): what is around each position is summed unit by unit, joined with the position's
query, and gives the taps by which the values around the position are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor

from paddlenlp_ext.nn.convolution import MixedAttention
from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.nn.cpu.products import Products
from paddlenlp_ext.nn.cpu.texts import Indices, Keys
from paddlenlp_ext.nn.positions import Positions


class SpanWeights(NamedTuple):
    """The parameters of the convolution, or their gradients; M = H / 2 = A D."""

    taps: Tensor  # float32 [H, 1, K]
    spans: Tensor  # float32 [M, H, 1]
    spans_bias: Tensor  # float32 [M]
    scores: Tensor  # float32 [M, A K]
    scores_bias: Tensor  # float32 [A K]
    values: Tensor  # float32 [H, M]
    values_bias: Tensor  # float32 [M]


class SpansSaved(NamedTuple):
    """What the backward pass needs besides weights; of Tq queries and T tokens."""

    states: Tensor  # float32 [T, H]
    around: Tensor  # factor [Tq, H]: sums of what is around each query
    spans: Tensor  # float32 [Tq, M]: without bias
    joined: Tensor  # factor [Tq, M]
    taps: Tensor  # float32 [Tq, A K]: of each query
    values: Tensor  # float32 [T, M]: without bias


@dataclass(frozen=True)
class SpanConvolution:
    """The convolution of one layer in one forward pass.

    Attributes:
        kernels: The library.
        products: How rows and weights are multiplied.
        weights: Its parameters.
        heads: `A`.
        length: Of all texts, `L`.
        places: The queries' tokens, in the flattened batch; [Tq]; None if each token is one.
        real: False where a token is taken for zeros; [T]; None if nowhere.
    """

    kernels: compiled.Kernels
    products: Products
    weights: SpanWeights
    heads: int
    length: int
    places: Indices | None
    real: npt.NDArray[np.bool_] | None

    def forward(
        self, states: Tensor, tokens: Tensor, query: Tensor, query_bias: Tensor
    ) -> tuple[Tensor, SpansSaved]:
        """Convolve.

        Args:
            states: All tokens; float32 [T, H].
            tokens: The same as a factor.
            query: float32 [Tq, M], without bias.
            query_bias: float32 [M].

        Returns:
            float32 [Tq, M], and what the backward pass needs.
        """
        weights, products = self.weights, self.products
        around = paddle.empty([query.shape[0], states.shape[1]], states.dtype)
        self.kernels.call("depthwise", self._depthwise(states, around))
        around = products.factor(around)
        spans = products.times_turned(around, weights.spans.squeeze(2))
        joined = paddle.empty_like(query)
        self.kernels.call("join", self._joint(spans, query, query_bias, joined))
        joined = products.factor(joined)
        taps = products.times(joined, weights.scores)
        values = products.times(tokens, weights.values)
        result = paddle.empty_like(query)
        self.kernels.call("convolve", self._convolution(taps, values, result))
        return result, SpansSaved(states, around, spans, joined, taps, values)

    def backward(
        self,
        gradient: Tensor,
        tokens: Tensor,
        query: Tensor,
        query_bias: Tensor,
        saved: SpansSaved,
        of_states: Tensor,
        of_query: Tensor,
    ) -> SpanWeights:
        """Compute the gradients from that of the result.

        Args:
            gradient: float32 [Tq, M].
            tokens: As in the forward pass.
            query: As in the forward pass.
            query_bias: As in the forward pass.
            saved: From the forward pass.
            of_states: What the states' gradient is added to; float32 [T, H].
            of_query: What that of the query with its bias is added to; float32 [Tq, M].

        Returns:
            Those of the weights.
        """
        weights, products, kernels = self.weights, self.products, self.kernels
        of_taps, of_values = paddle.empty_like(saved.taps), paddle.empty_like(saved.values)
        kernels.call(
            "convolve_backward",
            self._convolution(saved.taps, saved.values, None, (gradient, of_taps, of_values)),
        )
        taps, values = products.factor(of_taps), products.factor(of_values)
        products.times_turned(values, weights.values, add_to=of_states)
        of_spans = products.times_turned(taps, weights.scores)  # of what is joined, until below
        of_spans_bias = paddle.empty_like(weights.spans_bias)
        kernels.call(
            "join_backward",
            self._joint(saved.spans, query, query_bias, None, (of_spans, of_query, of_spans_bias)),
        )
        spans = products.factor(of_spans)
        of_around = products.times(spans, weights.spans.squeeze(2))
        of_shared = paddle.empty_like(weights.taps)
        kernels.call(
            "depthwise_backward",
            self._depthwise(saved.states, None, (of_around, of_states, of_shared)),
        )
        return SpanWeights(
            of_shared,
            products.of_weight(spans, saved.around, weights.spans.squeeze(2)).unsqueeze(2),
            of_spans_bias,
            products.of_weight(saved.joined, taps, weights.scores),
            kernels.sum_tokens(of_taps),
            products.of_weight(tokens, values, weights.values),
            kernels.sum_tokens(of_values),
        )

    def _window(self, tokens: int, queries: int) -> compiled.Window:
        texts = tokens // self.length
        return compiled.Window(
            *(self.places, self.real),
            *(texts, self.length, queries // texts, self.weights.taps.shape[2]),
        )

    def _depthwise(
        self, states: Tensor, around: Tensor | None, gradients: tuple[Tensor, ...] = ()
    ) -> compiled.Depthwise:
        """Describe the first sums, and with gradients (of them, of states and taps) theirs."""
        queries = gradients[0].shape[0] if around is None else around.shape[0]
        return compiled.Depthwise(
            *(states, self.weights.taps, around),
            *(states.shape[1], self._window(states.shape[0], queries)),
            *gradients,
        )

    def _joint(
        self,
        spans: Tensor,
        query: Tensor,
        query_bias: Tensor,
        joined: Tensor | None,
        gradients: tuple[Tensor, ...] = (),
    ) -> compiled.Joint:
        """Describe what joins spans and queries, and with gradients (joined's first) theirs."""
        places = (spans, query, self.weights.spans_bias, query_bias, joined)
        return compiled.Joint(*places, *spans.shape, *gradients)

    def _convolution(
        self,
        taps: Tensor,
        values: Tensor,
        result: Tensor | None,
        gradients: tuple[Tensor, ...] = (),
    ) -> compiled.Convolution:
        """Describe the last sums, and with gradients (of them, of scores and values) theirs."""
        weights = self.weights
        places = (taps, weights.scores_bias, values, weights.values_bias, result)
        return compiled.Convolution(
            *places,
            *(self.heads, values.shape[1] // self.heads),
            self._window(values.shape[0], taps.shape[0]),
            *gradients,
        )


def convolution_of(
    attention: MixedAttention,
    kernels: compiled.Kernels,
    products: Products,
    keys: Keys,
    shape: Sequence[int],
    positions: Positions | None,
) -> SpanConvolution:
    """Describe the convolution of a layer in a forward pass.

    Args:
        attention: The layer's.
        kernels: The library.
        products: How rows and weights are multiplied.
        keys: The tokens that are attended to: all but padding.
        shape: Of the batch: [B, L].
        positions: Those that it is computed for; all if None.
    """
    batch, length = shape
    places = real = None
    if positions is not None:
        rows = np.arange(batch * length, dtype=np.int32).reshape(batch, length)
        taken = (
            rows[:, positions] if isinstance(positions, slice)
            else np.take_along_axis(rows, positions.numpy(), axis=1)
        )  # fmt: skip
        places = np.ascontiguousarray(taken).reshape(-1)
    if attention.mask_padding:
        real = np.zeros(batch * length, np.bool_)
        real[keys.tokens] = True
    weights = weights_of_spans(attention)
    return SpanConvolution(kernels, products, weights, attention.heads[0], length, places, real)


def weights_of_spans(attention: MixedAttention) -> SpanWeights:
    """Return the parameters of the convolution."""
    spans, scores, values = (
        attention.key_conv_attn_layer, attention.conv_kernel_layer, attention.conv_out_layer
    )  # fmt: skip
    return SpanWeights(
        spans.depthwise.weight, spans.pointwise.weight, spans.bias,
        scores.weight, scores.bias, values.weight, values.bias,
    )  # fmt: skip
