"""Who may see whom in each objective, over several layers; what pseudo-tokens are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.ernie_m import ErnieMConfig, ErnieMForMaskedLM
from paddlenlp_ext.pretraining.language_words import LanguageWords
from paddlenlp_ext.pretraining.masking import MaskingVocabulary
from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training.cross_lingual import (
    BackTranslated,
    CrossLingualPrediction,
    CrossMasked,
    MaskedSentences,
)

V, CLS, PAD, SEP, UNK, MASK = 61, 0, 1, 2, 3, 60
SPECIAL = [CLS, PAD, SEP, UNK, MASK]
SEED = 11


def vocabulary() -> MaskingVocabulary:
    special = np.zeros(V, bool)
    special[SPECIAL] = True
    return MaskingVocabulary(MASK, special, np.zeros(V, bool))


def masks(**changes: Any) -> MaskedSentences:
    return MaskedSentences(vocabulary(), PAD, **{"probability": 0.3, "seed": SEED} | changes)


def rows_of(*pairs: tuple[int, int], seed: int = 3, width: int = 23) -> Rows:
    """Rows with so many tokens in each sentence; 0 in the second: there is none."""
    random = np.random.RandomState(seed)
    columns: dict[str, Any] = {
        "input_ids": np.zeros((len(pairs), width), np.int32),
        "length": np.zeros(len(pairs), np.int32),
        "first_length": np.array([first + 2 for first, _ in pairs], np.int32),
        "continues": np.zeros((len(pairs), width), np.uint8),
        "language": np.zeros(len(pairs), np.int32),
        "second_language": np.array([1 if second else -1 for _, second in pairs], np.int32),
    }
    for row, (first, second) in enumerate(pairs):
        one, two = random.randint(4, 32, first), random.randint(32, 60, second)
        ids = [CLS, *one, SEP, *([SEP, *two, SEP] if second else [])]
        columns["input_ids"][row, : len(ids)] = ids
        columns["length"][row] = len(ids)
    return Rows(np.arange(7, 7 + len(pairs)), columns)


def model(seed: int = 5, layers: int = 3, dropout: float = 0.0) -> ErnieMForMaskedLM:
    paddle.seed(seed)
    net = ErnieMForMaskedLM(
        ErnieMConfig(
            vocab_size=V,
            hidden_size=24,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=37,
            max_position_embeddings=42,
            initializer_range=0.3,  # so that what is seen shows
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )
    net.eval()
    return net


def words() -> LanguageWords:
    ids = np.zeros((3, V), bool)
    ids[0, 4:32], ids[1, 32:45], ids[2, 45:60] = True, True, True
    ids[:, SPECIAL] = True
    partners = np.zeros((3, 3), bool)
    partners[0, 1] = partners[1, 0] = True
    return LanguageWords(ids, partners)


def back_translated(share: float = 0.5, **changes: Any) -> BackTranslated:
    return BackTranslated(masks(**changes), words(), SEP, share, 40)


def prediction(*, samples: bool) -> CrossLingualPrediction:
    return CrossLingualPrediction(words().ids & ~vocabulary().special, samples=samples)


def batch_of(make: Any, rows: Rows, epoch: int = 0) -> Batch:
    return Batch(make(rows, epoch), rows.numbers)


def logits_of(net: ErnieMForMaskedLM, batch: Batch) -> np.ndarray:
    with paddle.no_grad():
        return CrossLingualPrediction()._logits(net, batch).numpy()


def changed(batch: Batch, row: int, place: int) -> Batch:
    """The batch with another word in one place."""
    ids = batch["input_ids"].numpy().copy()
    ids[row, place] = 4 + (int(ids[row, place]) - 4 + 11) % 56
    return Batch({**batch, "input_ids": paddle.to_tensor(ids)}, batch.rows)


@pytest.mark.parametrize("objective", ["tlm", "camlm"])
@pytest.mark.parametrize("continues", [False, True])
def test_what_masked_tokens_of_a_pair_see(objective: str, continues: bool) -> None:
    """Of every token of a row, whether each masked one depends on it, through three layers."""
    net, rows = model(), rows_of((6, 7), (4, 9))
    own = masks(continue_positions=continues)
    batch = batch_of(own if objective == "tlm" else CrossMasked(own), rows)
    places = batch["masked_positions"].numpy()[batch["labels"].numpy() != IGNORED]
    length = batch["input_ids"].shape[1]
    before = logits_of(net, batch)
    firsts = rows.columns["first_length"]
    checked = {"own": 0, "other": 0, "hidden": 0}
    for row in range(2):
        for at in range(1, int(rows.columns["length"][row])):
            after = logits_of(net, changed(batch, row, at))
            for number, place in enumerate(places):
                if place == row * length + at or place // length != row:
                    continue
                depends = not np.array_equal(before[number], after[number])
                is_own = (place % length < firsts[row]) == (at < firsts[row])
                is_hidden = row * length + at in places
                if objective == "tlm":
                    assert depends
                elif is_own or is_hidden:
                    assert not depends
                else:
                    assert depends
                checked["hidden" if is_hidden else "own" if is_own else "other"] += 1
    assert min(checked.values()) > 10


def test_camlm_hides_every_chosen_token_and_nothing_of_other_rows_or_padding_counts() -> None:
    rows = rows_of((6, 7), (3, 2))
    for epoch in range(5):
        batch = batch_of(CrossMasked(masks()), rows, epoch)
        ids, count = batch["input_ids"].numpy(), int((batch["labels"].numpy() != IGNORED).sum())
        places, labels = batch["masked_positions"].numpy()[:count], batch["labels"].numpy()[:count]
        assert (ids.reshape(-1)[places] == MASK).all()
        assert (ids == MASK).sum() == count
        stood = rows.columns["input_ids"][:, : ids.shape[1]].reshape(-1)[places]
        np.testing.assert_array_equal(stood, labels)
    # A shorter row alone gives the logits that it has beside a longer one.
    alone = rows.take(slice(1, 2))
    net, short = model(), batch_of(CrossMasked(masks()), alone, 2)
    both = batch_of(CrossMasked(masks()), rows, 2)
    of_row = both["masked_positions"].numpy() // both["input_ids"].shape[1] == 1
    real = both["labels"].numpy() != IGNORED
    np.testing.assert_allclose(
        logits_of(net, both)[of_row & real],
        logits_of(net, short)[short["labels"].numpy() != IGNORED],
        atol=1e-5,
    )


def test_positions_begin_again_or_go_on() -> None:
    rows = rows_of((3, 2), (2, 0))
    found = batch_of(masks(), rows)["position_ids"].numpy()
    np.testing.assert_array_equal(found[0], [0, 1, 2, 3, 4, 0, 1, 2, 3])
    np.testing.assert_array_equal(found[1][:4], [0, 1, 2, 3])
    one_separator = rows_of((3, 2))
    ids = one_separator.columns["input_ids"]
    ids[0, 5:8], one_separator.columns["length"][0] = [*ids[0, 6:8], SEP], 8  # as RemBERT's
    found = batch_of(masks(token_types=True, opening=0), one_separator)
    np.testing.assert_array_equal(found["position_ids"].numpy()[0], [0, 1, 2, 3, 4, 1, 2, 3])
    np.testing.assert_array_equal(found["token_type_ids"].numpy()[0], [0] * 5 + [1] * 3)
    found = batch_of(masks(continue_positions=True), rows)["position_ids"].numpy()
    np.testing.assert_array_equal(found, [[*range(9)]] * 2)


def test_masks_follow_from_seed_epoch_and_row() -> None:
    rows = rows_of((6, 0), (9, 0), (8, 0))
    together = batch_of(back_translated(), rows, 4)
    for number in range(3):
        alone = batch_of(back_translated(), rows.take(slice(number, number + 1)), 4)
        length = alone["input_ids"].shape[1]
        for name in ("input_ids", "source_ids", "position_ids", "attention_mask"):
            np.testing.assert_array_equal(
                together[name].numpy()[number, :length], alone[name].numpy()[0]
            )
    other = batch_of(back_translated(), rows, 5)
    assert not np.array_equal(together["draws"].numpy(), other["draws"].numpy())


@pytest.mark.parametrize("continues", [False, True])
def test_pseudo_tokens_stand_in_positions_of_the_sentence(continues: bool) -> None:
    rows = rows_of((6, 0), (9, 0))
    batch = batch_of(back_translated(continue_positions=continues), rows)
    length = batch["input_ids"].shape[1]
    places = batch["placeholders"].numpy()
    assert [*np.bincount(places // length)] == [3, 4]  # half of the tokens
    assert batch["target_languages"].tolist() == [1] * 7  # the only one that has pairs with 0
    positions = batch["position_ids"].numpy().reshape(-1)[places]
    for row, words_of_row in ((0, 6), (1, 9)):
        own = positions[places // length == row] - (words_of_row + 2) * continues
        assert len({*own}) == len(own)
        assert own.min() >= 1
        assert own.max() <= words_of_row
    ids, mask = batch["source_ids"].numpy(), batch["attention_mask"].numpy()
    np.testing.assert_array_equal(ids[0, :8], rows.columns["input_ids"][0, :8])
    np.testing.assert_array_equal(ids[0, 8:13], [SEP, MASK, MASK, MASK, SEP])
    assert mask.sum(1).tolist() == [13, 17]
    counted = batch["labels"].numpy() != IGNORED
    assert not {*batch["masked_positions"].numpy()[counted].tolist()} & {*places.tolist()}


def test_pseudo_tokens_are_what_camlm_predicts() -> None:
    """Each is the most probable word of its language, where it sees the sentence and itself."""
    net, rows = model(), rows_of((6, 0), (9, 0), (5, 0))
    batch = batch_of(back_translated(1.0), rows)
    found = prediction(samples=False).pseudo_tokens(net, batch).numpy()
    length = batch["source_ids"].shape[1]
    for number, place in enumerate(batch["placeholders"].tolist()):
        row, at = divmod(place, length)
        end = int(rows.columns["length"][row])
        # By a model that is given nothing but the sentence, and one placeholder that sees it.
        ids = [*batch["source_ids"].numpy()[row, :end].tolist(), MASK]
        sees = np.ones((1, end + 1, end + 1), np.int64)
        sees[0, :end, end] = 0
        positions = [*range(end), int(batch["position_ids"].numpy()[row, at])]
        with paddle.no_grad():
            scores = net(
                paddle.to_tensor([ids]), paddle.to_tensor([positions]), paddle.to_tensor(sees)
            ).logits.numpy()[0, end]
        assert found[number] == 32 + scores[32:45].argmax()


def test_samples_follow_the_distribution() -> None:
    net, rows = model(layers=1), rows_of((3, 0))
    batch = batch_of(back_translated(0.2), rows)
    assert batch["placeholders"].size == 1
    objective = prediction(samples=True)
    draws = (np.arange(4000) + 0.5) / 4000
    many = Batch(
        {**batch, "placeholders": paddle.tile(batch["placeholders"], [4000]),
         "target_languages": paddle.tile(batch["target_languages"], [4000]),
         "draws": paddle.to_tensor(draws.astype("float32"))},
        batch.rows,
    )  # fmt: skip
    found = np.bincount(objective.pseudo_tokens(net, many).numpy(), minlength=V) / 4000
    inputs = {name: batch[name] for name in ("position_ids", "placeholders")}
    scores = net.run(
        input_ids=batch["source_ids"],
        attention_mask=batch["source_mask"],
        position_ids=inputs["position_ids"],
        masked_positions=inputs["placeholders"],
    ).logits.numpy()[0]
    expected = np.zeros(V)
    expected[32:45] = np.exp(scores[32:45] - scores[32:45].max())
    np.testing.assert_allclose(found, expected / expected.sum(), atol=5e-4)


def test_no_gradient_goes_through_pseudo_tokens() -> None:
    """The gradient is that of predicting beside the same tokens, given; without dropout, too."""
    net, rows = model(dropout=0.3), rows_of((6, 0), (9, 0))
    batch, objective = batch_of(back_translated(), rows), prediction(samples=True)
    tokens = objective.pseudo_tokens(net, batch)
    assert tokens.stop_gradient
    assert not net.training
    ids = batch["input_ids"].numpy().reshape(-1)
    ids[batch["placeholders"].numpy()] = tokens.numpy()
    given = {name: tensor for name, tensor in batch.items() if name != "placeholders"}
    given["input_ids"] = paddle.to_tensor(ids.reshape(batch["input_ids"].shape))
    gradients = []
    for one in (batch, Batch(given, rows.numbers)):
        net.train()
        paddle.seed(3)
        objective.losses(net, one)[0].sum().backward()
        assert net.training
        gradients.append({name: p.grad.numpy() for name, p in net.named_parameters()})
        net.clear_gradients()
    for name, gradient in gradients[0].items():
        np.testing.assert_array_equal(gradient, gradients[1][name])
    assert abs(gradients[0]["backbone.embeddings.word_embeddings.weight"]).max() > 0
    # The pseudo-tokens are seen: others give other losses.
    other = {**given, "input_ids": paddle.to_tensor(batch["input_ids"].numpy())}
    net.eval()
    losses = [objective.losses(net, Batch(one, rows.numbers))[0].numpy() for one in (given, other)]
    assert (abs(losses[0] - losses[1]) > 1e-4).all()


def test_a_language_without_pairs_is_translated_to_any_other() -> None:
    assert words().targets_of(2).tolist() == [0, 1]
    assert words().targets_of(1).tolist() == [0]
    alone = LanguageWords(words().ids[:1], np.zeros((1, 1), bool))
    with pytest.raises(DataError, match="`objectives` btmlm: the shards are of one language"):
        alone.targets_of(0)


@pytest.mark.parametrize("make", [masks(), CrossMasked(masks()), back_translated()])
def test_no_rows_and_the_rounding_of_lengths(make: Any) -> None:
    rows = rows_of((6, 0), (5, 0))
    none = batch_of(make, rows.take(slice(0, 0)))
    assert none["input_ids"].shape[0] == 0
    assert prediction(samples=True).count(none) == [0]
    rounded = masks(pad_to_multiple_of=8)
    made = {CrossMasked: CrossMasked(rounded), BackTranslated: back_translated(
        pad_to_multiple_of=8)}.get(type(make), rounded)  # fmt: skip
    batch, tight = batch_of(made, rows), batch_of(make, rows)
    assert batch["input_ids"].shape[1] % 8 == 0
    net, objective = model(), prediction(samples=False)
    counts = [
        one.count(net_batch)[0] for one, net_batch in [(objective, batch), (objective, tight)]
    ]
    assert counts[0] == counts[1]
    sums = [float(objective.losses(net, one)[0].sum()) for one in (batch, tight)]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-5)
