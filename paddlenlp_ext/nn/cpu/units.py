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
from paddlenlp_ext.nn.convolution import GroupedLinear, MixedAttention, SeparableConvolution
from paddlenlp_ext.nn.cpu import bfloat16, compiled
from paddlenlp_ext.nn.cpu.encoder_layer import Unit, Weights
from paddlenlp_ext.nn.cpu.layers import Dropout, LayerNorm, Linear, gelu, on_cpu, tanh_gelu
from paddlenlp_ext.nn.cpu.products import Products
from paddlenlp_ext.nn.cpu.residual_norm import ResidualNorm
from paddlenlp_ext.nn.cpu.span_convolution import convolution_of, weights_of_spans
from paddlenlp_ext.nn.cpu.texts import Keys
from paddlenlp_ext.nn.positions import Positions

if TYPE_CHECKING:
    from paddlenlp_ext.nn.cpu.packed import Packed
    from paddlenlp_ext.nn.encoder import EncoderLayer

SINGLE = (paddle.float32,)  # to look for a type in this is faster than to compare it
SEEDS = 1 << 31  # of half a seed, as many as Paddle draws integers from
ACTIVATIONS = {gelu: "gelu", tanh_gelu: "tanh_gelu", F.relu: "relu"}
# The parts of what the kernels compute: of a layer, of its attention, and of the sums around keys.
_LAYER = {
    "self_attn": Attention,
    **dict.fromkeys(("norm1", "norm2"), LayerNorm),
    **dict.fromkeys(("linear1", "linear2"), Linear),
    **dict.fromkeys(("dropout", "activation_dropout"), Dropout),
}
_ATTENTION = dict.fromkeys(("q_proj", "k_proj", "v_proj", "out_proj"), Linear) | {
    "dropout": Dropout
}
_MIXED = [
    _ATTENTION
    | {"key_conv_attn_layer": SeparableConvolution}
    | dict.fromkeys(("conv_kernel_layer", "conv_out_layer"), Linear),
    dict.fromkeys(("depthwise", "pointwise"), nn.Conv1D),
]
_OF_MIXED = _LAYER | {"self_attn": MixedAttention}
USUAL = (
    [_LAYER, _ATTENTION],
    [_OF_MIXED, *_MIXED],
    [_OF_MIXED | dict.fromkeys(("linear1", "linear2"), GroupedLinear), *_MIXED],
)


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
    """Return what can compute a layer of such states as a unit; None if nothing can.

    This and what it calls takes parts from their dictionaries: as attributes they would each take a
    microsecond, and a short sentence notices hundreds of them.
    """
    if not layer.is_compiled or compiled.kernels() is None:
        return None
    if not on_cpu(states) or not _is_usual(layer):
        return None
    tensors = [states, *weights_of(layer)]
    attention = layer._sub_layers["self_attn"]
    if isinstance(attention, MixedAttention):
        tensors += weights_of_spans(attention)
    if any(one is None or one.dtype not in SINGLE for one in tensors):
        return None
    return compiled.kernels()


def weights_of(layer: EncoderLayer) -> Weights:
    """Return the parameters of a layer, but for a convolution's; None for one that is not there."""
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
    parts = layer._sub_layers
    attention = parts["self_attn"]._sub_layers["dropout"]
    return attention, parts["dropout"], parts["activation_dropout"]


def _is_usual(layer: EncoderLayer) -> bool:
    """Whether a layer is made of the parts that the kernels compute, and nobody looks at them."""
    attention = layer._sub_layers["self_attn"]
    groups = [layer._sub_layers, attention._sub_layers]
    if isinstance(attention, MixedAttention):
        groups.append(attention._sub_layers["key_conv_attn_layer"]._sub_layers)
    kinds = [{name: type(part) for name, part in group.items()} for group in groups]
    if kinds not in USUAL or layer.activation not in ACTIVATIONS:
        return False
    if kinds[0]["linear1"] is GroupedLinear and bfloat16.current() is not None:
        return False
    parts = [part for group in groups for part in group.values()]
    return not any(part._forward_pre_hooks or part._forward_post_hooks for part in parts) and all(
        part.p < 1 for part in dropouts_of(layer)
    )
