"""A mixture gives each objective its part of the updates, and goes on exactly where it was."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.training.events import DataPosition, Progress, StepDone
from paddlenlp_ext.training.mixture import Ingredient, MixedBatches, ObjectiveLosses
from paddlenlp_ext.training.pretrain import ShardBatches
from tests.pretraining.test_shards import arrays, open_set, write


def numbers(name: str) -> Any:
    """Tensors that tell what was made of which rows."""
    return lambda rows, epoch: {name: paddle.to_tensor(rows.columns["input_ids"][:, 0])}


def mixture(folder: Path, weights: dict[str, float], rank: int = 0, world: int = 1) -> MixedBatches:
    readers = {}
    for seed, (name, count) in enumerate({"one": 23, "two": 14}.items()):
        path = write(folder / f"train_{name}.hdf5", arrays(count, seed=seed))
        readers[name] = ShardBatches(
            ShardReader(open_set(path), seed=3), numbers(name), 3, rank, world
        )
    kinds = {"a": "one", "b": "two", "c": "one"}
    return MixedBatches(
        readers,
        {name: Ingredient(kinds[name], numbers(name), one) for name, one in weights.items()},
    )


@pytest.mark.parametrize(
    "weights", [{"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 6.0, "b": 3.0, "c": 1.0}, {"b": 2.0}]
)
@pytest.mark.parametrize("steps", [17, 100, 1000])
def test_weights_are_parts_of_the_updates(
    tmp_path: Path, weights: dict[str, float], steps: int
) -> None:
    mixed = mixture(tmp_path, weights)
    found = Counter(mixed.objective_of(step) for step in range(1, steps + 1))
    for name, weight in weights.items():
        assert abs(found[name] - steps * weight / sum(weights.values())) < 3


def test_objectives_of_one_reader_share_its_rows_and_it_continues_anywhere(tmp_path: Path) -> None:
    mixed = mixture(tmp_path, {"a": 1.0, "b": 1.0, "c": 2.0})
    assert (mixed.num_rows, len(mixed)) == (37, 8 + 5)
    updates = list(islice(mixed.updates(2, Progress()), 24))
    seen: dict[int, list[int]] = {0: [], 1: []}
    for step, update in enumerate(updates, start=1):
        assert update.after.step == step
        for batch in update.batches:
            assert [*batch] == [mixed.objective_of(step)]
            for row in batch.rows.tolist():
                seen[row % 2].append(row // 2)
    for reader, count in ((0, 23), (1, 14)):
        assert sorted(seen[reader][:count]) == [*range(count)]
        assert len(seen[reader]) > count  # and another epoch begins
    last = updates[-1].after
    assert last.data is None
    assert len(last.mixture) == 2
    for done in (1, 5, 23):
        again = islice(mixed.updates(2, updates[done - 1].after), 24 - done)
        for one, other in zip(updates[done:], again, strict=True):
            assert (one.epoch, one.number, one.after) == (other.epoch, other.number, other.after)
            for mine, theirs in zip(one.batches, other.batches, strict=True):
                np.testing.assert_array_equal(mine.rows, theirs.rows)


def test_processes_take_parts_of_the_same_updates(tmp_path: Path) -> None:
    weights = {"a": 1.0, "b": 1.0}
    alone = islice(mixture(tmp_path, weights, 0, 2).updates(1, Progress()), 9)
    other = islice(mixture(tmp_path, weights, 1, 2).updates(1, Progress()), 9)
    readers = mixture(tmp_path, weights).readers
    whole = MixedBatches(
        {name: ShardBatches(one.reader, one.make, 6) for name, one in readers.items()},
        mixture(tmp_path, weights).objectives,
    )
    together = islice(whole.updates(1, Progress()), 9)
    for left, right, both in zip(alone, other, together, strict=True):
        rows = np.concatenate([left.batches[0].rows, right.batches[0].rows])
        np.testing.assert_array_equal(rows, both.batches[0].rows)
        assert left.after == right.after == both.after


def test_rows_are_named_by_their_reader(tmp_path: Path) -> None:
    mixed = mixture(tmp_path, {"a": 1.0, "b": 1.0})
    update = next(mixed.updates(1, Progress()))
    name = {"a": "one", "b": "two"}[mixed.objective_of(1)]
    for row in update.batches[0].rows.tolist():
        number = row // 2
        assert mixed.sources[row] == f"{tmp_path}/train_{name}.hdf5: row {number}"
    assert mixed.sources[:2] == [f"{tmp_path}/train_{name}.hdf5: row 0" for name in ("one", "two")]
    assert update.after.mixture.count(DataPosition()) == 1


def test_losses_are_told_by_objective(tmp_path: Path) -> None:
    mixed = mixture(tmp_path, {"a": 1.0, "b": 1.0})
    losses = ObjectiveLosses(mixed)
    own: dict[str, list[float]] = {"a": [], "b": []}
    for step in range(1, 8):
        losses.add(StepDone(step, 9, 0, 0, step / 4, 0.1, 3, 1.0))
        own[mixed.objective_of(step)].append(step / 4)
    assert losses.take() == ", ".join(f"{name}: {np.mean(one):f}" for name, one in own.items())
    assert losses.take() == ""
