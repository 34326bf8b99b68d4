"""Which rows are held out: about the share, whole articles or passages, each language its part."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.held_out import hold_out
from paddlenlp_ext.tasks.questions import read_questions
from paddlenlp_ext.tasks.token_labels import read_sentences


def rows_of(articles: int, passages: int, questions: int) -> list[tuple[str, str]]:
    """Questions in a random order."""
    rows = [
        (f"article {a}", f"passage {a}.{p}")
        for a in range(articles)
        for p in range(passages)
        for _ in range(questions)
    ]
    random.Random(1).shuffle(rows)
    return rows


@pytest.mark.parametrize(
    ("shape", "kept", "count"),
    [
        ((20, 3, 4), (True, True), 24),  # whole articles
        ((2, 10, 5), (False, True), 10),  # of which one would be half of all rows: whole passages
        ((1, 30, 2), (False, True), 6),
        ((2, 1, 50), (False, False), 10),  # the rows by themselves
    ],
)
def test_what_belongs_together_stays_together(shape, kept, count):
    rows = rows_of(*shape)
    chosen = hold_out(rows, 0.1, 5)
    assert chosen.sum() == count
    for level, is_kept in enumerate(kept):
        held, rest = (
            {row[level] for row, one in zip(rows, chosen, strict=True) if one == which}
            for which in (True, False)
        )
        assert (not held & rest) == is_kept
    assert (hold_out(rows, 0.1, 5) == chosen).all()
    assert (hold_out(rows, 0.1, 6) != chosen).any()


def test_every_language_has_its_part():
    languages = ["de"] * 40 + ["sw"] * 10 + ["yo"] * 3 + ["th"]
    chosen = hold_out([(str(n),) for n in range(54)], 0.1, 2, languages)
    counts = {code: sum(chosen[np.array(languages) == code]) for code in ("de", "sw", "yo", "th")}
    assert counts == {"de": 4, "sw": 1, "yo": 1, "th": 0}


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_no_part_is_empty(share):
    with pytest.raises(DataError, match=r"`validation_share` 0\.\d+: of 40 rows that is (0|40)"):
        hold_out(rows_of(2, 5, 4), share, 3)


def test_files_say_what_belongs_together(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(
        "-DOCSTART- O\n\na O\n\nb O\nc O\n\n-DOCSTART- O\n\nd O\n", encoding="utf-8"
    )
    word = "\t".join(["1", "a", "_", "X", *"______"])
    texts = ["# newdoc id = 1\n# sent_id = 1", "# sent_id = 2", "# newdoc id = 2"]
    (tmp_path / "b.conllu").write_text("".join(f"{text}\n{word}\n\n" for text in texts))
    (tmp_path / "c.conll").write_text("a O\n\nb O\n", encoding="utf-8")
    paths = [tmp_path / name for name in ("a.conll", "b.conllu", "c.conll")]
    of = [one.belongs_to for one in read_sentences(paths)[0]]
    assert [of.index(one) for one in of] == [0, 0, 2, 3, 3, 5, 6, 6]
    (tmp_path / "d.jsonl").write_text(
        '{"id": "1", "title": "T", "question": "q", "context": "c", "answers": []}\n'
        '{"id": "2", "title": "T", "question": "q", "context": "d", "answers": []}\n'
        '{"id": "3", "question": "q", "context": "c", "answers": []}\n'
    )
    one, other, third = (
        q.belongs_to for q in read_questions([tmp_path / "d.jsonl"], has_negatives=True)[0]
    )
    assert (one, other, third) == (("T", "c"), ("T", "d"), ("c", "c"))
    squad = Path(__file__).parents[2] / "data/qa/train.en.json"
    questions, _ = read_questions([squad], has_negatives=True)
    articles = {one.belongs_to[0] for one in questions}
    assert 1 < len(articles) <= len({one.context for one in questions}) < len(questions)
