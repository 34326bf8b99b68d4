"""Pairs are made as Google's algorithm makes them."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_ext.pretraining.pairs import Pair, passages, sentence_pairs

# Token = document * 10,000 + sentence * 100 + place: every token shows where it comes from.
LENGTHS = np.random.default_rng(2).integers(1, 14, (40, 25))


def document(number: int) -> list[list[int]]:
    return [
        [number * 10_000 + sentence * 100 + place for place in range(length)]
        for sentence, length in enumerate(LENGTHS[number])
    ]


DOCUMENTS = [document(number) for number in range(len(LENGTHS))]
LAST = LENGTHS.shape[1] - 1


def pairs(max_tokens: int = 37, short: float = 0.1, seed: int = 4, rounds: int = 1) -> list[Pair]:
    random = np.random.RandomState(seed)
    return [
        pair
        for _ in range(rounds)
        for number in range(len(DOCUMENTS))
        for pair in sentence_pairs(DOCUMENTS, number, max_tokens, short, random)
    ]


def is_running_text(tokens: list[int]) -> bool:
    """Whether tokens stand in a document as they stand here."""
    text = [token for sentence in DOCUMENTS[tokens[0] // 10_000] for token in sentence]
    start = text.index(tokens[0])
    return text[start : start + len(tokens)] == tokens


def test_texts_are_passages_and_labels_are_true():
    for first, second, is_random in pairs(rounds=3):
        assert is_running_text(first)
        assert is_running_text(second)
        assert (first[0] // 10_000 != second[0] // 10_000) == is_random
        assert 2 <= len(first) + len(second) <= 37
        if not is_random:
            assert first[-1] // 100 < second[0] // 100  # not the same sentence, and in order


def test_half_of_the_second_texts_are_random():
    """All but those of a document's last sentence alone, which nothing follows."""
    free = [
        is_random
        for first, _, is_random in pairs(rounds=100)
        if not any(token // 100 % 100 == LAST for token in first)
    ]
    assert len(free) > 20_000
    assert abs(np.mean(free) - 0.5) < 4.5 * 0.5 / np.sqrt(len(free))


def test_what_a_random_pair_did_not_use_comes_next():
    """No sentence of a document is left out of the first and following texts, but by shortening."""
    random = np.random.RandomState(3)
    for number in range(len(DOCUMENTS)):
        used = set()
        for first, second, _ in sentence_pairs(DOCUMENTS, number, 1000, 0.0, random):
            own = [token for token in first + second if token // 10_000 == number]
            used.update(own)
        assert used == {token for sentence in DOCUMENTS[number] for token in sentence}


def test_a_short_pair_is_short():
    """The original shortens to the greatest length whatever the target was (PaddleNLP #4904)."""
    lengths = np.array([len(first) + len(second) for first, second, _ in pairs(60, 1.0, rounds=5)])
    # Targets are uniform from 2 to 60.
    assert abs(lengths.mean() - 31) < 2
    assert (lengths < 10).mean() > 0.1


def test_both_ends_are_shortened_and_the_longer_text_more():
    first = [tokens for pair in pairs(20, 0.0, rounds=3) for tokens in pair[:2]]
    starts_inside = np.mean([tokens[0] % 100 > 0 for tokens in first])
    assert 0.2 < starts_inside < 0.7
    long, short = list(range(100, 130)), [0, 1, 2]
    (pair,) = sentence_pairs([[short, long], [long]], 0, 12, 0.0, np.random.RandomState(0))
    assert sorted(map(len, pair[:2])) == [3, 9]


@pytest.mark.parametrize("max_tokens", [5, 41, 4000])
def test_single_texts_are_the_document_in_turn(max_tokens):
    random = np.random.RandomState(3)
    found = list(passages(DOCUMENTS[1], max_tokens, 0.0, random))
    assert all(second == [] and not is_random for _, second, is_random in found)
    assert all(is_running_text(first) and len(first) <= max_tokens for first, _, _ in found)
    starts = [first[0] // 100 for first, _, _ in found]
    assert starts == sorted(starts)
    if max_tokens == 4000:
        assert len(found) == 1
