"""What both nets are trained and judged by, against sums done by hand and by the model itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.electra import ElectraForPreTraining
from paddlenlp_ext.pretraining.masking import MaskingVocabulary
from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training.objectives import MaskedTexts, ReplacedTokens
from tests.tiny import FAMILY_SIZES, SIZES, V

CLS, SEP, MASK, PAD = 1, 2, 3, 50
SPECIAL = np.isin(np.arange(V), [0, CLS, SEP, MASK, PAD])
VOCABULARY = MaskingVocabulary(MASK, SPECIAL, np.zeros(V, bool))
LENGTHS = np.array([7, 4, 9, 2])


def rows() -> Rows:
    ids = np.random.default_rng(2).integers(5, 50, (4, 12))
    ids[:, 0] = CLS
    ids[np.arange(4), LENGTHS - 1] = SEP
    ids[np.arange(12) >= LENGTHS[:, None]] = 0
    columns = {"input_ids": ids.astype(np.int32), "length": LENGTHS.astype(np.int32)}
    return Rows(np.array([5, 2, 0, 9]), columns)


def batch(part: slice = slice(None), probability: float = 0.5) -> Batch:
    some = rows().take(part)
    return Batch(MaskedTexts(VOCABULARY, PAD, probability)(some), some.numbers)


def build(**changes: Any) -> ElectraForPreTraining:
    paddle.seed(1)
    sizes = SIZES | FAMILY_SIZES["electra"] | {"pad_token_id": PAD} | changes
    model = ElectraForPreTraining(ElectraForPreTraining.config_class(**sizes))
    model.eval()
    return model


@pytest.mark.parametrize(("multiple", "length"), [(1, 9), (4, 12), (8, 12)])
def test_tensors_are_padded_and_labelled(multiple: int, length: int) -> None:
    """To the longest row, rounded up, but no further than the shard is wide."""
    made = MaskedTexts(VOCABULARY, PAD, 0.5, pad_to_multiple_of=multiple)(rows())
    ids, mask, labels = (
        made[name].numpy() for name in ("input_ids", "attention_mask", "generator_labels")
    )
    assert ids.shape == mask.shape == labels.shape == (4, length)
    np.testing.assert_array_equal(mask, np.arange(length) < LENGTHS[:, None])
    raw = rows().columns["input_ids"][:, :length]
    assert (ids[mask == 0] == PAD).all()
    chosen = labels != -100
    assert chosen.any()
    assert not (chosen & (SPECIAL[raw] | (mask == 0))).any()
    np.testing.assert_array_equal(labels[chosen], raw[chosen])
    np.testing.assert_array_equal(ids[~chosen & (mask == 1)], raw[~chosen & (mask == 1)])


def test_masks_are_new_in_each_epoch() -> None:
    make = MaskedTexts(VOCABULARY, PAD, 0.5)
    first, again, other = (make(rows(), epoch)["generator_labels"].numpy() for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_losses_are_the_model_s_own() -> None:
    model, given = build(gen_weight=0.7, disc_weight=11.0), batch()
    objective = ReplacedTokens(0.7, 11.0)
    paddle.seed(3)
    terms = objective.losses(model, given)
    means = [float(t.sum()) / n for t, n in zip(terms, objective.count(given), strict=True)]
    paddle.seed(3)
    output = model(**given)
    assert means[0] == pytest.approx(0.7 * float(output.generator_loss), rel=1e-5)
    assert means[1] == pytest.approx(11.0 * float(output.discriminator_loss), rel=1e-5)
    assert sum(means) == pytest.approx(float(output.loss), rel=1e-5)


def test_parts_of_a_batch_add_up_to_it() -> None:
    """Counts and the generator's losses of two halves, padded to other lengths, are the whole's."""
    model, objective = build(), ReplacedTokens()
    parts = [batch(slice(0, 2)), batch(slice(2, None))]
    np.testing.assert_array_equal(
        np.sum([objective.count(part) for part in parts], 0), objective.count(batch())
    )
    whole = float(objective.losses(model, batch())[0].sum())
    assert sum(float(objective.losses(model, part)[0].sum()) for part in parts) == pytest.approx(
        whole, rel=1e-5
    )


def test_nothing_masked_and_no_rows() -> None:
    model, objective = build(), ReplacedTokens()
    given = batch(probability=0.0)
    assert objective.count(given) == [0, int(LENGTHS.sum())]
    generator, discriminator = objective.losses(model, given)
    assert float(generator.sum()) == 0.0
    assert float(discriminator.sum()) > 0
    assert objective.count(batch(slice(0, 0))) == [0, 0]


def test_scores_by_hand() -> None:
    """Two of three replaced tokens are found, one original is accused; a fourth is padding."""
    labels = np.array([[0, 1, 1, 0], [0, 0, 1, 0]])
    found = np.array([[-2.0, 3.0, -1.0, -2.0], [-3.0, 2.0, 1.0, 9.0]], "float32")
    output = SimpleNamespace(
        generator_logits=paddle.to_tensor(np.eye(5, dtype="float32")[[1, 2, 3, 3]]),
        generator_labels=paddle.to_tensor([1, 2, 4, -100]),
        logits=paddle.to_tensor(found),
        discriminator_labels=paddle.to_tensor(labels),
    )
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    given = Batch({"attention_mask": paddle.to_tensor(mask)}, np.arange(2))
    objective = ReplacedTokens(2.0, 10.0)
    sums = objective.score(lambda **inputs: output, given)
    loss, metrics = objective.summarize(sums)
    total = np.log(np.exp(1) + 4)  # of a row of the identity: log-sum-exp of 1, 0, 0, 0, 0
    generator = (2 * (total - 1) + total) / 3
    signs = np.where(labels == 1, found, -found)
    discriminator = (np.log1p(np.exp(-signs)) * mask).sum() / 7
    assert metrics == pytest.approx(
        {
            "discriminator acc": 5 / 7, "always original acc": 4 / 7, "replaced acc": 2 / 3,
            "generator acc": 2 / 3, "generator loss": generator,
            "discriminator loss": discriminator,
        }
    )  # fmt: skip
    assert loss == pytest.approx(2 * generator + 10 * discriminator)


def test_scores_are_the_same_every_time() -> None:
    model, objective = build(), ReplacedTokens(seed=8)
    first = objective.score(model, batch())
    paddle.seed(99)
    assert objective.score(model, batch()) == first
