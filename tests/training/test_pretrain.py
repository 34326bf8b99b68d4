"""Pretraining takes every row once, however it is divided, and continues where it was."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.bert import BertConfig, BertForPreTraining
from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.training.events import DataPosition, Evaluated, Progress, StepDone
from paddlenlp_ext.training.objectives import MaskedLM, MaskedTensors
from paddlenlp_ext.training.optimization import adamw, rate_schedule
from paddlenlp_ext.training.pretrain import ShardBatches, evaluate, pretrain
from paddlenlp_ext.training.updates import NonFiniteLossError, UpdateSettings
from tests.pretraining.test_shards import V, arrays, open_set, write

SIZES = {
    "vocab_size": V,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
}


def reader(folder: Path, *counts: int, shuffle: bool = True) -> ShardReader:
    paths = [
        write(folder / f"train_{n}.hdf5", arrays(count, seed=n)) for n, count in enumerate(counts)
    ]
    return ShardReader(open_set(*paths), seed=3, shuffle=shuffle, window_bytes=20 * 99)


def batches(
    source: ShardReader, size: int, rank: int = 0, world: int = 1, predictions: int = 4
) -> ShardBatches:
    return ShardBatches(source, MaskedTensors(predictions), size, rank, world)


def model(dropout: float = 0.0, seed: int = 5) -> BertForPreTraining:
    paddle.seed(seed)
    return BertForPreTraining(
        BertConfig(**SIZES, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    )


def train(
    net: BertForPreTraining,
    source: ShardBatches,
    steps: int,
    optimizer: Any = None,
    **options: Any,
) -> list[Any]:
    optimizer = optimizer or adamw(net, rate_schedule(0.01, steps), weight_decay=0.1)
    objective = options.pop("objective", MaskedLM())
    return list(
        pretrain(net, source, objective=objective, optimizer=optimizer, max_steps=steps, **options)
    )


def losses(events: list[Any]) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepDone)]


def weights(net: BertForPreTraining) -> dict[str, np.ndarray]:
    return {name: parameter.numpy() for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("counts", [(37,), (3, 0, 30, 4), (2,) * 9])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_take_every_row_once(tmp_path, counts, world):
    """One file or many, more than processes or fewer; the last file and the last rows too."""
    source = reader(tmp_path, *counts)
    parts = [batches(source, 4, rank, world) for rank in range(world)]
    for epoch in (0, 1):
        rows = [[batch.rows.tolist() for batch in part.batches(epoch)] for part in parts]
        assert {len(one) for one in rows} == {len(parts[0])}
        together = [[row for one in rows for row in one[k]] for k in range(len(parts[0]))]
        assert sorted(row for batch in together for row in batch) == list(range(sum(counts)))
        # The same rows make up a batch as for one process with as many rows.
        alone = batches(source, 4 * world).batches(epoch)
        assert together == [batch.rows.tolist() for batch in alone]


def positions(source: ShardBatches, start: Progress, count: int) -> Iterator[tuple[Any, ...]]:
    for update in islice(source.updates(2, start), count):
        rows = [row for batch in update.batches for row in batch.rows.tolist()]
        yield rows, update.epoch, update.number, update.after


def test_positions_count_rows(tmp_path):
    source = batches(reader(tmp_path, 20, 9), 5)
    steps = list(positions(source, Progress(), 7))
    # 29 rows are three updates of 2 x 5 rows; the last one of an epoch has 9.
    assert [len(rows) for rows, *_ in steps] == [10, 10, 9, 10, 10, 9, 10]
    assert [(epoch, number) for _, epoch, number, _ in steps] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0),
    ]  # fmt: skip
    assert [(after.data.epoch, after.data.row) for *_, after in steps] == [
        (0, 10), (0, 20), (1, 0), (1, 10), (1, 20), (2, 0), (2, 10),
    ]  # fmt: skip
    for done in range(7):
        start = Progress() if done == 0 else steps[done - 1][3]
        assert list(positions(source, start, 7 - done)) == steps[done:]


def test_another_number_of_processes_continues_at_the_row(tmp_path):
    source = reader(tmp_path, 50)
    one = list(positions(batches(source, 4), Progress(), 3))
    three = [list(positions(batches(source, 4, rank, 3), one[-1][3], 2)) for rank in range(3)]
    used = [row for rows, *_ in one for row in rows]
    used += [row for part in three for rows, *_ in part for row in rows]
    assert sorted(used) == list(range(50))
    assert {part[-1][3] for part in three} == {Progress(5, data=DataPosition(1))}


@pytest.mark.parametrize("step", [1, 4, 5, 9])
def test_continues_bit_for_bit(tmp_path, step):
    """In an epoch, at its end, and after; the model has dropout."""
    source = batches(reader(tmp_path, 20, 13), 8)
    whole = model(0.2)
    expected = train(whole, source, 11)
    net = model(0.2)
    optimizer = adamw(net, rate_schedule(0.01, 11), weight_decay=0.1)
    begun = pretrain(net, source, objective=MaskedLM(), optimizer=optimizer, max_steps=11)
    first = list(islice(begun, step))
    begun.close()
    rest = train(net, source, 11, optimizer, resume=first[-1].progress)
    assert losses(first) + losses(rest) == losses(expected)
    for name, values in weights(whole).items():
        np.testing.assert_array_equal(weights(net)[name], values, err_msg=name)


def test_accumulation_is_a_larger_batch(tmp_path):
    """Rows have unequal numbers of masked tokens, and an epoch ends with a short update."""
    source = reader(tmp_path, 21, 10)
    whole, parts = model(), model()
    expected = train(whole, batches(source, 8), 9)
    found = train(parts, batches(source, 2), 9, settings=UpdateSettings(accumulate=4))
    assert [event.examples for event in found] == [8, 8, 8, 7] * 2 + [8]
    np.testing.assert_allclose(losses(found), losses(expected), rtol=0, atol=1e-6)


def test_it_learns(tmp_path):
    """A model that sees the same few rows many times predicts their masked tokens and pairs."""
    source = reader(tmp_path, 12)
    net = model()
    (*_, last) = train(
        net, batches(source, 6), 150, evaluate_on={"dev": batches(source, 5)}, evaluate_every=50
    )
    assert isinstance(last, Evaluated)
    assert last.metrics["mlm acc"] > 0.9
    assert last.metrics["nsp acc"] == 1.0
    assert last.metrics["perplexity"] < 2


def test_events_tell_what_happened(tmp_path):
    source = reader(tmp_path, 10)
    events = train(
        model(),
        batches(source, 4),
        5,
        evaluate_on={"dev": batches(source, 3), "test": batches(source, 7)},
        evaluate_every=2,
    )
    assert [(type(event).__name__, event.step) for event in events] == [
        ("StepDone", 1), ("StepDone", 2), ("Evaluated", 2), ("Evaluated", 2), ("StepDone", 3),
        ("StepDone", 4), ("Evaluated", 4), ("Evaluated", 4), ("StepDone", 5), ("Evaluated", 5),
        ("Evaluated", 5),
    ]  # fmt: skip
    done = [event for event in events if isinstance(event, StepDone)]
    assert [event.examples for event in done] == [4, 4, 2, 4, 4]
    assert all(0 < event.reading_seconds < event.seconds for event in done)
    dev, test = events[2:4]
    assert (dev.split, dev.examples) == ("dev", 10)
    assert test.metrics == pytest.approx(dev.metrics)  # batches of another size


def test_evaluation_is_over_labels_not_batches(tmp_path):
    """The loss is a mean over all masked tokens and all pairs, whatever the batches."""
    net, source = model(), reader(tmp_path, 23, shuffle=False)
    whole = evaluate(net, batches(source, 23), objective=MaskedLM())
    parts = evaluate(net, batches(source, 4), objective=MaskedLM())
    (batch,) = batches(source, 23).batches()
    net.eval()
    mlm, nsp = MaskedLM().losses(net, batch)
    labels, pairs = MaskedLM().count(batch)
    assert whole.loss == pytest.approx(float(mlm.sum() / labels + nsp.sum() / pairs), abs=1e-6)
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)
    assert parts.metrics == pytest.approx(whole.metrics, rel=1e-5)
    assert whole.metrics["perplexity"] == pytest.approx(np.exp(float(mlm.sum()) / labels), rel=1e-5)


def test_single_texts_leave_the_pair_head_alone(tmp_path):
    net = model()
    before = weights(net)
    events = train(net, batches(reader(tmp_path, 12), 6), 4, objective=MaskedLM(pairs=False))
    after = weights(net)
    untouched = {name for name in after if np.array_equal(before[name], after[name])}
    assert untouched == {
        "next_sentence.weight", "next_sentence.bias",
        "backbone.pooler.dense.weight", "backbone.pooler.dense.bias",
    }  # fmt: skip
    assert len(losses(events)) == 4


def test_rows_without_masked_tokens_still_have_pairs(tmp_path):
    data = arrays(6) | {"masked_lm_positions": np.zeros((6, 4), "int32")}
    source = ShardReader(open_set(write(tmp_path / "train.hdf5", data)))
    assert np.isfinite(losses(train(model(), batches(source, 3), 3))).all()


def test_a_loss_that_is_not_finite_names_rows_of_files(tmp_path):
    fine, bad = arrays(5), arrays(8)
    fine["input_ids"][fine["input_ids"] == V - 1] = 1
    bad["input_ids"][:, 1] = V - 1
    paths = [write(tmp_path / "a.hdf5", fine), write(tmp_path / "b.hdf5", bad)]
    source = ShardReader(open_set(*paths), shuffle=False)
    net = model()
    words = net.get_input_embeddings().weight
    words.set_value(paddle.where(paddle.arange(V).unsqueeze(-1) == V - 1, words * np.nan, words))
    settings = UpdateSettings(sources=source.shards.sources)
    # All masked tokens are scored against the bad word; the pairs show which row holds it.
    with pytest.raises(NonFiniteLossError, match=r"finite \(rank 0: \S+b\.hdf5: row 0\)"):
        train(net, batches(source, 6), 3, settings=settings)
