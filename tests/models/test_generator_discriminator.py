"""Pretraining by replaced tokens, for both families that have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import Tensor

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models import generator_discriminator
from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.models.generator_discriminator import ForReplacedTokens
from tests.tiny import FAMILY_SIZES, SIZES, V, arrays, tensors

FAMILIES = ("convbert", "electra")
NARROW = {"hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 19}
each_family = pytest.mark.parametrize("family", FAMILIES)


def build(family: str, **sizes: Any) -> ForReplacedTokens:
    paddle.seed(4)
    cls = model_class(family, "ForPreTraining")
    sizes = {"generator": NARROW} | sizes
    model = cls(cls.config_class(**(SIZES | FAMILY_SIZES[family] | sizes)))
    for parameter in model.parameters():
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.1)
    assert isinstance(model, ForReplacedTokens)
    return model


def masked_batch() -> dict[str, np.ndarray]:
    """Every third token masked, [MASK] being 1; labels are what stood there."""
    batch = arrays()
    chosen = (batch["input_ids"] % 3 == 0) & (batch["attention_mask"] == 1)
    assert 5 < chosen.sum() < 15
    raw = batch["input_ids"]
    return batch | {
        "input_ids": np.where(chosen, 1, raw),
        "raw_input_ids": raw,
        "generator_labels": np.where(chosen, raw, -100),
    }


@each_family
def test_only_another_token_than_the_original_counts_as_replaced(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = build(family), masked_batch()
    chosen = batch["generator_labels"] != -100
    raw = batch["raw_input_ids"][chosen]
    drawn = np.where(np.arange(len(raw)) % 2 == 0, raw, (raw + 1) % V)  # every second one is right
    monkeypatch.setattr(generator_discriminator, "sample", lambda _: paddle.to_tensor(drawn))
    output = model(**tensors(batch))
    corrupted, expected = batch["raw_input_ids"].copy(), np.zeros_like(chosen, dtype="int64")
    corrupted[chosen] = drawn
    expected[chosen] = np.arange(len(raw)) % 2
    np.testing.assert_array_equal(output.discriminator_input_ids.numpy(), corrupted)
    np.testing.assert_array_equal(output.discriminator_labels.numpy(), expected)
    del batch["raw_input_ids"]
    again = model(**tensors(batch))
    np.testing.assert_array_equal(again.discriminator_labels.numpy(), expected)


@each_family
def test_losses_and_their_weights(family: str) -> None:
    model, batch = build(family), masked_batch()
    model.eval()
    output = model(**tensors(batch))
    chosen = batch["generator_labels"] != -100
    scores = output.generator_logits.numpy().astype("float64")
    labels = batch["generator_labels"][chosen]
    np.testing.assert_array_equal(output.generator_labels.numpy(), labels)
    log_sums = np.log(np.exp(scores).sum(-1))
    cross_entropy = (log_sums - scores[np.arange(len(labels)), labels]).mean()
    logits = output.logits.numpy().astype("float64")
    losses = np.log1p(np.exp(logits)) - logits * output.discriminator_labels.numpy()
    binary = losses[batch["attention_mask"] == 1].mean()  # padding counts nowhere
    np.testing.assert_allclose(float(output.generator_loss), cross_entropy, rtol=1e-5)
    np.testing.assert_allclose(float(output.discriminator_loss), binary, rtol=1e-5)
    np.testing.assert_allclose(float(output.loss), cross_entropy + 50 * binary, rtol=1e-5)
    given = {"input_ids": output.discriminator_input_ids} | {
        name: paddle.to_tensor(batch[name]) for name in ("token_type_ids", "attention_mask")
    }
    np.testing.assert_array_equal(model.discriminator(**given).logits.numpy(), output.logits)
    whole = model.generator(**tensors({k: batch[k] for k in arrays()})).logits.numpy()
    np.testing.assert_allclose(output.generator_logits.numpy(), whole[chosen], atol=1e-6)


@each_family
def test_values_are_returned_alone(family: str) -> None:
    model, batch = build(family), tensors(masked_batch())
    model.eval()
    paddle.seed(2)
    named = model(**batch).to_tuple()
    paddle.seed(2)
    values = model(**batch, return_dict=False)
    assert type(values) is tuple
    for one, other in zip(values, named, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@each_family
def test_other_weights_of_the_losses(family: str) -> None:
    model = build(family, gen_weight=3.0, disc_weight=7.0)
    output = model(**tensors(masked_batch()))
    expected = 3 * float(output.generator_loss) + 7 * float(output.discriminator_loss)
    np.testing.assert_allclose(float(output.loss), expected, rtol=1e-6)


@each_family
def test_nothing_masked(family: str) -> None:
    model, batch = build(family), masked_batch()
    batch["generator_labels"] = np.full_like(batch["generator_labels"], -100)
    output = model(**tensors(batch))
    assert float(output.generator_loss) == 0.0
    assert np.isfinite(float(output.loss))
    assert not output.discriminator_labels.numpy().any()
    np.testing.assert_array_equal(output.discriminator_input_ids.numpy(), batch["input_ids"])
    output.loss.backward()


def test_labels_are_needed() -> None:
    with pytest.raises(ValueError, match="generator_labels are needed"):
        build("electra")(**tensors(arrays()))


def word_tables(model: ForReplacedTokens) -> list[Tensor]:
    nets = (model.generator, model.discriminator)
    return [net.get_input_embeddings().weight for net in nets]


@each_family
@pytest.mark.parametrize("layout", ["paddle", "huggingface"])
def test_words_stay_tied_after_loading_and_training(
    family: str, layout: str, tmp_path: Path
) -> None:
    build(family).save_pretrained(tmp_path, format=layout)
    model = model_class(family, "ForPreTraining").from_pretrained(tmp_path)
    assert not model.load_report.missing
    assert not model.load_report.unexpected
    model.train()
    before = word_tables(model)[0].numpy()
    optimizer = paddle.optimizer.AdamW(0.01, parameters=model.parameters())
    model(**tensors(masked_batch())).loss.backward()
    optimizer.step()
    one, other = (table.numpy() for table in word_tables(model))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - before).max() > 0.005
    model.save_pretrained(tmp_path, format=layout)
    again = type(model).from_pretrained(tmp_path)
    for name, parameter in again.named_parameters():
        np.testing.assert_array_equal(parameter.numpy(), dict(model.named_parameters())[name])


@each_family
def test_every_parameter_moves(family: str) -> None:
    """The words are learned by both nets; the samples between them carry no gradient."""
    model = build(family, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for net, weights in (("generator.", (1.0, 0.0)), ("discriminator.", (0.0, 1.0))):
        model.config = model.config.replace(gen_weight=weights[0], disc_weight=weights[1])
        model.clear_gradients()
        model(**tensors(masked_batch())).loss.backward()
        moved = {n for n, p in model.named_parameters() if p.grad.abs().max() > 0}
        words = "generator.backbone.embeddings.word_embeddings.weight"
        assert moved == {n for n, _ in model.named_parameters() if n.startswith(net)} | {words}


def test_samples_follow_the_probabilities() -> None:
    paddle.seed(8)
    probabilities = np.array([0.5, 0.25, 0.15, 0.09, 0.01])
    scores = np.tile(np.log(probabilities), (20_000, 1)).astype("float32")
    drawn = generator_discriminator.sample(paddle.to_tensor(scores)).numpy()
    counts = np.bincount(drawn, minlength=5) / len(drawn)
    np.testing.assert_allclose(counts, probabilities, atol=0.012)  # over three deviations


@each_family
def test_discriminator_is_saved_for_fine_tuning(family: str, tmp_path: Path) -> None:
    model = build(family)
    model.discriminator.save_pretrained(tmp_path)
    tuned = model_class(family, "ForSequenceClassification").from_pretrained(tmp_path)
    assert all(name.startswith("classifier.") for name in tuned.load_report.missing)
    assert all("discriminator_predictions" in name for name in tuned.load_report.unexpected)
    tuned.eval()
    model.eval()
    got = tuned.backbone(**tensors(arrays())).last_hidden_state
    expected = model.discriminator.backbone(**tensors(arrays())).last_hidden_state
    np.testing.assert_array_equal(got.numpy(), expected.numpy())


@each_family
def test_weights_of_one_net_are_refused(family: str, tmp_path: Path) -> None:
    build(family).discriminator.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="holds a single model"):
        model_class(family, "ForPreTraining").from_pretrained(tmp_path)


@each_family
def test_generator_may_differ_or_not(family: str) -> None:
    narrow = build(family).generator.backbone
    assert narrow.config.hidden_size == 12
    assert narrow.embeddings.projection.weight.shape == [11, 12]
    alike = build(family, generator=None)
    assert alike.generator.config == alike.discriminator.config


@each_family
def test_vocabulary_grows_in_both(family: str) -> None:
    model = build(family)
    assert model.resize_token_embeddings(V + 4) is model.generator.get_input_embeddings()
    one, other = word_tables(model)
    assert one is other
    assert one.shape == [V + 4, 11]
    batch = masked_batch()
    assert model(**tensors(batch)).generator_logits.shape[-1] == V + 4
    assert {model.generator.config.vocab_size, model.discriminator.config.vocab_size} == {V + 4}


@each_family
def test_discriminator_takes_labels_of_some_tokens(family: str) -> None:
    """-100 counts nowhere; nor does padding, also where it is found by its token."""
    model = build(family).discriminator
    model.eval()
    batch = tensors(arrays())
    labels = (batch["input_ids"] % 2).astype("int64")
    labels[0, 2:] = -100
    expected = model(**batch, labels=labels).loss
    real = (labels.numpy() != -100) & (batch["attention_mask"].numpy() == 1)
    logits = model(**batch).logits.numpy()
    losses = np.log1p(np.exp(logits)) - logits * (labels.numpy() == 1)
    np.testing.assert_allclose(float(expected), losses[real].mean(), rtol=1e-5)
    del batch["attention_mask"]
    np.testing.assert_array_equal(model(**batch, labels=labels).loss.numpy(), expected.numpy())


def loss_of(model: Any, **inputs: np.ndarray) -> float:
    return float(model(**tensors(inputs)).loss)


@each_family
def test_tokens_without_labels_count_nowhere(family: str) -> None:
    model = build(family).discriminator
    batch = arrays()
    batch["labels"] = np.full_like(batch["input_ids"], -100)
    loss = model(**tensors(batch)).loss
    loss.backward()
    assert float(loss) == 0.0
    assert not any(one.grad.numpy().any() for one in model.parameters() if one.grad is not None)


@each_family
def test_padding_counts_nowhere_whatever_form_the_mask_has(family: str) -> None:
    """Forms of one mask have one loss, with padding that its token shows and with other."""
    model = build(family).discriminator
    model.eval()
    batch = arrays()
    mask = batch.pop("attention_mask")
    batch["labels"] = batch["input_ids"] % 2
    rows = mask[:, None, None]
    square = np.repeat(rows, mask.shape[1], 2)
    itself = np.maximum(square, np.eye(mask.shape[1], dtype="int64"))
    for padding in (0, 5):
        batch["input_ids"] = np.where(mask == 1, batch["input_ids"], padding)
        expected = loss_of(model, **batch, attention_mask=mask)
        for form in (rows, rows == 1, np.where(rows == 1, 0, -1e4), square, square[:, 0]):
            form = form.astype("float32") if form.dtype == np.float64 else form
            found = loss_of(model, **batch, attention_mask=form)
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=str(form.shape))
    batch["input_ids"] *= mask  # what sees itself is padding by its token
    output = model(**tensors(batch | {"attention_mask": itself}))
    logits = output.logits.numpy()
    losses = np.log1p(np.exp(logits)) - logits * batch["labels"]
    np.testing.assert_allclose(float(output.loss), losses[mask == 1].mean(), rtol=1e-5)


def test_padding_of_vectors_counts_nowhere() -> None:
    """Where there are no ids, the mask alone says what padding is; a prefix has no labels."""
    model = build("electra").discriminator
    model.eval()
    batch = arrays()
    mask, ids = batch.pop("attention_mask"), batch.pop("input_ids")
    words = model.get_input_embeddings()(paddle.to_tensor(ids)).numpy()
    given = {**batch, "inputs_embeds": words, "labels": ids % 2}
    expected = loss_of(model, **given, attention_mask=mask)
    square = np.repeat(mask[:, None], mask.shape[1], 1)
    for form in (mask[:, None, None], square):
        np.testing.assert_allclose(loss_of(model, **given, attention_mask=form), expected, 1e-6)
    part = paddle.randn([len(mask), 4, 2, 6])
    past = ((part, part),) * 3
    found = []
    for form in (mask[:, None, None], square):
        longer = np.concatenate([np.ones_like(form[..., :2]), form], -1)
        inputs = tensors(given | {"attention_mask": longer})
        found.append(float(model(**inputs, past_key_values=past).loss))
    plain = tensors(given | {"attention_mask": mask})
    np.testing.assert_allclose(found, float(model(**plain, past_key_values=past).loss), 1e-6)
