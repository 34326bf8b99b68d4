"""BERT against transformers: every task class, both directions, with masks of both ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models import bert
from tests.parity.reference import assert_same, assert_transformers_loads, randomize, reload
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, arrays, square_mask

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

TINY = SIZES | FAMILY_SIZES["bert"]
# Ours to theirs.
CLASSES = {
    "BertModel": "BertModel",
    "BertForPreTraining": "BertForPreTraining",
    "BertForMaskedLM": "BertForMaskedLM",
    "BertForNextSentencePrediction": "BertForNextSentencePrediction",
    "BertForCausalLM": "BertLMHeadModel",
    "BertForSequenceClassification": "BertForSequenceClassification",
    "BertForTokenClassification": "BertForTokenClassification",
    "BertForQuestionAnswering": "BertForQuestionAnswering",
    "BertForMultipleChoice": "BertForMultipleChoice",
}


def build(name: str, **sizes: Any) -> tuple[Any, Any, type]:
    ours = getattr(bert, name)
    theirs = getattr(transformers, CLASSES[name])
    sizes["is_decoder"] = name == "BertForCausalLM"
    return ours, theirs(transformers.BertConfig(**sizes)), theirs


def inputs(name: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if name != "BertForMultipleChoice":
        return batch
    return {
        key: np.stack([np.roll(rows, i, 0) for i in range(CHOICES)], 1)
        for key, rows in batch.items()
    }


@pytest.mark.parametrize("name", CLASSES)
def test_tiny(name: str, tmp_path: Path) -> None:
    ours, reference, theirs = build(name, **TINY)
    model = reload(randomize(reference), ours, tmp_path / "theirs")
    batch = inputs(name, arrays())
    assert_same(reference, model, batch, 2e-6)
    if name != "BertForMultipleChoice":
        assert_same(reference, model, batch | {"attention_mask": square_mask()}, 2e-6)
    assert_transformers_loads(model, theirs, tmp_path / "ours", batch, 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_base_size(name: str, tmp_path: Path) -> None:
    """The published shape, with weights as large as a trained model's."""
    ours, reference, _ = build(name)
    torch.manual_seed(0)
    model = reload(reference.eval(), ours, tmp_path)
    batch = arrays(length=37)
    batch["token_type_ids"] %= 2  # the published models have two types
    assert_same(reference, model, inputs(name, batch), 1e-5)


@pytest.mark.parametrize("labels", [1, 3])
def test_losses(labels: int, tmp_path: Path) -> None:
    ours, reference, _ = build("BertForSequenceClassification", num_labels=labels, **TINY)
    model = reload(randomize(reference), ours, tmp_path)
    targets = np.array([2, 0, 1]) if labels == 3 else np.array([0.3, -1.0, 2.5], "float32")
    assert_same(reference, model, arrays() | {"labels": targets}, 2e-6)


def test_several_labels_at_once(tmp_path: Path) -> None:
    ours, reference, _ = build("BertForSequenceClassification", num_labels=4, **TINY)
    model = reload(randomize(reference), ours, tmp_path)
    targets = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], "float32")
    assert_same(reference, model, arrays() | {"labels": targets}, 2e-6)


def test_token_losses(tmp_path: Path) -> None:
    labels = np.where(arrays()["attention_mask"] == 1, arrays(seed=9)["input_ids"] % 2, -100)
    for name in ("BertForTokenClassification", "BertForMaskedLM", "BertForCausalLM"):
        ours, reference, _ = build(name, **TINY)
        model = reload(randomize(reference), ours, tmp_path / name)
        assert_same(reference, model, arrays() | {"labels": labels}, 2e-6)


def test_question_answering_loss(tmp_path: Path) -> None:
    ours, reference, _ = build("BertForQuestionAnswering", **TINY)
    model = reload(randomize(reference), ours, tmp_path)
    places = {"start_positions": np.array([1, 0, 99]), "end_positions": np.array([3, 2, 1])}
    assert_same(reference, model, arrays() | places, 2e-6)


def test_pretraining_loss(tmp_path: Path) -> None:
    ours, reference, _ = build("BertForPreTraining", **TINY)
    model = reload(randomize(reference), ours, tmp_path)
    batch = arrays()
    labels = np.where(arrays(seed=4)["input_ids"] % 3 == 0, batch["input_ids"], -100)
    extra = {"labels": labels, "next_sentence_label": np.array([1, 0, 1])}
    assert_same(reference, model, batch | extra, 2e-6)


def test_hidden_states_and_attentions(tmp_path: Path) -> None:
    ours, reference, _ = build("BertModel", **TINY)
    model = reload(randomize(reference), ours, tmp_path)
    batch = arrays()
    reference.set_attn_implementation("eager")
    with torch.no_grad():
        expected = reference(
            **{name: torch.tensor(value) for name, value in batch.items()},
            output_hidden_states=True,
            output_attentions=True,
        )
    got = model(
        **{name: paddle.to_tensor(value) for name, value in batch.items()},
        output_hidden_states=True,
        output_attentions=True,
    )
    assert len(got.hidden_states) == len(expected.hidden_states)
    assert len(got.attentions) == len(expected.attentions)
    for ours_one, theirs_one in zip(
        (*got.hidden_states, *got.attentions),
        (*expected.hidden_states, *expected.attentions),
        strict=True,
    ):
        np.testing.assert_allclose(ours_one.numpy(), theirs_one.numpy(), atol=2e-6)


def test_gradients(tmp_path: Path) -> None:
    """Training starts from the same gradients."""
    ours, reference, _ = build("BertForSequenceClassification", **TINY)
    model = reload(randomize(reference), ours, tmp_path)
    batch = arrays() | {"labels": np.array([1, 0, 1])}
    reference(**{name: torch.tensor(value) for name, value in batch.items()}).loss.backward()
    model(**{name: paddle.to_tensor(value) for name, value in batch.items()}).loss.backward()
    theirs = dict(reference.named_parameters())
    names = model.names["huggingface"].to_theirs(name for name, _ in model.named_parameters())
    transposed = model.linear_weights()
    for name, parameter in model.named_parameters():
        gradient = theirs[names[name]].grad.numpy()
        gradient = gradient.T if name in transposed else gradient
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-4, atol=1e-5)


def test_decoder_with_memory_and_cache(tmp_path: Path) -> None:
    """Cross-attention equals the reference; step by step equals all at once."""
    sizes = TINY | {"is_decoder": True, "add_cross_attention": True}
    reference = randomize(transformers.BertLMHeadModel(transformers.BertConfig(**sizes)))
    model = reload(reference, bert.BertForCausalLM, tmp_path)
    ids = arrays()["input_ids"] % 50 + 3
    memory = np.random.default_rng(0).normal(size=(3, 5, 24)).astype("float32")
    memory_mask = np.array([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    extra = {"encoder_hidden_states": memory, "encoder_attention_mask": memory_mask}
    assert_same(reference, model, {"input_ids": ids} | extra, 2e-6)
    extra = {name: paddle.to_tensor(value) for name, value in extra.items()}
    whole = model(paddle.to_tensor(ids), **extra).logits.numpy()
    cache, steps = None, []
    for at in range(ids.shape[1]):
        token = paddle.to_tensor(ids[:, at : at + 1])
        output = model(token, past_key_values=cache, use_cache=True, **extra)
        cache = output.past_key_values
        steps.append(output.logits.numpy())
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, atol=1e-6)


def test_greedy_generation(tmp_path: Path) -> None:
    _, reference, _ = build("BertForCausalLM", **TINY)
    model = reload(randomize(reference), bert.BertForCausalLM, tmp_path)
    ids = arrays()["input_ids"] % 50 + 3
    with torch.no_grad():
        expected = reference.generate(
            torch.tensor(ids), attention_mask=torch.ones(ids.shape, dtype=torch.int64),
            max_new_tokens=9, do_sample=False, eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
    got = model.generate(paddle.to_tensor(ids), max_new_tokens=9)
    np.testing.assert_array_equal(got.numpy(), expected.numpy())
