"""Scores of answers beside transformers' copy of SQuAD's official script."""

from __future__ import annotations

import random

import pytest

from paddlenlp_ext.tasks.answers import squad_scores

pytestmark = pytest.mark.parity
WORDS = ["the", "a", "An", "Denver", "broncos", "3.5", "%", "été", "“x”", "U.S.", "-", "in", "北京"]


def test_scores_are_those_of_the_official_script():
    squad_metrics = pytest.importorskip("transformers.data.metrics.squad_metrics")
    squad_processor = pytest.importorskip("transformers.data.processors.squad")
    draw = random.Random(5)

    def text(least: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, 4)))

    gold, examples, found = {}, [], {}
    for number in range(800):
        name, answers = str(number), [text(1) for _ in range(draw.randint(0, 3))]
        gold[name], found[name] = answers, text(0)
        example = squad_processor.SquadExample(
            name, "q", "c", None, None, "t",
            answers=[{"text": one} for one in answers], is_impossible=not answers,
        )  # fmt: skip
        examples.append(example)
    expected = squad_metrics.squad_evaluate(examples, found)
    scores = squad_scores(found, gold, has_negatives=True)
    for ours, theirs in (("", ""), ("HasAns_", "HasAns_"), ("NoAns_", "NoAns_")):
        assert 100 * scores[f"{ours}f1"] == pytest.approx(expected[f"{theirs}f1"])
        assert 100 * scores[f"{ours}exact_match"] == pytest.approx(expected[f"{theirs}exact"])
