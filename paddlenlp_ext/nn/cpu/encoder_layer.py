"""An encoder layer as one differentiable unit: products by oneDNN, all else by the kernels in C.

It computes what `nn.encoder.EncoderLayer` does, but for rounding and for the random numbers of
dropout, which here are a function of one seed a layer and of places: nothing of them is kept for
the backward pass. `units.py` chooses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.nn.cpu.products import Products
from paddlenlp_ext.nn.cpu.residual_norm import ResidualNorm
from paddlenlp_ext.nn.cpu.span_convolution import SpanConvolution, SpansSaved
from paddlenlp_ext.nn.cpu.texts import Indices, Keys, starts_of


class Weights(NamedTuple):
    """The parameters of a layer but for a convolution's, or their gradients."""

    query: Tensor  # float32 [H, H], as the next ones
    query_bias: Tensor  # float32 [H]
    key: Tensor
    key_bias: Tensor
    value: Tensor
    value_bias: Tensor
    out: Tensor
    out_bias: Tensor
    norm1: Tensor  # float32 [H]
    norm1_bias: Tensor
    linear1: Tensor  # float32 [H, F], or [G, H / G, F / G] of groups
    linear1_bias: Tensor  # float32 [F]
    linear2: Tensor  # float32 [F, H], or [G, F / G, H / G]
    linear2_bias: Tensor
    norm2: Tensor
    norm2_bias: Tensor


class Saved(NamedTuple):
    """What the backward pass needs besides weights; of Tq queries and T tokens.

    Factors of products are float32, or bfloat16 where products are. Where half of the width is
    convolved, queries, keys and values have the other half.
    """

    asking: Tensor  # factor [Tq, H]
    tokens: Tensor  # factor [T, H]
    query: Tensor  # float32 [Tq, H]: products with the weights, without bias
    key: Tensor  # float32 [T, H]
    value: Tensor  # float32 [T, H]
    means: Tensor  # factor [Tq, H]: what attention returns, and behind it the convolution
    peaks: Tensor  # float32 [Tq, A]: greatest scores
    normal1: Tensor  # float32 [Tq, H]: normalised, before weight and bias
    scales1: Tensor  # float32 [Tq]
    attended: Tensor  # factor [Tq, H]: the output of the first half
    inner: Tensor  # factor [Tq, F]: activated
    slopes: Tensor  # float32 [Tq, F]
    normal2: Tensor
    scales2: Tensor


@dataclass(frozen=True)
class Unit:
    """The computation of one layer in one forward pass.

    Attributes:
        kernels: The library.
        weights: The layer's parameters, but for the convolution's.
        convolution: What half of the width is convolved by; None: all of it is attention.
        keys: Which tokens are attended to.
        heads: `A`.
        products: How rows and weights are multiplied.
        kind: Number of the activation.
        attention: What is dropped of attention weights.
        activation: What is dropped of the activation's output.
        first: The end of the first half.
        second: The end of the second half.
    """

    kernels: compiled.Kernels
    weights: Weights
    convolution: SpanConvolution | None
    keys: Keys
    heads: int
    products: Products
    kind: int
    attention: compiled.Dropout
    activation: compiled.Dropout
    first: ResidualNorm
    second: ResidualNorm

    def __call__(self, states: Tensor, queries: Tensor | None = None) -> Tensor:
        """Compute the layer.

        Args:
            states: The tokens that are attended to; float32 [B, L, H], or without padding [T, H].
            queries: The tokens that the layer is computed for; float32 [B, Lq, H]; all if None.

        Returns:
            float32 [B, Lq, H], or [T, H].
        """
        parameters = (*self.weights, *(self.convolution.weights if self.convolution else ()))
        inputs = (states, *(() if queries is None else (queries,)), *parameters)
        if paddle.is_grad_enabled() and not all(tensor.stop_gradient for tensor in inputs):
            computed: Tensor = _Layer.apply(self, queries, states, *parameters)
            return computed
        return self.forward(states, queries)[0]

    def forward(
        self, states: Tensor, queries: Tensor | None, *, keeps: bool = False
    ) -> tuple[Tensor, Saved | None, SpansSaved | None]:
        """Compute the layer, and keep what the backward pass needs."""
        weights, products, rows = self.weights, self.products, _rows(states)
        residual = rows if queries is None else _rows(queries)
        tokens = products.factor(rows)
        asking = tokens if queries is None else products.factor(residual)
        query = products.times(asking, weights.query)
        key, value = (products.times(tokens, one) for one in (weights.key, weights.value))
        means = paddle.empty_like(query)
        peaks = paddle.empty([query.shape[0], self.heads], query.dtype) if keeps else None
        starts = self._starts(states if queries is None else queries)
        self.kernels.call("attend", self._attention(starts, query, key, value, means, peaks))
        spans = None
        if self.convolution is not None:
            convolved, spans = self.convolution.forward(rows, tokens, query, weights.query_bias)
            means = paddle.concat([means, convolved], axis=1)
        means = products.factor(means)
        half, normal1, scales1 = self.first.forward(
            products.times(means, weights.out), residual, keeps=keeps
        )
        attended = products.factor(half)
        inner = products.times(attended, weights.linear1)
        slopes = paddle.empty_like(inner) if keeps else None
        activation = compiled.Activation(
            *(inner, weights.linear1_bias, slopes),
            *inner.shape,
            self.kind,
            self.activation,
        )
        self.kernels.call("activate", activation)
        inner = products.factor(inner)
        result, normal2, scales2 = self.second.forward(
            products.times(inner, weights.linear2), half, keeps=keeps
        )
        result = result.reshape((states if queries is None else queries).shape)
        if peaks is None or slopes is None or scales1 is None or scales2 is None:
            return result, None, None
        saved = Saved(
            asking, tokens, query, key, value, means, peaks,
            normal1, scales1, attended, inner, slopes, normal2, scales2,
        )  # fmt: skip
        return result, saved, spans

    def _starts(self, queries: Tensor) -> Indices:
        """Return where the queries of each text begin."""
        return self.keys.starts if queries.ndim == 2 else starts_of(*queries.shape[:2])

    def _attention(
        self,
        starts: Indices,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        means: Tensor | None,
        peaks: Tensor | None,
        gradients: tuple[Tensor, ...] = (),
    ) -> compiled.Attention:
        """Describe attention, and with gradients (of the means, of q, k and v) its backward."""
        weights, keys = self.weights, self.keys
        places = (
            *(query, key, value, weights.query_bias, weights.key_bias, weights.value_bias),
            *(means, peaks, starts, keys.starts, keys.tokens),
        )
        tokens, width = key.shape
        return compiled.Attention(
            *places,
            *(len(starts) - 1, tokens, self.heads, width // self.heads, keys.most),
            self.attention,
            *gradients,
        )

    def backward(
        self,
        gradient: Tensor,
        shape: list[int],
        has_queries: bool,
        saved: Saved,
        spans: SpansSaved | None,
        wanted: Weights,
    ) -> tuple[Tensor | None, Tensor, list[Tensor | None]]:
        """Compute the gradients from that of the result.

        Args:
            gradient: float32 [B, Lq, H], or [T, H].
            shape: Of the states.
            has_queries: Whether the forward pass was given queries.
            saved: From the forward pass.
            spans: The same, of the convolution.
            wanted: Which weights' gradients are needed; bools.

        Returns:
            Those of the queries, of the states and of the weights, with all of the convolution's.
        """
        weights, products = self.weights, self.products
        found: dict[str, Tensor] = {}
        above, of_outer, *of_norm = self.second.backward(
            _rows(gradient), saved.normal2, saved.scales2
        )
        found["norm2"], found["norm2_bias"], found["linear2_bias"] = of_norm
        of_outer = products.factor(of_outer)
        if wanted.linear2:
            found["linear2"] = products.of_weight(saved.inner, of_outer, weights.linear2)
        of_inner = products.times_turned(of_outer, weights.linear2)
        found["linear1_bias"] = paddle.empty_like(weights.linear1_bias)
        self.kernels.call(
            "activate_backward",
            *(of_inner, saved.slopes, *of_inner.shape, found["linear1_bias"]),
        )
        of_inner = products.factor(of_inner)
        if wanted.linear1:
            found["linear1"] = products.of_weight(saved.attended, of_inner, weights.linear1)
        products.times_turned(of_inner, weights.linear1, add_to=above)
        of_asking, of_out, *of_norm = self.first.backward(above, saved.normal1, saved.scales1)
        found["norm1"], found["norm1_bias"], found["out_bias"] = of_norm
        of_out = products.factor(of_out)
        if wanted.out:
            found["out"] = products.of_weight(saved.means, of_out, weights.out)
        of_means, of_convolved = products.times_turned(of_out, weights.out), None
        if self.convolution is not None:
            of_means, of_convolved = (half.contiguous() for half in of_means.split(2, axis=1))
        of_query, of_key, of_value = (
            paddle.empty_like(one) for one in (saved.query, saved.key, saved.value)
        )
        attention = self._attention(
            self._starts(gradient),
            *(saved.query, saved.key, saved.value, None, saved.peaks),
            gradients=(of_means, of_query, of_key, of_value),
        )
        self.kernels.call("attend_backward", attention)
        of_tokens = paddle.zeros(saved.tokens.shape, "float32") if has_queries else of_asking
        of_convolution: tuple[Tensor, ...] = ()
        if self.convolution is not None and spans is not None and of_convolved is not None:
            of_convolution = self.convolution.backward(
                *(of_convolved, saved.tokens, saved.query, weights.query_bias, spans),
                *(of_tokens, of_query),
            )
        for name, weight, of_part, source, of_source in (
            ("query", weights.query, of_query, saved.asking, of_asking),
            ("key", weights.key, of_key, saved.tokens, of_tokens),
            ("value", weights.value, of_value, saved.tokens, of_tokens),
        ):
            factor = products.factor(of_part)
            if getattr(wanted, name):
                found[name] = products.of_weight(source, factor, weight)
            if getattr(wanted, f"{name}_bias"):
                found[f"{name}_bias"] = self.kernels.sum_tokens(of_part)
            products.times_turned(factor, weight, add_to=of_source)
        return (
            of_asking.reshape(gradient.shape) if has_queries else None,
            of_tokens.reshape(shape),
            [*(found.get(name) for name in Weights._fields), *of_convolution],
        )


class _Layer(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    @staticmethod
    def forward(
        ctx: Any, unit: Unit, queries: Tensor | None, states: Tensor, *parameters: Tensor
    ) -> Tensor:
        result, saved, spans = unit.forward(states, queries, keeps=True)
        assert saved is not None
        ctx.unit, ctx.has_queries, ctx.shape = unit, queries is not None, states.shape
        ctx.save_for_backward(*saved, *(spans or ()))
        inputs = (*(() if queries is None else (queries,)), states, *parameters)
        ctx.wanted = [not one.stop_gradient for one in inputs]
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors, of_inputs = ctx.saved_tensor(), 1 + ctx.has_queries
        saved, others = tensors[: len(Saved._fields)], tensors[len(Saved._fields) :]
        of_queries, of_states, of_parameters = ctx.unit.backward(
            gradient,
            ctx.shape,
            ctx.has_queries,
            Saved(*saved),
            SpansSaved(*others) if others else None,
            Weights(*ctx.wanted[of_inputs:][: len(Weights._fields)]),
        )
        # Paddle demands None for an input that is frozen, and nothing for one that is no tensor.
        found = (*((of_queries,) if ctx.has_queries else ()), of_states, *of_parameters)
        return tuple(one if want else None for one, want in zip(found, ctx.wanted, strict=True))


def _rows(states: Tensor) -> Tensor:
    """[..., H] -> [T, H], in one piece."""
    return states.reshape([-1, states.shape[-1]]).contiguous()
