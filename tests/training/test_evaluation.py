"""Evaluation on any number of processes is that of one, to the bit."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from paddlenlp_ext.metrics import IGNORED, accuracy_and_f1, pearson_and_spearman
from paddlenlp_ext.models.outputs import QuestionAnsweringOutput
from paddlenlp_ext.tasks.batches import EvaluationOrder, Loader, collate
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.finetune import evaluate, predict
from paddlenlp_ext.training.losses import cross_entropy, logits_of, span_loss, squared_error
from tests.training.tiny_run import Output


class Lookup(nn.Layer):
    """Logits that depend on a row's first token alone, to the bit, whatever the batch is."""

    def __init__(self, width: int):
        super().__init__()
        self.table = nn.Embedding(60, width)

    def forward(self, input_ids, attention_mask):
        return Output(self.table(input_ids[:, 0]))


def rows(labels: list[Any]) -> list[Features]:
    return [Features(np.array([k + 1, 7], np.int32), None, label) for k, label in enumerate(labels)]


class Ranks:
    """Processes played by threads, which bring their numbers together in this one."""

    def __init__(self, size: int, monkeypatch: pytest.MonkeyPatch):
        self.size = size
        self.own = threading.local()
        self.barrier = threading.Barrier(size)
        self.slots: list[Any] = [None] * size
        monkeypatch.setattr(distributed, "rank", lambda: self.own.rank)
        monkeypatch.setattr(distributed, "world_size", lambda: size)
        monkeypatch.setattr(distributed, "gather", self.gather)
        monkeypatch.setattr(distributed, "all_reduce", self.all_reduce)

    def gather(self, item: Any) -> list[Any]:
        self.slots[self.own.rank] = item
        self.barrier.wait(10)
        items = list(self.slots)
        self.barrier.wait(10)
        return items

    def all_reduce(self, values: list[float], operation: str = "sum") -> list[float]:
        together = np.array(self.gather(values))
        return (together.max(0) if operation == "max" else together.sum(0)).tolist()

    def run(self, action: Any) -> list[Any]:
        results: list[Any] = [None] * self.size

        def work(rank: int) -> None:
            self.own.rank = rank
            results[rank] = action(rank)

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_evaluation_on_any_ranks_is_that_of_one(monkeypatch, record_property, world, batch):
    record_property("injections", 80)
    random = np.random.default_rng(world)
    classes, scores = Lookup(2), Lookup(1)
    for count in range(1, 41):
        gold = random.integers(0, 2, count).tolist()
        graded = random.random(count).astype(np.float32).tolist()
        for model, labels, loss, metric in (
            (classes, gold, cross_entropy, accuracy_and_f1),
            (scores, graded, squared_error, pearson_and_spearman),
        ):
            data = rows(labels)
            ids = paddle.to_tensor([[one.input_ids[0]] for one in data])
            logits = model(ids, None).logits.numpy()

            def part(rank: int, data=data, model=model, loss=loss, metric=metric) -> Evaluated:
                order = EvaluationOrder(len(data), batch, rank=rank, world_size=world)
                loader = Loader(data, order, pad_token_id=0)
                return evaluate(model, loader, loss=loss, metric=metric)

            with monkeypatch.context() as patch:
                results = Ranks(world, patch).run(part)
            expected = metric(logits, np.array(labels))
            losses = loss(paddle.to_tensor(logits), paddle.to_tensor(labels)).numpy()
            for result in results:
                assert result.metrics == expected
                assert result.examples == count
                assert result.loss == np.mean(losses, dtype=np.float64)


class TokenScores(Lookup):
    """Scores of each token by itself: classes, or places of an answer."""

    def forward(self, input_ids, attention_mask):
        scores = self.table(input_ids)
        if scores.shape[-1] == 2:
            return QuestionAnsweringOutput(None, scores[..., 0], scores[..., 1])
        return Output(scores)


def sentences(count: int, is_span: bool) -> list[Features]:
    """Rows of 3 to 9 tokens; of some tokens no class is asked."""
    random, found = np.random.default_rng(count), []
    for _ in range(count):
        ids = random.integers(1, 60, random.integers(3, 10)).astype(np.int32)
        classes = np.where(random.random(len(ids)) < 0.4, IGNORED, ids % 5).astype(np.int32)
        classes[0] = 1
        found.append(Features(ids, None, (1, len(ids) - 1) if is_span else classes))
    return found


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize(("is_span", "loss"), [(False, cross_entropy), (True, span_loss)])
def test_rows_of_any_length_keep_their_own_predictions(monkeypatch, world, is_span, loss):
    paddle.seed(5)
    model = TokenScores(2 if is_span else 5)
    for count in (1, 2, 11):
        data, seen = sentences(count, is_span), []

        def metric(predictions, labels, data=data, seen=seen):
            seen.append(predictions)
            assert [len(row) for row in predictions] == [*map(len, data)]
            for label, one in zip(labels, data, strict=True):
                np.testing.assert_array_equal(label, one.label)
            return {"rows": float(len(labels))}

        def part(rank, call, data=data, **options):
            order = EvaluationOrder(len(data), 4, rank=rank, world_size=world)
            loader = Loader(data, order, pad_token_id=0, pad_to_multiple_of=8)
            return call(model, loader, **options)

        with monkeypatch.context() as patch:
            evaluated = partial(part, call=evaluate, loss=loss, metric=metric)
            results = Ranks(world, patch).run(evaluated)
            alone = Ranks(world, patch).run(partial(part, call=predict))
        expected, losses = [], []
        for one in data:  # each row by itself, without padding
            batch = collate([one], 0)
            logits = logits_of(model(**{k: v for k, v in batch.items() if k != "labels"}), batch)
            values = loss(logits, batch["labels"]).numpy()
            losses.append(values[batch["labels"].numpy().reshape(-1) != IGNORED])
            expected.append(logits.numpy()[0])
        for predictions in (*seen, *alone):
            for found, wanted in zip(predictions, expected, strict=True):
                np.testing.assert_array_equal(found, wanted)
        for result in results:
            assert result.metrics == {"rows": count}
            mean = np.mean(np.concatenate(losses), dtype=np.float64)  # over labels, not rows
            assert result.loss == pytest.approx(mean, rel=1e-6)  # losses are float32
