"""An encoder layer as one differentiable unit: products by oneDNN, all else by the kernels in C.

`unit_for` is the one place that chooses it. It computes what `nn.encoder.EncoderLayer` does, but
for rounding and for the random numbers of dropout, which here are a function of one seed a layer
and of places: nothing of them is kept for the backward pass. The seed is drawn from Paddle's
generator, which the training loop seeds for each update and process, and which recomputation
restores: both find the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer
from paddle.nn import functional as F

from paddlenlp_ext.nn.attention import Attention, Mask
from paddlenlp_ext.nn.cpu import bfloat16, compiled
from paddlenlp_ext.nn.cpu.layers import Dropout, LayerNorm, Linear, gelu, on_cpu, tanh_gelu
from paddlenlp_ext.nn.cpu.onednn import product
from paddlenlp_ext.nn.cpu.texts import Indices, Keys, starts_of

if TYPE_CHECKING:
    from paddlenlp_ext.nn.cpu.packed import Packed
    from paddlenlp_ext.nn.encoder import EncoderLayer

SEEDS = 1 << 31  # of half a seed, as many as Paddle draws integers from
ACTIVATIONS = {gelu: "gelu", tanh_gelu: "tanh_gelu", F.relu: "relu"}


class Weights(NamedTuple):
    """The parameters of a layer, or their gradients."""

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
    linear1: Tensor  # float32 [H, F]
    linear1_bias: Tensor  # float32 [F]
    linear2: Tensor  # float32 [F, H]
    linear2_bias: Tensor
    norm2: Tensor
    norm2_bias: Tensor


class Saved(NamedTuple):
    """What the backward pass needs besides weights; of Tq queries and T tokens.

    Factors of products are float32, or bfloat16 where products are.
    """

    asking: Tensor  # factor [Tq, H]
    tokens: Tensor  # factor [T, H]
    query: Tensor  # float32 [Tq, H]: products with the weights, without bias
    key: Tensor  # float32 [T, H]
    value: Tensor  # float32 [T, H]
    means: Tensor  # float32 [Tq, H]: what attention returns
    mean_factors: Tensor  # factor [Tq, H]: the same
    peaks: Tensor  # float32 [Tq, A]: greatest scores
    normal1: Tensor  # float32 [Tq, H]: normalised, before weight and bias
    scales1: Tensor  # float32 [Tq]
    attended: Tensor  # factor [Tq, H]: the output of the first half
    inner: Tensor  # factor [Tq, F]: activated
    slopes: Tensor  # float32 [Tq, F]
    normal2: Tensor
    scales2: Tensor


def unit_for(
    layer: EncoderLayer, states: Tensor, mask: Mask | Packed | None, with_weights: bool
) -> Unit | None:
    """Choose what computes a layer: this unit, or, if None, the layer's parts one by one.

    Args:
        layer: With its parts.
        states: float [B, L, H], or without padding [T, H].
        mask: Which positions each position may attend to, or where tokens without padding are.
        with_weights: Whether attention weights are asked for.
    """
    weights = None if with_weights else weights_of(layer, states)
    kernels = compiled.kernels()
    if weights is None or kernels is None:
        return None
    keys = Keys.of_length(*states.shape[:2]) if mask is None else mask.keys
    # A mask of one row for all texts is left to what broadcasts it.
    if keys is None or (states.ndim == 3 and len(keys.starts) != states.shape[0] + 1):
        return None
    attention = layer.self_attn
    dropouts = (attention.dropout, layer.dropout, layer.activation_dropout)
    rates = [one.p if one.training else 0.0 for one in dropouts]
    seed = 0
    if any(rates):
        high, low = paddle.randint(0, SEEDS - 1, [2], "int64").tolist()
        seed = (high * SEEDS + low) * 4  # leaves two bits to the places in the layer
    return Unit(
        kernels,
        weights,
        keys,
        attention.heads[0],
        compiled.ACTIVATIONS.index(ACTIVATIONS[layer.activation]),
        (layer.norm1._epsilon, layer.norm2._epsilon),
        attention=compiled.Dropout.of(seed, rates[0]),
        first=compiled.Dropout.of(seed + 1, rates[1]),
        activation=compiled.Dropout.of(seed + 2, rates[2]),
        second=compiled.Dropout.of(seed + 3, rates[1]),
        casts=bfloat16.current(),
    )


def weights_of(layer: EncoderLayer, states: Tensor) -> Weights | None:
    """Return the parameters of a layer that a unit can compute, None of another one."""
    if not layer.is_compiled or compiled.kernels() is None or not on_cpu(states):
        return None
    if not _is_usual(layer):
        return None
    attention = layer.self_attn
    weights = Weights(
        *(
            parameter
            for part in (
                *(attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj),
                *(layer.norm1, layer.linear1, layer.linear2, layer.norm2),
            )
            for parameter in (part.weight, part.bias)
        )
    )
    is_float32 = (one is not None and one.dtype == paddle.float32 for one in (states, *weights))
    return weights if all(is_float32) else None


def _is_usual(layer: EncoderLayer) -> bool:
    """Whether a layer is made of the parts that the kernels compute, and nobody looks at them."""
    attention = layer.self_attn
    if type(attention) is not Attention or layer.activation not in ACTIVATIONS:
        return False
    linear = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    expected: dict[type[nn.Layer], tuple[nn.Layer, ...]] = {
        Linear: (*linear, layer.linear1, layer.linear2),
        LayerNorm: (layer.norm1, layer.norm2),
        Dropout: (attention.dropout, layer.dropout, layer.activation_dropout),
        Attention: (attention,),
    }
    return all(
        type(part) is kind and not part._forward_pre_hooks and not part._forward_post_hooks
        for kind, parts in expected.items()
        for part in parts
    ) and all(part.p < 1 for part in expected[Dropout])


@dataclass(frozen=True)
class Unit:
    """The computation of one layer in one forward pass.

    Attributes:
        kernels: The library.
        weights: The layer's parameters.
        keys: Which tokens are attended to.
        heads: `A`.
        kind: Number of the activation.
        epsilons: Added to the variances, of either half.
        attention: What is dropped of attention weights.
        first: What is dropped of the first half's output.
        activation: What is dropped of the activation's output.
        second: What is dropped of the second half's output.
        casts: Those of the weights, where products are bfloat16.
    """

    kernels: compiled.Kernels
    weights: Weights
    keys: Keys
    heads: int
    kind: int
    epsilons: tuple[float, float]
    attention: compiled.Dropout
    first: compiled.Dropout
    activation: compiled.Dropout
    second: compiled.Dropout
    casts: bfloat16.Casts | None

    def __call__(self, states: Tensor, queries: Tensor | None = None) -> Tensor:
        """Compute the layer.

        Args:
            states: The tokens that are attended to; float32 [B, L, H], or without padding [T, H].
            queries: The tokens that the layer is computed for; float32 [B, Lq, H]; all if None.

        Returns:
            float32 [B, Lq, H], or [T, H].
        """
        inputs = (states, *self.weights) if queries is None else (states, queries, *self.weights)
        if paddle.is_grad_enabled() and not all(tensor.stop_gradient for tensor in inputs):
            computed: Tensor = _Layer.apply(self, queries, states, *self.weights)
            return computed
        return self.forward(states, queries)[0]

    def forward(
        self, states: Tensor, queries: Tensor | None, *, keeps: bool = False
    ) -> tuple[Tensor, Saved | None]:
        """Compute the layer, and keep what the backward pass needs."""
        weights, rows = self.weights, _rows(states)
        residual = rows if queries is None else _rows(queries)
        tokens = self._factor(rows)
        asking = tokens if queries is None else self._factor(residual)
        query = product(asking, self._matrix(weights.query))
        key, value = (product(tokens, self._matrix(w)) for w in (weights.key, weights.value))
        means, peaks = paddle.empty_like(query), None
        if keeps:
            peaks = paddle.empty([query.shape[0], self.heads], query.dtype)
        starts = self._starts(states if queries is None else queries)
        self.kernels.call("attend", self._attention(starts, query, key, value, means, peaks))
        mean_factors = self._factor(means)
        attended, normal1, scales1 = self._norm(
            product(mean_factors, self._matrix(weights.out)), residual, 0, keeps=keeps
        )
        attended_factors = self._factor(attended)
        inner = product(attended_factors, self._matrix(weights.linear1))
        slopes = paddle.empty_like(inner) if keeps else None
        activation = compiled.Activation(
            *map(compiled.place, (inner, weights.linear1_bias, slopes)),
            *inner.shape,
            self.kind,
            self.activation,
        )
        self.kernels.call("activate", activation)
        inner = self._factor(inner)
        result, normal2, scales2 = self._norm(
            product(inner, self._matrix(weights.linear2)), attended, 1, keeps=keeps
        )
        result = result.reshape((states if queries is None else queries).shape)
        if peaks is None or slopes is None or scales1 is None or scales2 is None:
            return result, None
        return result, Saved(
            asking, tokens, query, key, value, means, mean_factors, peaks,
            normal1, scales1, attended_factors, inner, slopes, normal2, scales2,
        )  # fmt: skip

    def _factor(self, states: Tensor) -> Tensor:
        """Return what is multiplied of float32 numbers."""
        return states if self.casts is None else bfloat16.cast(states)

    def _matrix(self, weight: Tensor) -> Tensor:
        """Return what is multiplied of a weight."""
        return weight if self.casts is None else self.casts.of(weight)

    def _starts(self, queries: Tensor) -> Indices:
        """Return where the queries of each text begin."""
        return self.keys.starts if queries.ndim == 2 else starts_of(*queries.shape[:2])

    def _attention(
        self,
        starts: Indices,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        means: Tensor,
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
            *map(compiled.place, places),
            *(len(starts) - 1, tokens, self.heads, width // self.heads, keys.most),
            self.attention,
            *map(compiled.place, gradients),
        )

    def _norm(
        self, states: Tensor, residual: Tensor, half: int, *, keeps: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add bias and residual to a half's output and normalise it, in place unless it is kept.

        Returns:
            The result, what is normalised before weight and bias, and the scales.
        """
        weights = self.weights
        bias, weight, shift = (
            (weights.linear2_bias, weights.norm2, weights.norm2_bias)
            if half
            else (weights.out_bias, weights.norm1, weights.norm1_bias)
        )
        result = paddle.empty_like(states) if keeps else states
        scales = paddle.empty([states.shape[0]], states.dtype) if keeps else None
        places = (states, bias, residual, weight, shift, result, scales)
        self.kernels.call(
            "norm",
            compiled.Norm(
                *map(compiled.place, places),
                *states.shape,
                self.epsilons[half],
                self.second if half else self.first,
            ),
        )
        return result, states, scales

    def backward(
        self,
        gradient: Tensor,
        shape: list[int],
        has_queries: bool,
        saved: Saved,
        wanted: Weights,
    ) -> tuple[Tensor | None, Tensor, list[Tensor | None]]:
        """Compute the gradients from that of the result.

        Args:
            gradient: float32 [B, Lq, H], or [T, H].
            shape: Of the states.
            has_queries: Whether the forward pass was given queries.
            saved: From the forward pass.
            wanted: Which weights' gradients are needed; bools.

        Returns:
            Those of the queries, of the states and of the weights.
        """
        weights = self.weights
        found: dict[str, Tensor] = {}
        above, of_half = self._norm_backward(
            _rows(gradient), saved.normal2, saved.scales2, 1, found
        )
        of_half = self._factor(of_half)
        if wanted.linear2:
            found["linear2"] = product(saved.inner, of_half, turn_a=True)
        of_inner = product(of_half, self._matrix(weights.linear2), turn_b=True)
        found["linear1_bias"] = paddle.empty_like(weights.linear1_bias)
        self.kernels.call(
            "activate_backward",
            *(of_inner, saved.slopes, *of_inner.shape, found["linear1_bias"]),
        )
        of_inner = self._factor(of_inner)
        if wanted.linear1:
            found["linear1"] = product(saved.attended, of_inner, turn_a=True)
        product(of_inner, self._matrix(weights.linear1), turn_b=True, add_to=above)
        of_asking, of_half = self._norm_backward(above, saved.normal1, saved.scales1, 0, found)
        of_half = self._factor(of_half)
        if wanted.out:
            found["out"] = product(saved.mean_factors, of_half, turn_a=True)
        of_means = product(of_half, self._matrix(weights.out), turn_b=True)
        of_query, of_key, of_value = (
            paddle.empty_like(one) for one in (saved.query, saved.key, saved.value)
        )
        attention = self._attention(
            self._starts(gradient),
            *(saved.query, saved.key, saved.value, saved.means, saved.peaks),
            gradients=(of_means, of_query, of_key, of_value),
        )
        self.kernels.call("attend_backward", attention)
        of_tokens = paddle.zeros_like(saved.key) if has_queries else of_asking
        for name, part, of_part, source, of_source in (
            ("query", weights.query, of_query, saved.asking, of_asking),
            ("key", weights.key, of_key, saved.tokens, of_tokens),
            ("value", weights.value, of_value, saved.tokens, of_tokens),
        ):
            factor = self._factor(of_part)
            if getattr(wanted, name):
                found[name] = product(source, factor, turn_a=True)
            if getattr(wanted, f"{name}_bias"):
                found[f"{name}_bias"] = sums = paddle.empty_like(weights.query_bias)
                self.kernels.call("sum_tokens", of_part, *of_part.shape, sums)
            product(factor, self._matrix(part), turn_b=True, add_to=of_source)
        return (
            of_asking.reshape(gradient.shape) if has_queries else None,
            of_tokens.reshape(shape),
            [found[n] if want else None for n, want in zip(wanted._fields, wanted, strict=True)],
        )

    def _norm_backward(
        self, gradient: Tensor, normal: Tensor, scales: Tensor, half: int, found: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of a half's residual and output; put those of weights in `found`."""
        dropout = self.second if half else self.first
        weight = self.weights.norm2 if half else self.weights.norm1
        names = (
            ("norm2", "norm2_bias", "linear2_bias") if half else ("norm1", "norm1_bias", "out_bias")
        )
        found |= {name: paddle.empty_like(weight) for name in names}
        of_residual = paddle.empty_like(gradient)
        of_half = paddle.empty_like(gradient) if dropout.below else of_residual
        places = (
            *(gradient, normal, scales, weight, of_residual, of_half),
            *(found[name] for name in names),
        )
        self.kernels.call(
            "norm_backward",
            compiled.NormBackward(*map(compiled.place, places), *gradient.shape, dropout),
        )
        return of_residual, of_half


class _Layer(PyLayer):  # type: ignore[misc]  # untyped in Paddle
    @staticmethod
    def forward(
        ctx: Any, unit: Unit, queries: Tensor | None, states: Tensor, *weights: Tensor
    ) -> Tensor:
        result, saved = unit.forward(states, queries, keeps=True)
        assert saved is not None
        ctx.unit, ctx.has_queries = unit, queries is not None
        inputs = (states,) if queries is None else (states, queries)
        ctx.save_for_backward(*saved)
        ctx.shape = states.shape
        ctx.wanted = Weights(*(not weight.stop_gradient for weight in weights))
        ctx.wanted_inputs = [not one.stop_gradient for one in inputs]
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_states, of_weights = ctx.unit.backward(
            gradient, ctx.shape, ctx.has_queries, Saved(*ctx.saved_tensor()), ctx.wanted
        )
        # Paddle demands None for an input that is frozen, and nothing for one that is no tensor.
        of_inputs = (of_queries, of_states) if ctx.has_queries else (of_states,)
        wanted = ctx.wanted_inputs[::-1]
        given = [one if want else None for one, want in zip(of_inputs, wanted, strict=True)]
        return (*given, *of_weights)


def _rows(states: Tensor) -> Tensor:
    """[..., H] -> [T, H], in one piece."""
    return states.reshape([-1, states.shape[-1]]).contiguous()
