"""Entities in sequences of tags, and their F1, as `conlleval` and seqeval count them.

Tags are `O` or a prefix and a type, "B-person": B begins an entity, I goes on; in BIOES, E ends one
and S is one alone. `conlleval`, of the CoNLL-2000 task, takes any sequence: an I without a B begins
an entity. The strict rules of seqeval take only what is written as the scheme has it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from paddlenlp_ext.metrics import ClassScores

TAG = re.compile(r"O|[BIES]-.+", re.DOTALL)
OUTSIDE = "O"

Scheme = Literal["BIO", "BIOES"]
WHOLE = {"BIO": "BI*", "BIOES": "S|BI*E"}  # prefixes of an entity

Entity = tuple[str, int, int]  # type, first word, last word


def find_entities(tags: Sequence[str], scheme: Scheme | None = None) -> list[Entity]:
    """Find the entities of a sentence.

    Args:
        tags: Of its words.
        scheme: What an entity must be to be one: "B I I" in BIO, "B I E" or "S" in BIOES, of one
            type. None takes all, by the rules of `conlleval`.
    """
    found, first = [], 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        before = tags[place - 1] if place else OUTSIDE
        if place and not _goes_on(before, tag):
            span = tags[first:place]
            if before != OUTSIDE and (scheme is None or _is_whole(span, scheme)):
                found.append((before[2:], first, place - 1))
            first = place
    return found


def _goes_on(before: str, tag: str) -> bool:
    """Whether a tag belongs to the entity of the tag before it."""
    return before[:2] in ("B-", "I-") and tag[:2] in ("I-", "E-") and before[2:] == tag[2:]


def _is_whole(span: Sequence[str], scheme: Scheme) -> bool:
    return re.fullmatch(WHOLE[scheme], "".join(tag[0] for tag in span)) is not None


def scheme_of(tags: Iterable[str]) -> Scheme | None:
    """Return what a set of tags is written in; None if they are no tags of entities."""
    found = {*tags}
    if not found - {OUTSIDE} or not all(map(TAG.fullmatch, found)):
        return None
    return "BIOES" if any(tag[:2] in ("E-", "S-") for tag in found) else "BIO"


def entity_scores(
    predicted: Iterable[Sequence[str]],
    gold: Iterable[Sequence[str]],
    scheme: Scheme | None = None,
) -> dict[str, ClassScores]:
    """Compute precision, recall and F1 of entities: right are those of the same words and type.

    Args:
        predicted: Tags of each sentence.
        gold: The right ones.
        scheme: See `find_entities`.

    Returns:
        The scores by type, of which the support is the number of gold entities; those of all types
        together by "". What is not defined is 0.
    """
    right, found, wanted = Counter[str](), Counter[str](), Counter[str]()
    for one, other in zip(predicted, gold, strict=True):
        mine, theirs = (set(find_entities(tags, scheme)) for tags in (one, other))
        for counter, entities in ((right, mine & theirs), (found, mine), (wanted, theirs)):
            counter.update(name for name, _, _ in entities)
            counter[""] += len(entities)
    names = sorted({"", *found, *wanted})
    return {name: _scores(right[name], found[name], wanted[name]) for name in names}


def tag_scores(
    predicted: Iterable[Sequence[str]], gold: Iterable[Sequence[str]]
) -> dict[str, ClassScores]:
    """Compute the scores of each tag of words, those that are only predicted among them.

    Args:
        predicted: Tags of each sentence.
        gold: The right ones.
    """
    pairs = Counter(
        pair
        for one, other in zip(predicted, gold, strict=True)
        for pair in zip(one, other, strict=True)
    )
    found, wanted = Counter[str](), Counter[str]()
    for (mine, theirs), count in pairs.items():
        found[mine] += count
        wanted[theirs] += count
    names = sorted({*found, *wanted})
    return {name: _scores(pairs[name, name], found[name], wanted[name]) for name in names}


def _scores(right: int, found: int, wanted: int) -> ClassScores:
    if not right:
        return ClassScores(0.0, 0.0, 0.0, wanted)
    return ClassScores(right / found, right / wanted, 2 * right / (found + wanted), wanted)
