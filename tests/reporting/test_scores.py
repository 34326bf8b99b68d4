"""How the models of a run are judged by its evaluations."""

from __future__ import annotations

import random
from typing import Any

import pytest

from paddlenlp_ext.reporting.scores import best, by_step, scores_of, spelled


def row(step: int, split: str, loss: float | None = 1.0, **metrics: float | None) -> dict[str, Any]:
    return {"step": step, "split": split, "loss": loss, "metrics": metrics}


@pytest.mark.parametrize(
    ("metric", "step"),
    [(None, 2), ("acc", 2), ("mse", 1), ("loss", 3), ("perplexity", 4), ("f1", None)],
)
def test_less_of_an_error_is_better(metric, step):
    rows = [
        row(1, "dev", 0.5, acc=0.1, mse=0.1, perplexity=9.0),
        row(2, "dev", 0.4, acc=0.9, mse=0.8, perplexity=8.0),
        row(3, "dev", 0.1, acc=0.8, mse=0.7, perplexity=7.0),
        row(4, "dev", 0.3, acc=0.9, mse=0.2, perplexity=2.0),
    ]
    assert best(scores_of(by_step(rows), metric)) == step


def test_steps_without_all_splits_or_with_what_is_not_finite_have_no_score():
    rows = [
        *(row(1, "a", acc=0.5), row(1, "b", acc=0.7)),
        *(row(2, "a", acc=0.9), row(2, "b", loss=None, acc=0.9)),
        *(row(3, "a", acc=0.9), row(3, "b", acc=0.9, f1=None)),
        row(4, "a", acc=0.9),
    ]
    assert scores_of(by_step(rows)) == {1: 0.6}
    assert [*by_step(rows, 1)] == [4]
    assert by_step([]) == scores_of({}) == {}
    assert best({}) is None


def test_splits_in_another_order_make_no_difference():
    choose = random.Random(3)
    for _ in range(300):
        values = [choose.random() for _ in range(15)]
        rows = [row(1, str(n), acc=value) for n, value in enumerate(values)]
        choose.shuffle(values)
        rows += [row(2, str(n), acc=value) for n, value in enumerate(values)]
        assert best(scores_of(by_step(rows))) == 1, "the first of equal ones"


def test_a_metric_is_called_as_transformers_calls_it_too():
    assert spelled("eval_acc_and_f1") == spelled("eval acc and f1") == "acc and f1"
