"""Cut documents into the texts that BERT is pretrained on: pairs of passages, or single ones.

The algorithm is that of google-research/bert, create_pretraining_data.py, with one repair: a pair
is shortened to its own target length, where the original lets one that was to be short grow long.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

Tokens = Sequence[int]  # each is known by its place in the corpus, or by its id
TokenDocument = Sequence[Tokens]  # sentences, none of them empty

TRIES = 10  # to draw another document than the own one


class Pair(NamedTuple):
    """A text, and what follows it.

    Attributes:
        first: Tokens.
        second: Tokens; none in a single text.
        is_random: Whether the second comes from another document.
    """

    first: Tokens
    second: Tokens
    is_random: bool


def sentence_pairs(
    documents: Sequence[TokenDocument],
    number: int,
    max_tokens: int,
    short_probability: float,
    random: np.random.RandomState,
) -> Iterator[Pair]:
    """Cut a document into pairs: half of the second passages follow, the others are random.

    A passage that ends a document and is a single sentence has nothing to follow it, so its second
    passage is always random.

    Args:
        documents: Random passages come from them.
        number: Of the document.
        max_tokens: Most tokens of a pair.
        short_probability: Of a pair to be shorter, by any length.
        random: Source of all choices.
    """
    document = documents[number]
    at = 0
    while at < len(document):
        target = _target_length(max_tokens, short_probability, random)
        chunk, at = _chunk(document, at, target)
        cut = 1 if len(chunk) == 1 else int(random.randint(1, len(chunk)))
        first = _joined(chunk[:cut])
        is_random = len(chunk) == 1 or random.random_sample() < 0.5
        if is_random:
            second = _random_passage(documents, number, target - len(first), random)
            at -= len(chunk) - cut  # what was not used comes next
        else:
            second = _joined(chunk[cut:])
        yield Pair(*_shortened(first, second, target, random), is_random)


def passages(
    document: TokenDocument,
    max_tokens: int,
    short_probability: float,
    random: np.random.RandomState,
) -> Iterator[Pair]:
    """Cut a document into single texts of consecutive sentences; arguments as `sentence_pairs`."""
    at = 0
    while at < len(document):
        target = _target_length(max_tokens, short_probability, random)
        chunk, at = _chunk(document, at, target)
        yield Pair(*_shortened(_joined(chunk), [], target, random), False)


def _target_length(max_tokens: int, short_probability: float, random: np.random.RandomState) -> int:
    if random.random_sample() < short_probability:
        return int(random.randint(2, max_tokens + 1))
    return max_tokens


def _chunk(document: TokenDocument, at: int, target: int) -> tuple[Sequence[Tokens], int]:
    """Take sentences from `at` on until they have `target` tokens; say where the next begins."""
    end, length = at, 0
    while end < len(document) and length < target:
        length += len(document[end])
        end += 1
    return document[at:end], end


def _random_passage(
    documents: Sequence[TokenDocument], number: int, target: int, random: np.random.RandomState
) -> Tokens:
    for _ in range(TRIES):
        other = int(random.randint(0, len(documents)))
        if other != number:
            break
    else:
        other = (number + 1) % len(documents)
    start = int(random.randint(0, len(documents[other])))
    # At least one sentence, also when the first passage alone is longer than the target.
    return _joined(_chunk(documents[other], start, max(1, target))[0])


def _shortened(
    first: Tokens, second: Tokens, length: int, random: np.random.RandomState
) -> tuple[Tokens, Tokens]:
    """Take tokens off the longer text, each from its front or its back, until both are `length`."""
    excess = max(0, len(first) + len(second) - length)
    # Until the two are equally long only the longer loses; then they take turns, the second first.
    gap = len(first) - len(second)
    from_longer = min(excess, abs(gap))
    shared = excess - from_longer
    from_first = (from_longer if gap > 0 else 0) + shared // 2
    from_second = excess - from_first
    return _trimmed(first, from_first, random), _trimmed(second, from_second, random)


def _trimmed(tokens: Tokens, excess: int, random: np.random.RandomState) -> Tokens:
    front = int(random.binomial(excess, 0.5)) if excess else 0
    return tokens[front : len(tokens) - (excess - front)]


def divided(sentence: Tokens, longest: int) -> Iterator[Tokens]:
    """Cut a sentence into parts of `longest` tokens, the last of which may have fewer."""
    return (sentence[at : at + longest] for at in range(0, len(sentence), longest))


def _joined(sentences: Sequence[Tokens]) -> Tokens:
    return [token for sentence in sentences for token in sentence]
