"""ConvBERT's blocks against plain loops."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlenlp_ext.nn.attention import mask_of
from paddlenlp_ext.nn.convolution import (
    DynamicConvolution,
    GroupedLinear,
    MixedAttention,
    SeparableConvolution,
)

B, L, A, D = 3, 7, 2, 5
random = np.random.default_rng(17)


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype("float32")


def convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The definition, one product at a time."""
    result, side = np.zeros_like(values), kernel.shape[3] // 2
    for i in range(values.shape[1]):
        for tap in range(kernel.shape[3]):
            source = i + tap - side
            if 0 <= source < values.shape[1]:
                result[:, i] += kernel[:, i, :, tap, None] * values[:, source]
    return result


@pytest.mark.parametrize("taps", [1, 3, 5, 9, 17])
def test_dynamic_convolution(taps: int) -> None:
    values, kernel = normal(B, L, A, D), normal(B, L, A, taps)
    got = DynamicConvolution.apply(paddle.to_tensor(values), paddle.to_tensor(kernel))
    np.testing.assert_allclose(got.numpy(), convolve(values, kernel), atol=1e-5)


@pytest.mark.parametrize("taps", [1, 3, 9, 17])
def test_gradient_of_dynamic_convolution(taps: int) -> None:
    """It is linear in both inputs, so a step of any size along one changes it by the gradient."""
    values, kernel, weights = normal(B, L, A, D), normal(B, L, A, taps), normal(B, L, A, D)
    inputs = [paddle.to_tensor(array, stop_gradient=False) for array in (values, kernel)]
    (DynamicConvolution.apply(*inputs) * paddle.to_tensor(weights)).sum().backward()
    step = normal(*values.shape)
    change = (convolve(values + step, kernel) - convolve(values, kernel)) * weights
    np.testing.assert_allclose((inputs[0].grad.numpy() * step).sum(), change.sum(), rtol=1e-4)
    step = normal(*kernel.shape)
    change = (convolve(values, kernel + step) - convolve(values, kernel)) * weights
    np.testing.assert_allclose((inputs[1].grad.numpy() * step).sum(), change.sum(), rtol=1e-4)


def test_gradient_of_dynamic_convolution_is_zero_where_nothing_asks() -> None:
    """Each entry of the gradients, by a weight on one output at a time."""
    values, kernel = normal(1, L, 1, 1), normal(1, L, 1, 5)
    for i in range(L):
        inputs = [paddle.to_tensor(array, stop_gradient=False) for array in (values, kernel)]
        DynamicConvolution.apply(*inputs)[0, i].sum().backward()
        of_values, of_kernel = np.zeros(L), np.zeros([L, 5])
        for tap, source in enumerate(range(i - 2, i + 3)):
            if 0 <= source < L:
                of_values[source], of_kernel[i, tap] = kernel[0, i, 0, tap], values[0, source, 0, 0]
        np.testing.assert_array_equal(inputs[0].grad.numpy()[0, :, 0, 0], of_values)
        np.testing.assert_array_equal(inputs[1].grad.numpy()[0, :, 0], of_kernel)


@pytest.mark.parametrize("frozen", [0, 1])
def test_one_input_may_be_frozen(frozen: int) -> None:
    arrays = normal(B, L, A, D), normal(B, L, A, 3)
    inputs = [paddle.to_tensor(one, stop_gradient=i == frozen) for i, one in enumerate(arrays)]
    DynamicConvolution.apply(*inputs).sum().backward()
    assert inputs[frozen].grad is None
    assert inputs[1 - frozen].grad is not None


def test_separable_convolution() -> None:
    layer = SeparableConvolution(11, 6, 5)
    layer.bias.set_value(paddle.to_tensor(normal(6)))
    states = normal(B, L, 11)
    depth = layer.depthwise.weight.numpy()[:, 0]  # [11, 5]
    narrowed = np.zeros_like(states)
    for i in range(L):
        for tap in range(5):
            if 0 <= i + tap - 2 < L:
                narrowed[:, i] += depth[:, tap] * states[:, i + tap - 2]
    expected = narrowed @ layer.pointwise.weight.numpy()[:, :, 0].T + layer.bias.numpy()
    got = layer(paddle.to_tensor(states)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_grouped_linear_is_a_dense_layer_with_blocks() -> None:
    layer = GroupedLinear(12, 21, 3)
    layer.bias.set_value(paddle.to_tensor(normal(21)))
    dense = np.zeros([12, 21], "float32")
    for group, block in enumerate(layer.weight.numpy()):
        dense[4 * group : 4 * group + 4, 7 * group : 7 * group + 7] = block
    states = normal(B, L, 12)
    got = layer(paddle.to_tensor(states)).numpy()
    np.testing.assert_allclose(got, states @ dense + layer.bias.numpy(), atol=1e-5)


def mixed(**options: bool) -> MixedAttention:
    paddle.seed(2)
    layer = MixedAttention(2 * A * D, A, 5, dropout=0.0, **options)
    for parameter in layer.parameters():
        parameter.set_value(paddle.randn(parameter.shape) * 0.3)
    layer.eval()
    return layer


def test_heads_of_attention_come_before_those_of_convolution() -> None:
    """With a kernel that takes the position itself, the second half is `conv_out_layer`."""
    layer = mixed()
    layer.conv_kernel_layer.weight.set_value(paddle.zeros_like(layer.conv_kernel_layer.weight))
    middle = np.tile(np.array([0, 0, 100, 0, 0], "float32"), A)
    layer.conv_kernel_layer.bias.set_value(paddle.to_tensor(middle))
    layer.out_proj.weight.set_value(paddle.eye(2 * A * D))
    layer.out_proj.bias.set_value(paddle.zeros([2 * A * D]))
    states = paddle.to_tensor(normal(B, L, 2 * A * D))
    output, weights = layer(states, with_weights=True)
    assert weights.shape == [B, A, L, L]
    half = layer.conv_out_layer(states).numpy()
    np.testing.assert_allclose(output.numpy()[..., A * D :], half, atol=1e-6)


@pytest.mark.parametrize("square", [False, True])
def test_padding_can_be_masked(square: bool) -> None:
    """Real tokens then see what they would see without padding; else they see a bit of it."""
    states = paddle.to_tensor(normal(1, L, 2 * A * D))
    mask = paddle.to_tensor([[1] * 4 + [0] * (L - 4)])
    mask = mask.unsqueeze(1).tile([1, L, 1]) if square else mask
    for mask_padding in (False, True):
        layer = mixed(mask_padding=mask_padding)
        padded = layer(states, mask_of(mask))[0].numpy()[:, :4]
        alone = layer(states[:, :4], mask_of(paddle.ones([1, 4], "int64")))[0].numpy()
        assert np.allclose(padded, alone, atol=1e-6) is mask_padding
        assert np.allclose(
            padded[:, :1], alone[:, :1], atol=1e-6
        )  # further than the kernel reaches
