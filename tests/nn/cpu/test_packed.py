"""Batches without their padding, against the same layers with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import Tensor

from paddlenlp_ext.inference.export import export_logits
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.electra import ElectraDiscriminator, ElectraForPreTraining
from paddlenlp_ext.nn.attention import mask_of
from paddlenlp_ext.nn.cpu import stack
from paddlenlp_ext.nn.cpu.packed import Packed, pack
from paddlenlp_ext.nn.encoder import Encoder
from paddlenlp_ext.nn.positions import FIRST, LAST, TOKENS, Positions
from tests.models.test_contract import HEADS, batch_for, build
from tests.nn.cpu.test_encoder_layer import assert_close, gradients, make, masks
from tests.tiny import tensors

pytestmark = pytest.mark.usefixtures("kernels")
B, L, H = 5, 9, 24
READ = np.array([[3, 0], [0, 0], [1, 0], [0, 1], [0, 0]])  # tokens whatever the lengths below
LENGTHS = np.array([L, 1, 4, 7, 1])
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def padded_at(kind: str) -> Tensor:
    """Padding at the end of rows or in front, or what `masks` knows."""
    if kind == "end":
        return paddle.to_tensor((np.arange(L) < LENGTHS[:, None]).astype("int64"))
    if kind == "front":
        return padded_at("end").flip([1])
    return masks(B, L, kind)


class Seen(list[bool]):
    """Whether each batch was packed; none is if `allowed` is taken away."""

    allowed = True


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found = Seen()

    def looking(*arguments: Any) -> Packed | None:
        packed = pack(*arguments) if found.allowed else None
        found.append(packed is not None)
        return packed

    monkeypatch.setattr(stack, "pack", looking)
    return found


def run(
    encoder: Encoder, tokens: Tensor, positions: Positions | None, values: Any, **asked: bool
) -> dict[str, Any]:
    """What is read of the output, and the gradients of a sum of it."""
    states = paddle.to_tensor(values.astype("float32"), stop_gradient=False)
    paddle.seed(9)
    output = encoder(states, mask_of(tokens), positions=positions, **asked).last_hidden_state
    weights = np.random.default_rng(6).normal(size=output.shape)
    if positions is TOKENS:
        weights *= tokens.numpy()[:, :, None]
    return gradients(encoder, output, states, weights)


def values_of(number: int) -> Any:
    return np.random.default_rng(number).normal(size=(B, L, H))


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize(
    ("kind", "positions"),
    [
        ("end", FIRST),
        ("front", LAST),
        ("end", paddle.to_tensor(READ)),
        *((kind, TOKENS) for kind in ("end", "front", "holes")),
    ],
)
def test_a_stack_without_padding_is_that_with_it(seen, kind, positions, unread):
    encoder, tokens, values = make(H, 4, 37, layers=3), padded_at(kind), values_of(8)
    encoder.skips_unread = not unread
    packed = run(encoder, tokens, positions, values)
    seen.allowed = False
    padded = run(encoder, tokens, positions, values)
    assert seen == [True, False]
    is_padding = tokens.numpy() == 0
    if positions is TOKENS:
        assert not packed["output"][is_padding].any()
        assert padded["output"][is_padding].all()
        padded["output"][is_padding] = 0
    assert not packed["states"][is_padding].any()
    assert_close(packed, padded, 2e-6)


def test_layers_see_tokens_alone(seen):
    encoder, shapes = make(H, 4, 37, layers=2), []
    for layer in encoder.layers:
        layer.register_forward_post_hook(
            lambda _, inputs, output: shapes.append((inputs[0].shape, output.hidden_states.shape))
        )
    run(encoder, padded_at("end"), FIRST, values_of(8))
    total = int(LENGTHS.sum())
    assert shapes == [([total, H], [total, H]), ([total, H], [B, 1, H])]


@pytest.mark.parametrize(
    ("kind", "positions", "asked"),
    [
        ("end", None, {}),  # padding may be read
        ("end", LAST, {}),  # and here it is
        ("end", paddle.to_tensor(READ[::-1] + 4), {}),
        ("front", FIRST, {}),
        ("end", FIRST, {"output_hidden_states": True}),
        ("end", FIRST, {"output_attentions": True}),
    ],
)
def test_padding_that_is_read_stays(seen, kind, positions, asked):
    encoder, tokens, values = make(H, 4, 37, layers=2), padded_at(kind), values_of(8)
    found = run(encoder, tokens, positions, values, **asked)
    seen.allowed = False
    expected = run(encoder, tokens, positions, values, **asked)
    assert not any(seen)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], name)


def test_other_batches_stay_as_they_are(monkeypatch):
    encoder, states = make(H, 4, 37, layers=2), paddle.randn([B, L, H])
    padded = mask_of(padded_at("end"))
    assert pack(encoder.layers, states, padded, FIRST) is not None
    empty = paddle.concat([padded_at("end")[:-1], paddle.zeros([1, L], "int64")])
    for mask in (
        None,
        mask_of(paddle.ones([B, L], "int64")),
        mask_of(paddle.ones([B, L, L], "int64")),
        mask_of(padded_at("end")[1:2]),
        mask_of(empty),
    ):
        assert pack(encoder.layers, states, mask, TOKENS) is None
    assert pack(encoder.layers, states.astype("float64"), padded, FIRST) is None
    encoder.layers[1].self_attn.q_proj.bias = None
    assert pack(encoder.layers, states, padded, FIRST) is None


@pytest.mark.parametrize("positions", [FIRST, TOKENS])
def test_finite_differences_with_dropout(seen, positions):
    encoder = make(H, 4, 37, layers=2, dropout=0.4)
    encoder.train()
    tokens, values, step = padded_at("end"), values_of(4), 2e-3
    direction, random = values_of(5), np.random.default_rng(7)
    found = run(encoder, tokens, positions, values)
    again = run(encoder, tokens, positions, values)
    np.testing.assert_array_equal(found["output"], again["output"])
    slope, moves = (found["states"] * direction).sum(), {}
    begin = {name: parameter.numpy() for name, parameter in encoder.named_parameters()}
    for name, value in begin.items():
        moves[name] = random.normal(size=value.shape) * 0.3
        slope += (found[name] * moves[name]).sum()
    sums, weights = [], np.random.default_rng(6).normal(size=found["output"].shape)
    for sign in (1, -1):
        for name, parameter in encoder.named_parameters():
            moved = begin[name] + sign * step * moves[name]
            parameter.set_value(paddle.to_tensor(moved.astype("float32")))
        output = run(encoder, tokens, positions, values + sign * step * direction)["output"]
        sums.append((output.astype("float64") * weights).sum())
    assert all(seen)
    assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(slope, rel=5e-3)


@pytest.mark.parametrize("positions", [FIRST, TOKENS])
def test_recomputation_finds_the_same(seen, positions):
    encoder = make(H, 4, 37, layers=2, dropout=0.3)
    encoder.train()
    plain = run(encoder, padded_at("end"), positions, values_of(4))
    encoder.enable_recompute = True
    again = run(encoder, padded_at("end"), positions, values_of(4))
    assert seen == [True, True]
    for name in plain:
        np.testing.assert_array_equal(plain[name], again[name], name)


@pytest.mark.parametrize("positions", [FIRST, TOKENS])
def test_evaluation_computes_the_same(seen, positions):
    encoder, states = make(H, 4, 37, layers=2, dropout=0.3), paddle.randn([B, L, H])
    encoder.eval()
    mask = mask_of(padded_at("end"))
    kept = encoder(states, mask, positions=positions).last_hidden_state
    with paddle.no_grad():
        free = encoder(states, mask, positions=positions).last_hidden_state
    assert seen == [True, True]
    np.testing.assert_array_equal(kept.numpy(), free.numpy())
    assert free.stop_gradient


# Of what reads padding: answers and spans are among all positions.
READS_PADDING = ("ForQuestionAnswering", "ForCausalLM")
CASES = [
    *((f, task) for f, task in HEADS if f != "convbert" and task not in READS_PADDING),
    ("electra", ElectraDiscriminator),
    ("electra", ElectraForPreTraining),
]


@pytest.mark.parametrize(("family", "task"), CASES)
def test_models_of_all_families_and_heads(seen, family, task):
    if isinstance(task, str):
        model: Model = build(family, task, **NO_DROPOUT)
    else:
        model = task(build(family, "Model", **NO_DROPOUT).config)
    random = np.random.default_rng(5)
    for parameter in model.parameters():
        noise = random.normal(0, 0.1, parameter.shape).astype("float32")
        parameter.set_value(parameter.numpy() + noise)
    model.compile_layers()
    found = [answers(model, task)]
    count = len(seen)
    seen.allowed = False
    found.append(answers(model, task))
    assert seen == [True] * count + [False] * count
    for name, expected in found[1].items():
        if not name.endswith("k_proj.bias"):  # which shifts all scores of a softmax alike
            error = np.linalg.norm(found[0][name] - expected)
            assert error <= 2e-6 * np.linalg.norm(expected) + 1e-9, name


@pytest.mark.skipif(paddle.__version__ < "3", reason="it cannot translate annotated names")
def test_programs_keep_padding(tmp_path):
    model = build("bert", "ForTokenClassification", **NO_DROPOUT)
    model.compile_layers()
    batch = tensors(batch_for(model, "ForTokenClassification"))
    real = batch["attention_mask"].numpy() == 1
    program = paddle.jit.load(str(export_logits(model, tmp_path)))
    found = program(*batch.values()).numpy()
    model.train()
    trained = model(**batch).logits.numpy()
    np.testing.assert_allclose(found[real], trained[real], atol=1e-5, rtol=0)
    assert not np.allclose(found[~real], trained[~real])
    model.eval()
    np.testing.assert_allclose(found, model(**batch).logits.numpy(), atol=1e-5, rtol=0)


def answers(model: Model, task: Any) -> dict[str, Any]:
    """Logits of tokens and the gradients of a loss."""
    batch = batch_for(model, "ForMaskedLM" if not isinstance(task, str) else task)
    batch["attention_mask"][-1, ..., 1:] = 0  # a row of one token
    ids, real = batch["input_ids"], batch["attention_mask"] == 1
    every_token = np.where(real, ids % 2, -100)
    places = np.flatnonzero(real)[[4, 0, 7]]  # none of some rows, the last token of one
    more: dict[str, Any] = {}
    if task == "ForMaskedLM":
        more["masked_positions"] = paddle.to_tensor(places)
        labels = ids.reshape(-1)[places]
    elif task in ("ForTokenClassification", ElectraDiscriminator):
        labels = every_token
    elif task is ElectraForPreTraining:
        labels = np.full(ids.size, -100)
        labels[places] = ids.reshape(-1)[places]
        labels = labels.reshape(ids.shape)
    else:
        labels = np.array([1, 0, 1])
    name = "generator_labels" if task is ElectraForPreTraining else "labels"
    call = model.run if hasattr(model, "run") else model
    paddle.seed(3)
    output = call(**tensors(batch), **more, **{name: paddle.to_tensor(labels)})
    output.loss.backward()
    logits = output.logits.numpy()
    if logits.shape[:2] == real.shape and real.ndim == 2:
        logits = logits[real]
    found = {"logits": logits, "loss": output.loss.numpy()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad.numpy().copy()
        parameter.clear_gradient(False)
    return found
