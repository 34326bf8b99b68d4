"""Entities and their F1: the cases that seqeval publishes, and the rules of `conlleval`."""

from __future__ import annotations

import random
from itertools import chain

import pytest

from paddlenlp_ext.tasks.entities import entity_scores, find_entities, scheme_of, tag_scores

# seqeval's README.
GOLD = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
FOUND = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]


def test_the_scores_of_seqevals_readme():
    scores = entity_scores(FOUND, GOLD)
    assert scores[""]._asdict() == {"f1": 0.5, "precision": 0.5, "recall": 0.5, "support": 2}
    assert scores["MISC"] == (0.0, 0.0, 0.0, 1)
    assert scores["PER"] == (1.0, 1.0, 1.0, 1)


def test_scores_of_tags_are_scikit_learns():
    from sklearn.metrics import precision_recall_fscore_support

    draw = random.Random(7)
    gold, found = (
        [[draw.choice(tags) for _ in range(9)] for _ in range(5)] for tags in ["XYZ", "XYW"]
    )
    scores = tag_scores(found, gold)
    assert [*scores] == ["W", "X", "Y", "Z"]
    columns = precision_recall_fscore_support(
        [*chain(*gold)], [*chain(*found)], labels=[*scores], zero_division=0.0
    )
    for one, row in zip(scores.values(), zip(*columns, strict=True), strict=True):
        assert one == pytest.approx(row)


def test_strict_mode_of_seqevals_readme():
    gold, found = [["B-NP", "I-NP", "O"]], [["I-NP", "I-NP", "O"]]
    assert entity_scores(found, gold)["NP"].f1 == 1.0
    assert entity_scores(found, gold, "BIO")["NP"].f1 == 0.0


@pytest.mark.parametrize(
    ("tags", "scheme", "entities"),
    [
        ("B-PER I-PER O B-LOC", None, [("PER", 0, 1), ("LOC", 3, 3)]),
        ("I-PER I-LOC", None, [("PER", 0, 0), ("LOC", 1, 1)]),
        ("I-PER I-LOC", "BIO", []),
        ("B-PER I-LOC I-PER", "BIO", [("PER", 0, 0)]),
        ("B-PER B-PER", "BIO", [("PER", 0, 0), ("PER", 1, 1)]),
        ("B-PER I-PER E-PER S-LOC", "BIOES", [("PER", 0, 2), ("LOC", 3, 3)]),
        ("B-PER I-PER O E-LOC", "BIOES", []),
        ("B-PER I-PER O E-LOC", None, [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER E-PER E-PER", "BIOES", [("PER", 0, 1)]),
        ("B-PER B-PER E-PER", "BIOES", [("PER", 1, 2)]),
        ("S-PER I-PER", None, [("PER", 0, 0), ("PER", 1, 1)]),
        ("B-a-b I-a-b", None, [("a-b", 0, 1)]),
        ("", None, []),
    ],
)
def test_what_is_an_entity(tags, scheme, entities):
    assert find_entities(tags.split(), scheme) == entities


def conlleval(tags):
    """The rules as the script of the CoNLL-2000 task and seqeval's default mode write them."""
    found, begin = [], 0
    before, kind = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        changed = kind != name
        ends = before in "ES" or (before in "BI" and prefix in "BSO")
        if before != "O" and (ends or changed):
            found.append((kind, begin, place - 1))
        starts = prefix in "BS" or (before in "ESO" and prefix in "EI")
        if prefix != "O" and (starts or changed):
            begin = place
        before, kind = prefix, name
    return found


def test_any_sequence_is_read_as_conlleval_reads_it():
    tags = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in ("x", "y"))]
    draw = random.Random(3)
    for _ in range(3000):
        sentence = draw.choices(tags, k=draw.randint(1, 8))
        assert find_entities(sentence) == conlleval(sentence), sentence


def test_schemes():
    assert scheme_of(["O", "B-x", "I-x"]) == "BIO"
    assert scheme_of(["O", "S-x"]) == "BIOES"
    assert scheme_of(["NOUN", "X"]) is None
    assert scheme_of(["O"]) is None
