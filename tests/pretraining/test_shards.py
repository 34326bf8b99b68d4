"""Shards are read by slices as they are, and broken ones are named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining import shards
from paddlenlp_ext.pretraining.bert_shards import (
    LAYOUT,
    check_rows,
    has_pairs,
    require_fit,
    vocabulary_digest,
)
from paddlenlp_ext.pretraining.shard_set import ShardSet, Slice
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, VOCABULARY, digest, find_shards
from tests.pretraining.words import tokenizer

V = 53


def arrays(rows: int, length: int = 11, predictions: int = 4, seed: int = 1) -> dict[str, Any]:
    """Rows that a model with 53 tokens can be trained on."""
    random = np.random.default_rng(seed)
    lengths = random.integers(5, length + 1, (rows, 1))
    mask = np.arange(length) < lengths
    places = np.zeros((rows, predictions), "int32")  # ascending, then zeros
    for row in places:
        count = random.integers(0, predictions + 1)
        row[:count] = np.sort(random.permutation(4)[:count] + 1)
    return {
        "input_ids": np.where(mask, random.integers(1, V, mask.shape), 0).astype("int32"),
        "input_mask": mask.astype("int8"),
        "segment_ids": (mask & (np.arange(length) >= lengths // 2)).astype("int8"),
        "masked_lm_positions": places.astype("int32"),
        "masked_lm_ids": (random.integers(1, V, places.shape) * (places > 0)).astype("int32"),
        "next_sentence_labels": random.integers(0, 2, rows).astype("int8"),
    }


def write(path: Path, data: dict[str, Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file.create_dataset(name, data=values, compression="gzip")
        file.attrs.update(attributes)
    return path


def open_set(*paths: Path, **options: Any) -> ShardSet:
    return ShardSet(paths, LAYOUT, check_rows(V, 2), **options)


def everything(shards: ShardSet, length: int = 5) -> dict[str, np.ndarray]:
    parts = [shards.read(piece) for piece in shards.slices(length)]
    numbers = np.concatenate([part.numbers for part in parts])
    np.testing.assert_array_equal(numbers, np.arange(shards.num_rows))
    return {name: np.concatenate([part.columns[name] for part in parts]) for name in LAYOUT}


def test_slices_hold_all_rows_as_they_were(tmp_path):
    counts = (17, 0, 1, 5, 12)
    data = [arrays(count, seed=count) for count in counts]
    paths = [write(tmp_path / f"{n}.hdf5", part) for n, part in enumerate(data)]
    shards = open_set(*paths)
    found = everything(shards)
    for name, values in found.items():
        np.testing.assert_array_equal(values, np.concatenate([part[name] for part in data]))
        assert values.dtype == LAYOUT[name].dtype
    assert [shards.sources[row] for row in (0, 16, 17, 18, 34)] == [
        f"{paths[shard]}: row {row}" for shard, row in ((0, 0), (0, 16), (2, 0), (3, 0), (4, 11))
    ]
    assert shards.sources[16:18] == [shards.sources[16], shards.sources[17]]
    assert sum(piece.rows for piece in open_set(*paths, limit=20).slices(5)) == 20


def test_other_integers_and_widths_are_read(tmp_path):
    wide = {name: values.astype("int64") for name, values in arrays(6, 11, 4).items()}
    narrow = {name: values.astype("int16") for name, values in arrays(4, 9, 3).items()}
    shards = open_set(write(tmp_path / "a.h5", wide), write(tmp_path / "b.h5", narrow))
    found = everything(shards)
    assert found["input_ids"].shape == (10, 11)
    assert found["masked_lm_ids"].shape == (10, 4)
    np.testing.assert_array_equal(found["input_ids"][6:, :9], narrow["input_ids"])
    assert not found["input_ids"][6:, 9:].any()
    assert {str(values.dtype) for values in found.values()} == {"int32", "int8"}
    assert shards.row_bytes == 11 * 6 + 4 * 8 + 1


def changed(name: str, row: int, column: int | None, value: int) -> dict[str, Any]:
    data = arrays(9)
    data[name] = data[name].astype("int64")
    data[name][(row, column) if column is not None else row] = value
    return data


BAD_ROWS = {
    "id": (
        changed("input_ids", 4, 2, V),
        r"row 4: input_ids must be from 0 to 52, the model's voc",
    ),
    "negative": (changed("masked_lm_ids", 3, 0, -1), r"row 3: masked_lm_ids must be from 0 to 52"),
    "segment": (changed("segment_ids", 8, 1, 2), r"row 8: segment_ids must be from 0 to 1"),
    "place": (changed("masked_lm_positions", 5, 1, 11), r"row 5: masked_lm_positions must be from"),
    "hole": (changed("input_mask", 6, 1, 0), r"row 6: input_mask must be ones, then zeros"),
    "empty": (changed("input_mask", 2, slice(None), 0), r"row 2: input_mask must begin with"),
    "label": (changed("next_sentence_labels", 7, None, 2), r"row 7: next_sentence_labels must be"),
    "overflow": (changed("input_mask", 1, 0, 257), r"input_mask has numbers beyond int8"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_named(tmp_path, case):
    data, message = BAD_ROWS[case]
    path = write(tmp_path / "train.hdf5", data)
    with pytest.raises(DataError, match=rf"train\.hdf5: {message}.*make the file again"):
        everything(open_set(path))


def test_a_masked_place_in_the_padding_is_named(tmp_path):
    data = arrays(9)
    row = int(np.argmin(data["input_mask"].sum(1)))
    data["masked_lm_positions"][row, 0] = 10
    with pytest.raises(DataError, match=f"row {row}: masked_lm_positions must not be padding"):
        everything(open_set(write(tmp_path / "train.hdf5", data)))


def without(name: str) -> dict[str, Any]:
    return {key: values for key, values in arrays(9).items() if key != name}


BAD_FILES = {
    "missing": (without("segment_ids"), r"lacks segment_ids \(it has input_ids, input_mask"),
    "complex": (
        arrays(9) | {"input_ids": np.ones((9, 11), "complex64")},
        r"input_ids has a type that is no number, not int32",
    ),
    "rows": (
        arrays(9) | {"input_mask": np.ones((8, 11), "int8")},
        r"input_mask has the shape \(8, 11\), not \(9, 11\)",
    ),
    "width": (
        arrays(9) | {"segment_ids": np.ones((9, 12), "int8")},
        r"segment_ids has the shape \(9, 12\), not \(9, 11\)",
    ),
    "flat": (
        arrays(9) | {"next_sentence_labels": np.ones((9, 2), "int8")},
        r"next_sentence_labels has the shape \(9, 2\), not \(9,\)",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_other_layouts_are_refused(tmp_path, case):
    data, message = BAD_FILES[case]
    with pytest.raises(DataError, match=rf"train\.hdf5: {message}"):
        open_set(write(tmp_path / "train.hdf5", data))


@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_are_named(tmp_path, part):
    path = write(tmp_path / "train.hdf5", arrays(500))
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(DataError, match=r"train\.hdf5: cannot be read \(.*copy it again"):
        open_set(path)


def test_damage_within_is_named_when_it_is_read(tmp_path):
    path = write(tmp_path / "train.hdf5", arrays(3000))
    shards = open_set(path)
    with h5py.File(path) as file:
        place = file["input_ids"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 64)
    with pytest.raises(DataError, match=r"train\.hdf5: cannot be read \(.*\); the file is damaged"):
        everything(shards, 1000)


def test_a_file_that_shrinks_meanwhile_is_named(tmp_path):
    path = write(tmp_path / "train.hdf5", arrays(9))
    shards = open_set(path)
    write(path, arrays(7))
    with pytest.raises(DataError, match="was changed during the run"):
        shards.read(Slice(0, 5, 9))
    path.unlink()
    with pytest.raises(DataError, match=r"train\.hdf5: cannot be read"):
        shards.read(Slice(0, 5, 9))


def test_finding_shards(tmp_path):
    for name in ("b_train.hdf5", "a_training_0.h5", "test.hdf5", "train.txt", "train_notes.md"):
        (tmp_path / name).touch()
    (tmp_path / "train.hdf5").mkdir()

    def names(**options: Any) -> list[str]:
        return [path.name for path in find_shards(tmp_path, **options)]

    assert names() == ["a_training_0.h5", "b_train.hdf5"]
    assert names(held_out=True) == ["test.hdf5"]
    assert find_shards(tmp_path / "test.hdf5") == [tmp_path / "test.hdf5"]


def test_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"`input_dir` .*nowhere: there is no such folder"):
        find_shards(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"with 'train' in their names, and found none at all"):
        find_shards(tmp_path)
    (tmp_path / "data.hdf5").touch()
    with pytest.raises(DataError, match=r"with 'train' in their names, and found data\.hdf5"):
        find_shards(tmp_path)
    with pytest.raises(DataError, match="holds no row"):
        open_set(write(tmp_path / "data.hdf5", arrays(0)))


def test_pairs_and_single_texts_are_not_mixed(tmp_path):
    pairs = write(tmp_path / "pairs.hdf5", arrays(3))  # as other programs write it
    texts = write(tmp_path / "texts.hdf5", arrays(3), **{HAS_PAIRS: False})
    assert has_pairs(open_set(pairs))
    assert not has_pairs(open_set(texts))
    with pytest.raises(DataError, match=r"pairs\.hdf5 has pairs of texts and .*texts\.hdf5"):
        has_pairs(open_set(pairs, texts))


def test_shards_must_fit_the_model(tmp_path):
    words = tokenizer(tmp_path)
    same = write(tmp_path / "same.hdf5", arrays(3), **{VOCABULARY: vocabulary_digest(words)})
    require_fit(open_set(same), words, 11)
    require_fit(open_set(write(tmp_path / "untold.hdf5", arrays(3))), words, 11)
    with pytest.raises(DataError, match=r"same\.hdf5: has rows of 11 tokens, and .* takes 10"):
        require_fit(open_set(same), words, 10)
    other = write(tmp_path / "other.hdf5", arrays(3), **{VOCABULARY: "0" * 64})
    with pytest.raises(DataError, match=r"other\.hdf5: was made with another vocabulary"):
        require_fit(open_set(same, other), words, 11)


def test_rows_that_are_declared_and_not_there_are_refused(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in arrays(3).items():
            shape, chunks = (10**11, *values.shape[1:]), (3, *values.shape[1:])
            file.create_dataset(name, shape, values.dtype, chunks=chunks, compression="gzip")
            file[name][:3] = values
    assert path.stat().st_size < 30_000
    with pytest.raises(DataError, match=r"a\.hdf5: says that it has 100,000,000,000 rows"):
        open_set(path)


@pytest.mark.parametrize("column", [h5py.Empty("int32"), 5])
def test_columns_without_rows_are_refused(tmp_path, column):
    path = write(tmp_path / "a.hdf5", arrays(3))
    with h5py.File(path, "a") as file:
        del file["input_ids"]
        file["input_ids"] = column
    with pytest.raises(DataError, match=r"a\.hdf5: has a column without rows"):
        open_set(path)


def test_rows_of_zeros_are_packed_tightly_and_taken(tmp_path):
    words = {name: np.zeros_like(values) for name, values in arrays(50_000).items()}
    words["input_ids"][:, 0] = 1
    words["input_mask"][:, 0] = 1
    path = write(tmp_path / "a.hdf5", words)
    assert open_set(path).num_rows == 50_000


@pytest.mark.parametrize("place", [0, 100_000, 150_001, 299_999])
def test_the_digest_tells_a_change_anywhere_in_small_files(tmp_path, place):
    path = tmp_path / "one.hdf5"
    path.write_bytes(bytes(300_000))
    first = digest([path])
    with path.open("rb+") as file:
        file.seek(place)
        file.write(b"x")
    assert digest([path]) != first


def test_the_digest_reads_parts_of_large_files(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "DIGESTED", 20 * shards.BLOCK)
    paths = [tmp_path / "one.hdf5", tmp_path / "two.hdf5"]
    size = 1000 * shards.BLOCK + 7
    for path in paths:
        with path.open("wb") as file:
            file.truncate(size)
    first = digest(paths)
    seen = []
    for place in range(0, size, shards.BLOCK):
        with paths[1].open("rb+") as file:
            file.seek(place)
            file.write(b"x")
            file.flush()
            seen.append(digest(paths) != first)
            file.seek(place)
            file.write(b"\0")
    assert seen[0]
    assert seen[-1]
    assert 10 <= sum(seen) <= 20  # ten blocks of each file, which may touch two of these places


def test_the_digest_tells_other_data(tmp_path):
    one = write(tmp_path / "one.hdf5", arrays(30))
    first = digest([one])
    assert digest([one]) == first
    assert digest([write(tmp_path / "two.hdf5", arrays(30))]) != first
    write(one, arrays(31))
    assert digest([one]) != first
