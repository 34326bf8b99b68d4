"""Every row is read once an epoch, in an order that is the same from wherever one begins."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.hdf5 import Column
from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.pretraining.shard_set import Rows, ShardSet
from tests.pretraining.test_shards import arrays, open_set, write

ROW_BYTES = 11 * 6 + 4 * 8 + 1


def reader(folder: Path, *counts: int, window: int = 40, **options) -> ShardReader:
    """Shards with so many rows, read in windows of so many."""
    paths = [folder / f"{n}_{count}.hdf5" for n, count in enumerate(counts)]
    for n, (path, count) in enumerate(zip(paths, counts, strict=True)):
        if not path.exists():
            write(path, arrays(count, seed=n))
    return ShardReader(open_set(*paths), window_bytes=window * ROW_BYTES, **options)


def numbers(found: list[Rows]) -> list[int]:
    return [int(number) for rows in found for number in rows.numbers]


@pytest.mark.parametrize("counts", [(1,), (7,), (300,), (3, 100, 1, 0, 61), (5,) * 30])
@pytest.mark.parametrize("size", [1, 8, 64, 1000])
def test_every_row_once_an_epoch(tmp_path, counts, size):
    shards = reader(tmp_path, *counts)
    for epoch in range(3):
        batches = list(shards.batches(size, epoch))
        assert sorted(numbers(batches)) == list(range(sum(counts)))
        assert {len(rows.numbers) for rows in batches[:-1]} <= {size}


def test_rows_keep_their_columns(tmp_path):
    data = [arrays(count, seed=n) for n, count in enumerate((50, 90))]
    for rows in reader(tmp_path, 50, 90).batches(16):
        for name, values in rows.columns.items():
            expected = np.concatenate([part[name] for part in data])[rows.numbers]
            np.testing.assert_array_equal(values, expected)


def test_the_order_follows_from_seed_and_epoch(tmp_path):
    counts = (100, 80, 33)

    def order(epoch: int, size: int = 8, **options) -> list[int]:
        return numbers(list(reader(tmp_path, *counts, **options).batches(size, epoch)))

    assert order(0, seed=3) == order(0, seed=3, size=50)
    assert len({tuple(order(epoch, seed=seed)) for epoch in (0, 1) for seed in (3, 4)}) == 4
    assert order(5, shuffle=False) == list(range(213))
    # Rows of all shards are mixed within the first window.
    assert {0, 1, 2} == set(np.searchsorted([100, 180, 213], order(0, seed=1)[:40], side="right"))


@settings(max_examples=30, deadline=None)
@given(
    row=st.integers(0, 213),
    size=st.integers(1, 70),
    window=st.integers(9, 250),
    epoch=st.integers(0, 3),
)
def test_any_row_can_be_continued_from(tmp_path_factory, row, size, window, epoch):
    folder = tmp_path_factory.getbasetemp() / "continued"
    folder.mkdir(exist_ok=True)
    shards = reader(folder, 100, 80, 33, window=window, seed=9)
    whole = numbers(list(shards.batches(size, epoch)))
    assert numbers(list(shards.batches(size, epoch, row))) == whole[row:]


def test_windows_are_all_that_is_read(tmp_path, monkeypatch):
    """What is used, and the next window in the background; a resumed run skips without reading."""
    shards = reader(tmp_path, *(50,) * 10)
    read: list[int] = []
    original = ShardSet.read

    def counted(self, piece):
        read.append(piece.rows)
        return original(self, piece)

    monkeypatch.setattr(ShardSet, "read", counted)
    batches = shards.batches(10)
    used = 0
    for rows in batches:
        used += len(rows.numbers)
        assert sum(read) <= used + 2 * 40
    assert sum(read) == 500
    read.clear()
    next(iter(shards.batches(10, row=460)))
    assert sum(read) <= 80


def test_leaving_in_the_middle_leaves_no_thread(tmp_path):
    batches = reader(tmp_path, 300).batches(7)
    next(batches)
    assert any("shards" in thread.name for thread in threading.enumerate())
    batches.close()
    assert not any("shards" in thread.name for thread in threading.enumerate())


def test_a_bad_row_in_the_background_is_told(tmp_path):
    bad = arrays(90)
    bad["input_ids"][77, 3] = 99
    shards = ShardReader(
        open_set(write(tmp_path / "train.hdf5", bad)), shuffle=False, window_bytes=20 * ROW_BYTES
    )
    batches = shards.batches(10)
    assert numbers([next(batches) for _ in range(6)]) == list(range(60))
    with pytest.raises(DataError, match="row 77: input_ids"):
        list(batches)


def test_another_layout(tmp_path):
    """Other kinds of pretraining bring their own columns."""
    layout = {"input_ids": Column("uint16", "tokens"), "lengths": Column("int32")}
    data = {"input_ids": np.arange(60).reshape(20, 3), "lengths": np.arange(20)}
    shards = ShardSet([write(tmp_path / "train.hdf5", data)], layout, lambda columns: None)
    found = list(ShardReader(shards, seed=1).batches(6))
    assert sorted(numbers(found)) == list(range(20))
    for rows in found:
        np.testing.assert_array_equal(rows.columns["lengths"], rows.numbers)
        np.testing.assert_array_equal(rows.columns["input_ids"][:, 0], rows.numbers * 3)
