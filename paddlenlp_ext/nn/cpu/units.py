"""What computes an encoder layer: one unit of kernels, or the layer's parts one by one.

`unit_for` is the one place that chooses it. It draws the seed of dropout from Paddle's generator,
which the training loop seeds for each update and process, and which recomputation restores: both
find the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.nn.attention import Attention, Mask
from paddlenlp_ext.nn.convolution import GroupedLinear, MixedAttention
from paddlenlp_ext.nn.cpu import bfloat16, compiled
from paddlenlp_ext.nn.cpu.encoder_layer import Unit, Weights
from paddlenlp_ext.nn.cpu.layers import Dropout, LayerNorm, Linear, gelu, on_cpu, tanh_gelu
from paddlenlp_ext.nn.cpu.products import Products
from paddlenlp_ext.nn.cpu.residual_norm import ResidualNorm
from paddlenlp_ext.nn.cpu.span_convolution import convolution_of, parts_of, weights_of_spans
from paddlenlp_ext.nn.cpu.texts import Keys
from paddlenlp_ext.nn.positions import Positions

if TYPE_CHECKING:
    from paddlenlp_ext.nn.cpu.packed import Packed
    from paddlenlp_ext.nn.encoder import EncoderLayer

SEEDS = 1 << 31  # of half a seed, as many as Paddle draws integers from
ACTIVATIONS = {gelu: "gelu", tanh_gelu: "tanh_gelu", F.relu: "relu"}


def unit_for(
    layer: EncoderLayer,
    states: Tensor,
    mask: Mask | Packed | None,
    with_weights: bool,
    positions: Positions | None = None,
) -> Unit | None:
    """Choose what computes a layer: a unit, or, if None, the layer's parts one by one.

    Args:
        layer: With its parts.
        states: float [B, L, H], or without padding [T, H].
        mask: Which positions each position may attend to, or where tokens without padding are.
        with_weights: Whether attention weights are asked for.
        positions: Those that it is computed for; all if None.
    """
    if with_weights or not on_cpu(states):
        return None
    kernels = kernels_for(layer, states)
    if kernels is None:
        return None
    keys = Keys.of_length(*states.shape[:2]) if mask is None else mask.keys
    # A mask of one row for all texts is left to what broadcasts it.
    if keys is None or (states.ndim == 3 and len(keys.starts) != states.shape[0] + 1):
        return None
    attention = layer.self_attn
    convolution, products = None, Products(bfloat16.current())
    if isinstance(attention, MixedAttention):
        convolution = convolution_of(
            attention, kernels, products, keys, states.shape[:2], positions
        )
    weights = weights_of(layer)
    rates = [one.p if one.training else 0.0 for one in dropouts_of(layer)]
    seed = 0
    if any(rates):
        high, low = paddle.randint(0, SEEDS - 1, [2], "int64").tolist()
        seed = (high * SEEDS + low) * 4  # leaves two bits to the places in the layer
    return Unit(
        kernels,
        weights,
        convolution,
        keys,
        attention.heads[0],
        products,
        compiled.ACTIVATIONS.index(ACTIVATIONS[layer.activation]),
        attention=compiled.Dropout.of(seed, rates[0]),
        activation=compiled.Dropout.of(seed + 2, rates[2]),
        first=ResidualNorm(
            *(kernels, weights.out_bias, weights.norm1, weights.norm1_bias),
            layer.norm1._epsilon,
            compiled.Dropout.of(seed + 1, rates[1]),
        ),
        second=ResidualNorm(
            *(kernels, weights.linear2_bias, weights.norm2, weights.norm2_bias),
            layer.norm2._epsilon,
            compiled.Dropout.of(seed + 3, rates[1]),
        ),
    )


def kernels_for(layer: EncoderLayer, states: Tensor) -> compiled.Kernels | None:
    """Return what can compute a layer of such states as a unit; None if nothing can."""
    if not layer.is_compiled or compiled.kernels() is None:
        return None
    if not on_cpu(states) or not _is_usual(layer):
        return None
    tensors = [states, *weights_of(layer)]
    if isinstance(layer.self_attn, MixedAttention):
        tensors += weights_of_spans(layer.self_attn)
    if any(one is None or one.dtype != paddle.float32 for one in tensors):
        return None
    return compiled.kernels()


def weights_of(layer: EncoderLayer) -> Weights:
    """Return the parameters of a layer, but for a convolution's; None for one that is not there."""
    # As attributes they would each take a microsecond, which a short sentence notices.
    parts, attention = layer._sub_layers, layer._sub_layers["self_attn"]._sub_layers
    return Weights(
        *(
            part._parameters.get(name)
            for part in (
                *(attention[name] for name in ("q_proj", "k_proj", "v_proj", "out_proj")),
                *(parts[name] for name in ("norm1", "linear1", "linear2", "norm2")),
            )
            for name in ("weight", "bias")
        )
    )


def dropouts_of(layer: EncoderLayer) -> tuple[nn.Dropout, nn.Dropout, nn.Dropout]:
    """Return what drops attention weights, the output of each half, and the activation's."""
    return layer.self_attn.dropout, layer.dropout, layer.activation_dropout


def _is_usual(layer: EncoderLayer) -> bool:
    """Whether a layer is made of the parts that the kernels compute, and nobody looks at them."""
    attention = layer.self_attn
    if type(attention) not in (Attention, MixedAttention) or layer.activation not in ACTIVATIONS:
        return False
    is_grouped = isinstance(layer.linear1, GroupedLinear)
    if is_grouped and bfloat16.current() is not None:
        return False
    dropouts = dropouts_of(layer)
    expected: list[tuple[type[nn.Layer], tuple[nn.Layer, ...]]] = [
        (Linear, (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)),
        (GroupedLinear if is_grouped else Linear, (layer.linear1, layer.linear2)),
        (LayerNorm, (layer.norm1, layer.norm2)),
        (Dropout, dropouts),
        (type(attention), (attention,)),
    ]
    if isinstance(attention, MixedAttention):
        expected += parts_of(attention)
    return all(
        type(part) is kind and not part._forward_pre_hooks and not part._forward_post_hooks
        for kind, parts in expected
        for part in parts
    ) and all(part.p < 1 for part in dropouts)
