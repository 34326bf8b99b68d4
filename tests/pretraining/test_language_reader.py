"""Languages have their parts of every epoch, and a place in it is exact for all of them."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import vocabulary_digest
from paddlenlp_ext.pretraining.language_corpora import Corpora, corpora_digest, open_corpora
from paddlenlp_ext.pretraining.language_reader import LanguageReader, sampled_rows
from paddlenlp_ext.pretraining.multilingual_rows import (
    LANGUAGES,
    LAYOUT,
    SOURCE,
    pair_rows,
    sentence_rows,
)
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, VOCABULARY, Shard
from paddlenlp_ext.pretraining.whole_words import Tokens
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer
from tests.pretraining.words import tokenizer as make_tokenizer

CODES = ["de", "en", "sw"]
COUNTS = {"de": 40, "en": 110, "sw": 3}
WIDTH = 9
ROW_BYTES = WIDTH * 5 + 16


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return make_tokenizer(tmp_path)


def write(
    folder: Path, tokenizer: Tokenizer, name: str, source: str, rows: int, codes: list[str] = CODES
) -> Path:
    """A shard of sentences of one token, which is the number of the row."""
    texts = [Tokens([5 + row], [False]) for row in range(rows)]
    numbers = [codes.index(code) for code in source.split("-")]
    columns = (
        pair_rows(texts, texts, tokenizer, WIDTH, (numbers[0], numbers[1]))
        if len(numbers) == 2
        else sentence_rows(texts, tokenizer, WIDTH, numbers[0])
    )
    attributes = {
        HAS_PAIRS: len(numbers) == 2,
        VOCABULARY: vocabulary_digest(tokenizer),
        LANGUAGES: ",".join(codes),
        SOURCE: source,
    }
    path = folder / name
    with ShardWriter([path], LAYOUT, {"tokens": WIDTH}, attributes) as writer:
        writer.write(columns)
    return path


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for code, rows in COUNTS.items():
        write(folder, tokenizer, f"train.{code}.hdf5", code, rows)
    for source in ("de-en", "en-sw"):
        write(folder, tokenizer, f"train.{source}.hdf5", source, 11)
        write(folder, tokenizer, f"dev.{source}.hdf5", source, 4)
    write(folder, tokenizer, "dev.en.hdf5", "en", 5)
    return folder


def corpora(folder: Path, tokenizer: Tokenizer, **limits: int) -> Corpora:
    return open_corpora(folder, tokenizer, len(tokenizer), WIDTH, **limits)


def sentences(folder: Path, tokenizer: Tokenizer) -> ShardSet:
    found = corpora(folder, tokenizer).sentences
    assert found is not None
    return found


def reader(shards: ShardSet, window: int = 64, **options: float) -> LanguageReader:
    return LanguageReader(shards, window_bytes=window * ROW_BYTES, **options)


def test_a_folder_is_known_by_what_its_files_say(folder: Path, tokenizer: Tokenizer) -> None:
    found = corpora(folder, tokenizer)
    assert found.languages == CODES
    assert found.sentences.num_rows == sum(COUNTS.values())
    assert found.pairs.num_rows == 22
    assert {code: one.num_rows for code, one in found.held_out_sentences.items()} == {"en": 5}
    assert {code: one.num_rows for code, one in found.held_out_pairs.items()} == {
        "de-en": 4, "en-sw": 4,
    }  # fmt: skip
    few = corpora(folder, tokenizer, train_limit=8, eval_limit=3)
    assert few.sentences.num_rows == 8 + 8 + 3
    assert few.held_out_sentences["en"].num_rows == 3
    assert sorted(row for rows in reader(few.sentences).batches(5) for row in rows.numbers)


def test_shards_of_a_language_may_be_several(folder: Path, tokenizer: Tokenizer) -> None:
    write(folder, tokenizer, "train.en_1.hdf5", "en", 30)
    found = corpora(folder, tokenizer, train_limit=120)
    assert reader(found.sentences).rows_by_source == {"de": 40, "en": 120, "sw": 3}


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_languages_have_their_parts_of_every_epoch(
    folder: Path, tokenizer: Tokenizer, alpha: float
) -> None:
    shards = sentences(folder, tokenizer)
    expected = sampled_rows(COUNTS, alpha)
    seen: Counter[int] = Counter()
    one = reader(shards, alpha=alpha, seed=3)
    for epoch in range(3):
        batches = [*one.batches(16, epoch)]
        counts = Counter(np.concatenate([rows.columns["language"] for rows in batches]).tolist())
        assert counts == {CODES.index(code): rows for code, rows in expected.items()}
        numbers = [int(row) for rows in batches for row in rows.numbers]
        assert len(numbers) == shards.num_rows == len(set(numbers))  # repeated rows have others
        seen.update(number % shards.num_rows for number in numbers)
    # No row is seen a second time more than others of its language.
    start = 0
    for code in CODES:
        times = [seen[start + row] for row in range(COUNTS[code])]
        assert max(times) - min(times) <= 1, code
        start += COUNTS[code]
    if alpha == 1.0:
        assert set(seen.values()) == {3}


def test_the_order_is_the_same_from_wherever_one_begins(folder: Path, tokenizer: Tokenizer) -> None:
    shards = sentences(folder, tokenizer)

    def order(size: int, epoch: int, row: int = 0, seed: int = 3) -> list[int]:
        batches = reader(shards, seed=seed).batches(size, epoch, row)
        return [int(number) for rows in batches for number in rows.numbers]

    for epoch in (0, 2):
        whole = order(8, epoch)
        for row in (1, 144):
            assert order(5, epoch, row) == whole[row:]
    assert len({tuple(order(8, epoch, seed=seed)) for epoch in (0, 1) for seed in (3, 4)}) == 4


def test_the_order_stays_that_of_earlier_releases(folder: Path, tokenizer: Tokenizer) -> None:
    one = reader(sentences(folder, tokenizer), alpha=0.5, seed=3)
    begins = [next(one.batches(9, epoch)).numbers.tolist() for epoch in (0, 2)]
    assert begins == [
        [102, 136, 115, 123, 34, 65, 172, 110, 46],
        [10, 190, 251, 57, 136, 243, 21, 272, 173],
    ]


def test_a_plan_takes_a_few_bytes_for_each_slice() -> None:
    count = 40_000
    attributes = {SOURCE: "en"}
    parts = [Shard(Path(name), count // 2, {"tokens": 1}, attributes) for name in ("a", "b")]
    one = reader(ShardSet(parts, LAYOUT, lambda columns: None), window=2)
    tracemalloc.start()
    try:
        plan = one._plan(0)
        assert next(plan)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(len(window) for window in plan) > 0.9 * count  # a slice a row
    assert taken < 40 * count


def test_languages_are_mixed_throughout(folder: Path, tokenizer: Tokenizer) -> None:
    batches = [*reader(sentences(folder, tokenizer), window=128, alpha=0.0).batches(32)]
    assert all(len(set(rows.columns["language"].tolist())) > 1 for rows in batches[:-1])


def test_repeated_rows_are_found_in_their_files(folder: Path, tokenizer: Tokenizer) -> None:
    shards = sentences(folder, tokenizer)
    for rows in reader(shards, alpha=0.0).batches(64):
        for number, ids, code in zip(
            rows.numbers, rows.columns["input_ids"], rows.columns["language"], strict=True
        ):
            assert shards.sources[int(number)] == (
                f"{folder}/train.{CODES[code]}.hdf5: row {ids[1] - 5}"
            )


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 10**6), min_size=1, max_size=20),
    st.floats(0, 1),
)
def test_parts_add_up(rows: dict[str, int], alpha: float) -> None:
    counts = sampled_rows(rows, alpha)
    total = sum(rows.values())
    assert sum(counts.values()) == total
    assert min(counts.values()) >= 1
    weights = {name: count**alpha for name, count in rows.items()}
    for name, count in counts.items():
        assert abs(count - total * weights[name] / sum(weights.values())) < 1 + len(rows)


def test_parts_are_those_of_the_paper() -> None:
    assert sampled_rows({"en": 9_900, "sw": 100}, 0.7) == {"en": 9_615, "sw": 385}
    assert sampled_rows({"en": 9_900, "sw": 100}, 1.0) == {"en": 9_900, "sw": 100}
    assert sampled_rows({"en": 9_900, "sw": 100}, 0.0) == {"en": 5_000, "sw": 5_000}


def test_what_does_not_fit_is_refused(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has rows of 9 tokens, and the model takes 8"):
        open_corpora(folder, tokenizer, len(tokenizer), 8)
    (tmp_path / "other").mkdir()
    other = make_tokenizer(tmp_path / "other")
    other.add_tokens(["new"])
    with pytest.raises(DataError, match=r"another vocabulary .* \(`tokenizer_name`\)"):
        open_corpora(folder, other, len(other), WIDTH)
    before = corpora_digest(folder)
    write(folder, tokenizer, "train.fr.hdf5", "fr", 3, [*CODES, "fr"])
    assert corpora_digest(folder) != before
    with pytest.raises(DataError, match=r"train\.fr\.hdf5: lists other languages than train\.de"):
        corpora(folder, tokenizer)
    with ShardWriter([folder / "train.fr.hdf5"], LAYOUT, {"tokens": WIDTH}, {}) as writer:
        writer.write(sentence_rows([Tokens([5], [False])], tokenizer, WIDTH, 0))
    with pytest.raises(DataError, match=r"train\.fr\.hdf5: does not say its languages"):
        corpora(folder, tokenizer)
