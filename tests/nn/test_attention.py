"""The kernels of attention against each other, on a CPU by choosing them by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import base_class, model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.nn import attention
from paddlenlp_ext.nn.attention import (
    HAS_FUSED,
    Kernel,
    Mask,
    attend,
    bias_of,
    explicit,
    fused,
    kernel_for,
    mask_of,
)
from paddlenlp_ext.process import devices
from tests.tiny import FAMILY_SIZES, SIZES, B, L, arrays, square_mask, tensors

A, D, LQ = 2, 5, 4
random = np.random.default_rng(31)
needs_fused = pytest.mark.skipif(not HAS_FUSED, reason="this Paddle's takes no float32")
NO_DROPOUT = paddle.nn.Dropout(0.0)


def states(length: int) -> paddle.Tensor:
    return paddle.to_tensor(random.normal(size=(B, length, A, D)).astype("float32"))


def masks() -> dict[str, Mask | None]:
    flat, square = arrays()["attention_mask"], square_mask()
    square[1, 2] = 0  # a query that may attend to nothing
    flat[2] = 0  # and a text of padding alone
    given = {name: paddle.to_tensor(mask) for name, mask in (("flat", flat), ("square", square))}
    return {
        "none": None,
        "flat": mask_of(given["flat"]),
        "square": mask_of(given["square"]),
        "causal": mask_of(given["flat"], causal=True),
    }


@needs_fused
@pytest.mark.parametrize("name", ["none", "flat", "square", "causal"])
def test_kernels_agree(name: str) -> None:
    mask, results = masks()[name], []
    arrays_of_all = [states(L).numpy() for _ in range(3)]
    weights = states(L)
    for kernel in (explicit, fused):
        inputs = [paddle.to_tensor(one, stop_gradient=False) for one in arrays_of_all]
        means, _ = kernel(*inputs, mask, NO_DROPOUT)
        (means * weights).sum().backward()
        results.append([means, *(one.grad for one in inputs)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), atol=1e-6)


@needs_fused
def test_kernels_agree_on_fewer_queries_than_keys() -> None:
    """As in the cross-attention and the next step of a decoder."""
    query, key, value = states(LQ), states(L), states(L)
    causal = mask_of(paddle.ones([B, L], "int64"), causal=True, first_query=L - LQ)
    for mask in (causal, masks()["flat"]):
        expected, _ = explicit(query, key, value, mask, NO_DROPOUT)
        got, _ = fused(query, key, value, mask, NO_DROPOUT)
        np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-6)


def test_a_query_without_keys_takes_the_mean_of_all_values() -> None:
    query, value = states(L), states(L)
    for kernel in (explicit, fused) if HAS_FUSED else (explicit,):
        means, _ = kernel(query, states(L), value, masks()["flat"], NO_DROPOUT)
        expected = np.broadcast_to(value[2].numpy().mean(0), (L, A, D))
        np.testing.assert_allclose(means[2].numpy(), expected, atol=1e-6)


def test_explicit_attention_is_its_definition() -> None:
    query, key, value = states(LQ), states(L), states(L)
    mask = mask_of(paddle.to_tensor(arrays()["attention_mask"]))
    means, weights = attend(query, key, value, mask, NO_DROPOUT, with_weights=True)
    scores = np.einsum("bqad,bkad->baqk", query.numpy(), key.numpy()) / np.sqrt(D)
    scores = np.where(mask.allowed.numpy(), scores, -np.inf)
    expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(weights.numpy(), expected, atol=1e-6)
    expected = np.einsum("baqk,bkad->bqad", expected, value.numpy())
    np.testing.assert_allclose(means.numpy(), expected, atol=1e-6)
    assert attend(query, key, value, mask, NO_DROPOUT)[1] is None


@needs_fused
def test_fused_attention_drops_in_training_only() -> None:
    query, dropout = states(L), paddle.nn.Dropout(0.4)
    kept, _ = fused(query, query, query, None, NO_DROPOUT)
    assert not np.allclose(fused(query, query, query, None, dropout)[0].numpy(), kept.numpy())
    dropout.eval()
    got, _ = fused(query, query, query, None, dropout)
    np.testing.assert_array_equal(got.numpy(), kept.numpy())


@needs_fused
@pytest.mark.parametrize("dtype", [paddle.float16, paddle.bfloat16])
def test_fused_attention_in_mixed_precision(dtype: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU computes no such types: what Paddle is given is looked at, and computed in float32."""
    given: list[dict[str, Any]] = []

    def computed(
        query: paddle.Tensor, key: paddle.Tensor, value: paddle.Tensor, **options: Any
    ) -> paddle.Tensor:
        given.append(options)
        wide = [one.astype("float32") for one in (query, key, value)]
        bias = options["attn_mask"].astype("float32")
        return real(*wide, attn_mask=bias).astype(query.dtype)

    real = attention.F.scaled_dot_product_attention
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", computed)
    query, key, value = states(LQ), states(L), states(L)
    mask, dropout = mask_of(paddle.to_tensor(arrays()["attention_mask"])), paddle.nn.Dropout(0.4)
    narrow = [one.astype(dtype) for one in (query, key, value)]
    means = [fused(*narrow, mask, dropout)[0] for _ in range(2)]
    dropout.eval()
    fused(*narrow, mask, dropout)
    assert [one["dropout_p"] for one in given] == [0.4, 0.4, 0.0]
    assert [one["training"] for one in given] == [True, True, False]
    assert given[0]["attn_mask"] is given[1]["attn_mask"]  # once for all layers
    assert given[0]["attn_mask"].dtype == means[0].dtype == dtype
    assert given[0]["attn_mask"].shape == [B, 1, LQ, L]
    expected, _ = explicit(query, key, value, mask, NO_DROPOUT)
    np.testing.assert_allclose(means[0].astype("float32").numpy(), expected.numpy(), atol=0.02)


def test_a_device_says_which_kernel_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel_for(states(L)) is explicit
    monkeypatch.setattr(devices, "of", lambda tensor: devices.KINDS["gpu"])
    assert kernel_for(states(L)) is (fused if HAS_FUSED else explicit)
    monkeypatch.setattr(devices, "of", lambda tensor: devices.KINDS["xpu"])
    assert kernel_for(states(L)) is explicit


@pytest.mark.parametrize("dtype", [paddle.float32, paddle.float16, paddle.bfloat16])
def test_a_bias_is_made_once_of_each_type_and_is_finite(dtype: object) -> None:
    mask = mask_of(paddle.to_tensor(arrays()["attention_mask"]))
    bias = bias_of(mask, dtype)
    assert bias.dtype == dtype
    assert bias_of(mask, dtype) is bias
    values = bias.astype("float32").numpy()
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values == 0, mask.allowed.numpy())


@pytest.mark.parametrize("shape", [[L], [B, 1, L, L]])
def test_masks_of_another_rank_are_refused(shape: list[int]) -> None:
    with pytest.raises(ValueError, match=r"must be \[B, L\]"):
        mask_of(paddle.ones(shape, "int64"))
    with pytest.raises(TypeError, match="additive masks are not taken"):
        mask_of(paddle.zeros([B, L]))


def build(family: str, task: str, **changes: Any) -> Model:
    paddle.seed(5)
    config = base_class(family).config_class.from_dict(SIZES | FAMILY_SIZES[family])
    return model_class(family, task)(config.replace(attention_probs_dropout_prob=0.0, **changes))


def gradients_of(model: Model, mask: np.ndarray) -> dict[str, np.ndarray]:
    batch = arrays(pad=model.config.pad_token_id) | {"attention_mask": mask}
    if not hasattr(model.config, "type_vocab_size"):
        del batch["token_type_ids"]
    paddle.seed(6)
    output = model(**tensors(batch))
    (output.last_hidden_state**2).sum().backward()
    found = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    model.clear_gradients()
    return found | {"output": output.last_hidden_state.numpy()}


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Any:
    def choose(kernel: Kernel) -> None:
        monkeypatch.setattr(attention, "kernel_for", lambda _: kernel)

    return choose


@needs_fused
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("family", FAMILY_SIZES)
def test_models_compute_the_same_by_either_kernel(family: str, square: bool, choose: Any) -> None:
    changes = {"mask_convolution": True} if family == "convbert" else {}
    model = build(family, "Model", **changes)
    mask = square_mask() if square else arrays()["attention_mask"]
    choose(explicit)
    expected = gradients_of(model, mask)
    choose(fused)
    got = gradients_of(model, mask)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, atol=2e-5, rtol=1e-5, err_msg=name)


@needs_fused
def test_a_decoder_continues_the_same_by_either_kernel(choose: Any) -> None:
    """With a cache, a memory, and padding in front."""
    model = build("bert", "ForCausalLM", is_decoder=True, add_cross_attention=True)
    model.eval()
    batch = tensors(arrays())
    memory = paddle.to_tensor(random.normal(size=(B, L + 2, 24)).astype("float32"))
    memory_mask = paddle.to_tensor(arrays(length=L + 2)["attention_mask"])
    given = {"encoder_hidden_states": memory, "encoder_attention_mask": memory_mask}
    mask = batch["attention_mask"].flip([1])
    texts, scores = [], []
    for kernel in (explicit, fused):
        choose(kernel)
        texts.append(model.generate(batch["input_ids"], mask, max_new_tokens=5, **given).numpy())
        output = model(**batch, use_cache=True, **given)
        after = model(batch["input_ids"][:, :2], past_key_values=output.past_key_values, **given)
        scores.append(after.logits.numpy())
    np.testing.assert_array_equal(*texts)
    np.testing.assert_allclose(*scores, atol=1e-5)
