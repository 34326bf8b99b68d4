"""Products in bfloat16: the casts, and gradients close to float32's, from what was cast once."""

from __future__ import annotations

import re
from contextlib import nullcontext

import numpy as np
import paddle
import pytest
from paddle import Tensor

from paddlenlp_ext.errors import DeviceError
from paddlenlp_ext.nn.autocast import Autocast
from paddlenlp_ext.nn.cpu import bfloat16, compiled, onednn
from paddlenlp_ext.nn.cpu.layers import Linear
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from paddlenlp_ext.nn.heads import TiedLMHead
from paddlenlp_ext.process import runtime
from tests.nn.cpu.test_encoder_layer import assert_close, make, masks, run

needs_bfloat16 = pytest.mark.skipif(bool(bfloat16.lacking()), reason=bfloat16.lacking())


def numpys(values: np.ndarray) -> np.ndarray:
    """Round float32 to bfloat16 by the definition, in float64; no infinities, nothing subnormal."""
    mantissa, exponent = np.frexp(values.astype("float64"))
    return np.ldexp(np.rint(np.ldexp(mantissa, 8)), exponent - 8)


def casted(values: np.ndarray) -> np.ndarray:
    return bfloat16.cast(paddle.to_tensor(values)).astype("float32").numpy()


@pytest.mark.parametrize("has_kernels", [True, False])
@pytest.mark.parametrize("count", [1, 31, 70_001])  # the last for several threads
def test_casts_round_to_the_nearest(count, has_kernels, kernels, monkeypatch):
    monkeypatch.setattr(compiled, "kernels", lambda: kernels if has_kernels else None)
    if not has_kernels and paddle.__version__.startswith("2."):
        monkeypatch.setattr(runtime, "processor", lambda: processor("AuthenticAMD", "avx512_bf16"))
        monkeypatch.setattr(onednn, "bfloat16_products", lambda: onednn.Products)
        assert bfloat16.lacking().endswith("and no compiler has built kernels that round")
        return
    values = np.random.default_rng(3).normal(size=count).astype("float32")
    values[: count // 3] = np.ldexp(np.float32(1 + 1 / 256), np.arange(count // 3) % 90)  # ties
    values[count // 3 : count // 2] *= 1e30
    np.testing.assert_array_equal(casted(values), numpys(values))


def test_casts_of_numbers_at_the_edge(kernels):
    bits = [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x7F7F7FFF, 0x1, 0x18000, 0x8000]
    expected = [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7F800000, 0x7F7F0000, 0, 0x20000, 0]
    found = casted(np.array(bits, "uint32").view("float32"))
    np.testing.assert_array_equal(found.view("uint32"), np.array(expected, "uint32"))
    none = np.array([0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF], "uint32").view("float32")
    assert np.isnan(casted(none)).all()


@needs_bfloat16
@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_of_a_stack_are_close(is_compiled, recompute, kernels, monkeypatch):
    monkeypatch.setattr(EncoderLayer, "is_compiled", is_compiled)
    encoder, random = make(96, 3, 128, layers=2, dropout=0.1), np.random.default_rng(8)
    encoder.train()
    values, weights = random.normal(size=(2, 5, 19, 96))
    tokens = masks(5, 19, "end")
    exact = run(encoder, values, weights, tokens)
    encoder.enable_recompute = recompute
    with bfloat16.bfloat16_products(bfloat16.Casts()):
        found = run(encoder, values, weights, tokens)
    assert_close(found, exact, 2e-2)
    for name in ("output", "states", "layers.0.self_attn.q_proj.weight", "layers.1.linear2.weight"):
        error = np.linalg.norm(found[name] - exact[name]) / np.linalg.norm(exact[name])
        assert error > 5e-4, f"{name} was computed in float32"


@needs_bfloat16
def test_the_backward_pass_need_not_know(kernels):
    """It does as its forward pass did, recomputed too, wherever it is called."""
    encoder, random = make(96, 3, 128, layers=2), np.random.default_rng(8)
    encoder.train()
    values, weights = random.normal(size=(2, 5, 19, 96))
    found = []
    for recompute in (False, True):
        encoder.enable_recompute = recompute
        for goes_on in (bfloat16.bfloat16_products(bfloat16.Casts()), nullcontext()):
            states = paddle.to_tensor(values.astype("float32"), stop_gradient=False)
            with bfloat16.bfloat16_products(bfloat16.Casts()):
                output = encoder(states, None).last_hidden_state
            with goes_on:
                (output * paddle.to_tensor(weights, "float32")).sum().backward()
            found.append(states.grad.numpy())
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def linear_gradients(layer: Linear | TiedLMHead, states: Tensor, table: Tensor) -> list[np.ndarray]:
    states.clear_gradient()
    output = layer(states) if isinstance(layer, Linear) else layer(states, table)
    output.square().sum().backward()
    found = [output, states.grad, *(parameter.grad for parameter in layer.parameters()), table.grad]
    arrays = [one.numpy() for one in found if one is not None]
    for parameter in (*layer.parameters(), table):
        parameter.clear_gradient(False)
    return arrays


@needs_bfloat16
@pytest.mark.parametrize("kind", ["linear", "head"])
def test_gradients_of_a_layer_are_close(kind):
    paddle.seed(5)
    head = TiedLMHead(65, 33, 77, hidden_act="gelu", layer_norm_eps=1e-12)
    layer = Linear(65, 70) if kind == "linear" else head
    table = head.create_parameter([77, 33])
    states = paddle.to_tensor(paddle.randn([7, 9, 65]), stop_gradient=False)
    exact = linear_gradients(layer, states, table)
    with bfloat16.bfloat16_products(bfloat16.Casts()):
        found = linear_gradients(layer, states, table)
    assert len(found) == len(exact) == (4 if kind == "linear" else 8)
    for ours, expected in zip(found, exact, strict=True):
        assert 1e-4 < np.linalg.norm(ours - expected) / np.linalg.norm(expected) < 2e-2


@needs_bfloat16
def test_small_products_and_those_of_other_types_stay():
    casts, small, wide = bfloat16.Casts(), Linear(31, 70), Linear(64, 64).to(dtype="float64")
    states, others = paddle.randn([40, 31]), paddle.randn([40, 64]).astype("float64")
    with paddle.no_grad():
        exact = small(states), wide(others)
        with bfloat16.bfloat16_products(casts):
            found = small(states), wide(others)
    for ours, expected in zip(found, exact, strict=True):
        np.testing.assert_array_equal(ours.numpy(), expected.numpy())


@needs_bfloat16
def test_weights_are_cast_once_until_they_change(kernels, monkeypatch):
    count: list[list[int]] = []
    cast = bfloat16.cast
    monkeypatch.setattr(bfloat16, "cast", lambda one: count.append(one.shape) or cast(one))
    encoder, autocast = make(40, 2, 56, layers=2), Autocast("bfloat16")
    states, weights = paddle.randn([3, 11, 40]), [[40, 40], [40, 56], [56, 40]]

    def compute(encoder: Encoder) -> tuple[np.ndarray, int]:
        count.clear()
        with paddle.no_grad(), autocast():
            found = encoder(states, None).last_hidden_state.numpy()
        return found, sum(shape in weights for shape in count)

    before, made = compute(encoder)
    again, made_again = compute(encoder)
    np.testing.assert_array_equal(again, before)
    assert (made, made_again) == (12, 0)
    for parameter in encoder.parameters():
        parameter.set_value(parameter * 2)
    autocast.forget()
    changed, made = compute(encoder)
    assert made == 12
    assert not np.allclose(changed, before)


def processor(vendor: str, flags: str) -> dict[str, str]:
    return {"vendor_id": vendor, "flags": f"fpu {flags} avx2"}


@pytest.mark.parametrize(
    ("vendor", "flags", "notice"),
    [
        ("AuthenticAMD", "avx512_bf16", ""),
        ("GenuineIntel", "amx_bf16 avx512_bf16", ""),
        (
            "GenuineIntel",
            "avx512_bf16",
            "bfloat16: this processor has no AMX .* slower, not faster",
        ),
    ],
)
def test_processors_that_multiply_bfloat16(vendor, flags, notice, monkeypatch):
    monkeypatch.setattr(runtime, "processor", lambda: processor(vendor, flags))
    monkeypatch.setattr(onednn, "bfloat16_products", lambda: onednn.Products)
    assert re.fullmatch(notice, Autocast("bfloat16").notice)


@pytest.mark.parametrize(
    ("flags", "has_onednn", "given", "message"),
    [
        ("avx512f", True, {}, r"bfloat16: this processor has neither avx512_bf16 nor amx_bf16; le"),
        (
            "amx_bf16",
            False,
            {},
            r"bfloat16: this PaddlePaddle brings no oneDNN 3; leave it out, or",
        ),
        ("amx_bf16", True, {"dtype": "float16"}, r".* on a CPU; give `amp_dtype` bfloat16, which"),
        ("amx_bf16", True, {"level": "O2"}, r"weights stay float32 on a CPU; give `amp_level` O1"),
    ],
)
def test_it_is_refused_by_name(flags, has_onednn, given, message, monkeypatch):
    monkeypatch.setattr(runtime, "processor", lambda: processor("AuthenticAMD", flags))
    monkeypatch.setattr(
        onednn, "bfloat16_products", lambda: onednn.Products if has_onednn else None
    )
    with pytest.raises(DeviceError, match=rf"^`use_amp`: {message}.*gpu\)$"):
        Autocast(**{"dtype": "bfloat16", "asked": "use_amp"} | given)
