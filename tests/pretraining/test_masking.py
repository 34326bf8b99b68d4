"""What is masked, how often, and what never."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_ext.pretraining.masking import (
    NO_WORD,
    MaskingVocabulary,
    choose,
    dynamic_masking,
    hide,
    mask_tokens,
    word_numbers,
)
from tests.pretraining.words import CLS, MASK, PAD, SEP, UNK, tokenizer

V = 365


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory) -> MaskingVocabulary:
    return MaskingVocabulary.of(tokenizer(tmp_path_factory.mktemp("vocabulary")))


def rows(count: int, length: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of words and pieces, with special tokens in between and padding at the end."""
    random = np.random.default_rng(seed)
    ids = random.integers(5, V, (count, length)).astype(np.int32)
    lengths = random.integers(4, length + 1, count)
    ids[random.random(ids.shape) < 0.03] = UNK
    ids[:, 0] = CLS
    ids[np.arange(count), lengths // 2] = SEP
    ids[np.arange(count), lengths - 1] = SEP
    ids[np.arange(length) >= lengths[:, None]] = PAD
    return ids, lengths


def bounds(share: float, count: int, deviations: float = 4.5) -> tuple[float, float]:
    """Where a share of so many independent draws lies, all but once in 150,000 times."""
    spread = deviations * np.sqrt(share * (1 - share) / count)
    return share - spread, share + spread


def test_statistics_of_100_000_sequences(vocabulary):
    """15 % of the tokens; of these 80 % masked, 10 % random, 10 % kept; never a special token."""
    ids, lengths = rows(100_000, 41)
    hidden, chosen = mask_tokens(
        ids, lengths, vocabulary, np.random.RandomState(7), probability=0.15, max_predictions=20
    )
    assert not chosen[np.isin(ids, [PAD, UNK, CLS, SEP, MASK])].any()
    np.testing.assert_array_equal(hidden[~chosen], ids[~chosen])
    wanted = np.clip(np.rint(lengths * 0.15), 1, 20)
    ordinary = (ids >= 5).sum(1)
    np.testing.assert_array_equal(chosen.sum(1), np.minimum(wanted, ordinary))
    count = int(chosen.sum())
    assert abs(count / lengths.sum() - 0.15) < 0.001
    became, was = hidden[chosen], ids[chosen]
    kept_by_chance = 0.1 / (V - 5)
    for share, found in (
        (0.8, became == MASK),
        (0.1 + kept_by_chance, became == was),
        (0.1 - kept_by_chance, (became != MASK) & (became != was)),
    ):
        low, high = bounds(share, count)
        assert low < found.mean() < high
    assert not np.isin(became, [PAD, UNK, CLS, SEP]).any()
    # Every place of a full sequence is chosen equally often.
    full = lengths == 41
    places = chosen[full][:, 1:20].sum(0) / (ids[full][:, 1:20] >= 5).sum(0)
    assert places.std() / places.mean() < 0.1
    # All ordinary tokens are replacements, equally often.
    drawn = np.bincount(became[(became != MASK) & (became != was)], minlength=V)[5:]
    assert abs(drawn / drawn.mean() - 1).max() < 6 / np.sqrt(drawn.mean())


def test_whole_words_are_masked_whole(vocabulary):
    ids, lengths = rows(20_000, 37)
    _, chosen = mask_tokens(
        ids,
        lengths,
        vocabulary,
        np.random.RandomState(8),
        probability=0.15,
        max_predictions=4,
        continues=vocabulary.continues[ids],
    )
    assert chosen.sum(1).max() == 4
    assert not chosen[np.isin(ids, [PAD, UNK, CLS, SEP, MASK])].any()
    continues = vocabulary.continues[ids]
    inside = continues[:, 1:] & (ids[:, :-1] >= 5)
    np.testing.assert_array_equal(chosen[:, 1:][inside], chosen[:, :-1][inside])
    # There are words of several tokens, and some are chosen.
    assert (chosen[:, 1:] & inside).sum() > 5000
    assert chosen.sum() / lengths.sum() > 0.1


def test_word_numbers():
    closed = np.array([[1, 0, 0, 0, 1, 0, 0, 1]], bool)
    continues = np.array([[0, 0, 1, 0, 0, 1, 1, 0]], bool)
    expected = [[NO_WORD, 0, 0, 1, NO_WORD, 2, 2, NO_WORD]]
    np.testing.assert_array_equal(word_numbers(closed, continues), expected)


def test_a_word_that_does_not_fit_is_passed_over():
    words = np.array([[NO_WORD, 0, 0, 0, 1, 2, NO_WORD]] * 200)
    chosen = choose(words, np.full(200, 2), np.random.RandomState(1))
    np.testing.assert_array_equal(chosen, np.array([[0, 0, 0, 0, 1, 1, 0]] * 200, bool))


def test_nothing_to_choose():
    words = np.array([[NO_WORD] * 4, [NO_WORD, 0, NO_WORD, NO_WORD]])
    chosen = choose(words, np.array([3, 3]), np.random.RandomState(1))
    np.testing.assert_array_equal(chosen, [[0, 0, 0, 0], [0, 1, 0, 0]])
    assert choose(np.zeros((0, 5), np.int64), np.zeros(0, np.int64), np.random).shape == (0, 5)


def test_the_same_seed_hides_the_same(vocabulary):
    ids, _ = rows(50, 19)
    chosen = ids >= 100
    one, two, other = (
        hide(ids, chosen, vocabulary, np.random.RandomState(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_replacements_are_drawn_among_the_words_that_are_given(vocabulary):
    ids, _ = rows(2_000, 41)
    words = np.array([CLS, UNK, 20, 33, 41])
    chosen = ids >= 5
    hidden = hide(ids, chosen, vocabulary.among(words), np.random.RandomState(1))
    again, _ = dynamic_masking(
        ids, np.arange(2_000), vocabulary.among(words), probability=0.3, seed=1, epoch=0
    )
    for found in (hidden, again):
        assert {*found[found != ids]} == {MASK, 20, 33, 41}
    _, plainly = dynamic_masking(
        ids, np.arange(2_000), vocabulary, probability=0.3, seed=1, epoch=0
    )
    assert ((again != ids) <= plainly).all()  # the choice is that of the whole vocabulary
