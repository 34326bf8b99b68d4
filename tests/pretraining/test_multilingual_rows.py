"""Rows are what the tokenizer itself builds, and say where sentences and words begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.multilingual_rows import (
    LAYOUT,
    NO_LANGUAGE,
    check_rows,
    pair_rows,
    sentence_rows,
)
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.pretraining.whole_words import WordFinder
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer
from tests.pretraining.test_whole_words import tokenizers

__all__ = ["tokenizers"]  # a fixture

FIRST = ["The quick brown fox", "a cat", "In the sky up above the world so high"]
SECOND = ["Быстрая лиса", "Καλημέρα κόσμε, τι κάνεις σήμερα;", "cat"]
WIDTH = 21


@pytest.mark.parametrize("family", ["rembert", "ernie_m", "xlm_r"])
def test_rows_are_the_tokenizers(tokenizers: dict[str, Tokenizer], family: str) -> None:
    tokenizer = tokenizers[family]
    finder = WordFinder.of(tokenizer)
    firsts, seconds = (finder.tokenize(texts)[0] for texts in (FIRST, SECOND))
    columns = pair_rows(firsts, seconds, tokenizer, WIDTH, (3, 1))
    expected = tokenizer(FIRST, SECOND, max_length=WIDTH, truncation=True)["input_ids"]
    assert max(map(len, expected)) == WIDTH  # one is cut
    for row, ids in enumerate(expected):
        assert columns["input_ids"][row].tolist() == ids + [0] * (WIDTH - len(ids))
        assert columns["length"][row] == len(ids)
        first = columns["first_length"][row]
        assert ids[:first] == tokenizer.build_inputs_with_special_tokens(
            firsts[row].ids[: first - 2]
        )
        flags = columns["continues"][row]
        second = first + tokenizer.assembly.separators - 1
        assert flags[1 : first - 1].tolist() == firsts[row].continues[: first - 2]
        kept = len(ids) - second - 1
        assert flags[second : len(ids) - 1].tolist() == seconds[row].continues[:kept]
        assert not flags[[0, first - 1, second - 1, len(ids) - 1]].any()
    assert set(columns["language"]) == {3}
    assert set(columns["second_language"]) == {1}
    assert check_rows(len(tokenizer), 4)(columns) is None

    columns = sentence_rows(firsts, tokenizer, 60, 2)
    assert (columns["first_length"] == columns["length"]).all()
    assert set(columns["second_language"]) == {NO_LANGUAGE}
    for row, ids in enumerate(tokenizer(FIRST)["input_ids"]):
        assert columns["input_ids"][row, : len(ids)].tolist() == ids


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("input_ids", 70_000, "input_ids must be from 0 to"),
        ("length", 22, "length must be from 3 to 21"),
        ("first_length", 2, "first_length must be from 3 to length"),
        ("first_length", 22, "first_length must be from 3 to length"),
        ("continues", 2, "continues must be 0 or 1"),
        ("language", 4, "language must be from 0 to 3, the languages that the file lists"),
        ("second_language", NO_LANGUAGE, "second_language must be -1 in a single sentence"),
    ],
)
def test_bad_rows_are_named(
    tokenizers: dict[str, Tokenizer], tmp_path: Path, column: str, value: int, problem: str
) -> None:
    tokenizer = tokenizers["rembert"]
    finder = WordFinder.of(tokenizer)
    firsts, seconds = (finder.tokenize(texts)[0] for texts in (FIRST, SECOND))
    columns = dict(pair_rows(firsts, seconds, tokenizer, WIDTH, (3, 1)))
    columns[column] = columns[column].copy()
    columns[column][1] = value
    path = tmp_path / "train.en-de.hdf5"
    with ShardWriter([path], LAYOUT, {"tokens": WIDTH}, {}) as writer:
        writer.write({name: np.asarray(values) for name, values in columns.items()})
    shards = ShardSet([path], LAYOUT, check_rows(len(tokenizer), 4))
    with pytest.raises(DataError, match=rf"train\.en-de\.hdf5: row 1: {problem}"):
        shards.read(next(shards.slices(3)))
