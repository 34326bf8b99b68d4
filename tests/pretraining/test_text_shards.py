"""Text shards lose no token, and masks follow from seed, epoch and row alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.masking import MaskingVocabulary, dynamic_masking
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.pretraining.text_shards import (
    LAYOUT,
    TextSettings,
    check_rows,
    find_corpus,
    make_shard,
)
from paddlenlp_ext.tokenizers.bert import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"w{number}" for number in range(40)]
CLS, SEP, MASK = 2, 3, 4
# Documents of lines of so many words.
DOCUMENTS = [[3, 1, 9], [23, 2], [5], [1, 1, 1, 1, 1]]


@pytest.fixture
def tokenizer(tmp_path: Path) -> BertTokenizer:
    (tmp_path / "vocab.txt").write_text("\n".join(SPECIAL + WORDS) + "\n")
    return BertTokenizer(str(tmp_path / "vocab.txt"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    documents = [
        "\n".join(" ".join(random.choice(WORDS, length)) for length in lines) for lines in DOCUMENTS
    ]
    path = tmp_path / "train.data"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def rows_of(path: Path) -> list[list[int]]:
    """The tokens of each row, without the special ones, which are checked."""
    shards = ShardSet([path], LAYOUT, check_rows(len(SPECIAL + WORDS)))
    rows = []
    for piece in shards.slices(4):
        columns = shards.read(piece).columns
        for ids, length in zip(columns["input_ids"], columns["length"], strict=True):
            assert ids[0] == CLS
            assert ids[length - 1] == SEP
            assert not ids[length:].any()
            rows.append(ids[1 : length - 1].tolist())
    return rows


@pytest.mark.parametrize("pack", [False, True])
def test_rows_hold_every_token_once_and_in_order(
    pack: bool, corpus: Path, tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    shard = tmp_path / "train.hdf5"
    assert make_shard([corpus], tokenizer, shard, TextSettings(9, pack_lines=pack))
    rows = rows_of(shard)
    words = corpus.read_text().split()
    assert [len(SPECIAL) + WORDS.index(word) for word in words] == [
        token for row in rows for token in row
    ]
    room = 7
    lengths = [len(row) for row in rows]
    if pack:  # a line that does not fit begins a new row, a document too
        assert lengths == [4, 7, 2, 7, 7, 7, 2, 2, 5, 5]
    else:
        assert lengths == [3, 1, 7, 2, 7, 7, 7, 2, 2, 5, 1, 1, 1, 1, 1]
    assert max(lengths) == room


def test_a_shard_is_kept_if_nothing_changed(
    corpus: Path, tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    shard = tmp_path / "shards/train.hdf5"
    settings = TextSettings(9)
    assert make_shard([corpus], tokenizer, shard, settings)
    assert not make_shard([corpus], tokenizer, shard, settings)
    assert make_shard([corpus], tokenizer, shard, TextSettings(9, pack_lines=True))
    assert make_shard([corpus], tokenizer, shard, TextSettings(8, pack_lines=True))
    corpus.write_text(corpus.read_text() + "w1\n")
    assert make_shard([corpus], tokenizer, shard, TextSettings(8, pack_lines=True))
    assert rows_of(shard)[-1][-1] == len(SPECIAL) + 1
    shard.write_bytes(shard.read_bytes()[:99])  # a damaged one is made again
    assert make_shard([corpus], tokenizer, shard, TextSettings(8, pack_lines=True))
    other = tmp_path / "other.txt"
    other.write_text("\n".join([*SPECIAL, *WORDS[::-1]]) + "\n")
    assert make_shard([corpus], BertTokenizer(str(other)), shard, TextSettings(8, pack_lines=True))


def test_the_corpus_is_found_by_its_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`input_dir` .*: expected train\.data"):
        find_corpus(tmp_path)
    (tmp_path / "b.txt").write_text("b\n")
    (tmp_path / "a.txt").write_text("a\n")
    assert find_corpus(tmp_path) == {"train": [tmp_path / "a.txt", tmp_path / "b.txt"]}
    (tmp_path / "train.data").write_text("t\n")
    (tmp_path / "dev.data").write_text("d\n")
    assert find_corpus(tmp_path) == {
        "train": [tmp_path / "train.data"], "dev": [tmp_path / "dev.data"],
    }  # fmt: skip
    assert find_corpus(tmp_path / "b.txt") == {"train": [tmp_path / "b.txt"]}


def test_a_corpus_without_a_known_token_is_refused(
    tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("\n \n\u200b\n")
    with pytest.raises(DataError, match=r"empty\.txt"):
        make_shard([path], tokenizer, tmp_path / "train.hdf5", TextSettings(9))
    assert not (tmp_path / "train.hdf5").exists()


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [("input_ids", 45, "input_ids must be from 0 to 44"), ("length", 10, "length must be from 1")],
)
def test_rows_that_do_not_fit_the_model_are_named(column: str, value: int, problem: str) -> None:
    columns = {"input_ids": np.full((3, 9), 7, np.int32), "length": np.full(3, 5, np.int32)}
    check = check_rows(45)
    assert check(columns) is None
    columns[column][1:] = value
    found = check(columns)
    assert found is not None
    assert found[0] == 1
    assert found[1].startswith(problem)


def masked(
    ids: np.ndarray, rows: np.ndarray, tokenizer: BertTokenizer, **changes: int
) -> tuple[np.ndarray, np.ndarray]:
    settings = {"probability": 0.15, "seed": 5, "epoch": 0} | changes
    return dynamic_masking(ids, rows, MaskingVocabulary.of(tokenizer), **settings)


def test_masks_depend_on_seed_epoch_and_row_alone(tokenizer: BertTokenizer) -> None:
    """Not on which rows share a batch, nor on how far they are padded."""
    ids = np.full((6, 20), 9)
    ids[:, 0], ids[:, 11] = CLS, SEP
    ids[:, 12:] = 0
    rows = np.array([4, 0, 7, 99, 2**40, 3])
    hidden, chosen = masked(ids, rows, tokenizer, probability=0.4)
    turned = masked(ids[::-1, :13], rows[::-1], tokenizer, probability=0.4)
    np.testing.assert_array_equal(turned[0][::-1], hidden[:, :13])
    np.testing.assert_array_equal(turned[1][::-1], chosen[:, :13])
    assert not chosen[:, [0, *range(11, 20)]].any()
    assert len({row.tobytes() for row in chosen}) == len(rows)
    for change in ({"epoch": 1}, {"seed": 6}):
        assert (masked(ids, rows, tokenizer, probability=0.4, **change)[1] != chosen).any(1).all()


def test_shares_are_bert_s(tokenizer: BertTokenizer) -> None:
    """15 % chosen; of them 80 % masked, 10 % random, 10 % as they were; four deviations allowed."""
    random = np.random.default_rng(1)
    ids = random.integers(5, 45, (400, 100))
    hidden, chosen = masked(ids, np.arange(400), tokenizer)
    np.testing.assert_array_equal(hidden[~chosen], ids[~chosen])
    count = int(chosen.sum())

    def near(found: int, share: float, total: int) -> bool:
        return abs(found - share * total) < 4 * (total * share * (1 - share)) ** 0.5

    assert near(count, 0.15, ids.size)
    replaced, originals = hidden[chosen], ids[chosen]
    assert near(int((replaced == MASK).sum()), 0.8, count)
    # One in forty random tokens is the original.
    assert near(int((replaced == originals).sum()), 0.1 + 0.1 / 40, count)
    drawn = replaced[(replaced != MASK) & (replaced != originals)]
    assert drawn.min() == 5
    assert drawn.max() == 44
