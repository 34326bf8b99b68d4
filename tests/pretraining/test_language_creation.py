"""Shards of several languages hold every line once, and nothing that is held out is trained on."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.held_out_text import (
    HeldOutSettings,
    choose_held_out,
    sentence_digest,
)
from paddlenlp_ext.pretraining.language_blocks import CorporaSettings
from paddlenlp_ext.pretraining.language_corpora import open_corpora
from paddlenlp_ext.pretraining.language_creation import Created, create_corpora
from paddlenlp_ext.pretraining.language_files import find_parallel, find_texts
from paddlenlp_ext.pretraining.language_texts import LanguageText, language_texts
from paddlenlp_ext.tokenizers.base import Tokenizer
from tests.pretraining.words import CLS, SEP, WORDS
from tests.pretraining.words import tokenizer as make_tokenizer

WIDTH = 23
NOTHING = HeldOutSettings(0.0, 0)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return make_tokenizer(tmp_path)


def sentence(random: np.random.Generator) -> str:
    return " ".join(random.choice(WORDS, random.integers(1, 6)))


@pytest.fixture
def texts(tmp_path: Path) -> list[LanguageText]:
    """English beside German and Swahili, with many sentences in common; English and German text."""
    random = np.random.default_rng(5)
    english = [sentence(random) for _ in range(150)]
    for code in ("de", "sw"):
        rows = [f"{english[at]}\t{sentence(random)}" for at in random.permutation(150)[:120]]
        (tmp_path / f"news.en-{code}.tsv").write_text("\n".join(rows) + "\n")
    documents = ["\n".join(english[at : at + 5]) for at in range(0, 150, 5)]
    (tmp_path / "en.txt").write_text("\n\n".join(documents) + "\n")
    (tmp_path / "de.txt").write_text("".join(f"{sentence(random)}\n" for _ in range(90)))
    return language_texts(
        find_texts([tmp_path / "en.txt", tmp_path / "de.txt"]),
        find_parallel(sorted(tmp_path.glob("*.tsv"))),
    )


def rows_of(folder: Path, split: str, source: str) -> list[tuple[list[int], ...]]:
    """The tokens of the sentences of each row."""
    found = []
    for path in sorted(folder.glob(f"{split}.{source}[._]*")):
        with h5py.File(path) as file:
            columns = zip(file["input_ids"], file["length"], file["first_length"], strict=True)
            for ids, length, first in columns:
                assert ids[0] == CLS
                assert ids[length - 1] == SEP == ids[first - 1]
                parts = [ids[1 : first - 1].tolist(), ids[first : length - 1].tolist()]
                found.append(tuple(part for part in parts if part))
    return found


def create(
    folder: Path, texts: list[LanguageText], tokenizer: Tokenizer, **options: object
) -> dict[str, Created]:
    settings = CorporaSettings(
        WIDTH,
        bool(options.pop("pack", False)),
        held_out=options.pop("held_out", NOTHING),
    )
    return create_corpora(texts, tokenizer, folder, settings, **options)


def lines_of(text: LanguageText, tokenizer: Tokenizer) -> list[tuple[list[int], ...]]:
    lines = [line for document in text.documents(10**6) for line in document.lines]
    return [
        tuple(tokenizer(one, add_special_tokens=False)["input_ids"] for one in line)
        for line in lines
    ]


def test_every_line_is_a_row(
    tmp_path: Path, texts: list[LanguageText], tokenizer: Tokenizer
) -> None:
    create(tmp_path / "out", texts, tokenizer)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        "train.de.hdf5", "train.en-de.hdf5", "train.en-sw.hdf5", "train.en.hdf5",
    ]  # fmt: skip
    for text in texts:
        assert rows_of(tmp_path / "out", "train", text.name) == lines_of(text, tokenizer)
    found = open_corpora(tmp_path / "out", tokenizer, len(tokenizer), WIDTH)
    assert found.languages == ["de", "en", "sw"]
    pairs = found.pairs.read(next(found.pairs.slices(1000))).columns
    assert set(pairs["language"]) == {1}
    assert set(pairs["second_language"]) == {0}


def test_packed_rows_hold_sentences_of_one_document(
    tmp_path: Path, texts: list[LanguageText], tokenizer: Tokenizer
) -> None:
    create(tmp_path / "out", texts, tokenizer, pack=True)
    (english,) = [text for text in texts if text.name == "en"]
    rows = [row for (row,) in rows_of(tmp_path / "out", "train", "en")]
    lines = [line for (line,) in lines_of(english, tokenizer)]
    assert [id_ for row in rows for id_ in row] == [id_ for line in lines for id_ in line]
    assert len(rows) < len(lines)
    # Each document, of five lines, begins a row.
    starts = [sum(map(len, lines[: 5 * number])) for number in range(30)]
    assert {*starts} <= {sum(map(len, rows[:number])) for number in range(len(rows))}


@pytest.mark.parametrize("seed", [1, 2])
def test_held_out_sentences_are_not_trained_on(
    tmp_path: Path, texts: list[LanguageText], tokenizer: Tokenizer, seed: int
) -> None:
    created = create(tmp_path / "out", texts, tokenizer, held_out=HeldOutSettings(0.1, 40, seed))
    seen: dict[str, set[tuple[int, ...]]] = {}
    rows: dict[str, int] = {}
    for split in ("train", "dev"):
        found = [row for text in texts for row in rows_of(tmp_path / "out", split, text.name)]
        seen[split] = {tuple(part) for row in found for part in row}
        rows[split] = len(found)
    assert not seen["train"] & seen["dev"]
    for name, made in created.items():
        text = next(text for text in texts if text.name == name)
        lines = len(lines_of(text, tokenizer))
        assert 0 < made.rows["dev"] <= 0.1 * lines
        assert sum(made.rows.values()) + made.known == lines
    # The same English sentences are held out of both pairs, as far as both have them.
    held = [
        {tuple(row[0]) for row in rows_of(tmp_path / "out", "dev", name)}
        for name in ("en-de", "en-sw")
    ]
    assert held[0] & held[1]


def test_what_is_held_out_follows_from_the_seed(texts: list[LanguageText]) -> None:
    def chosen(seed: int, share: float = 0.2, most: int = 40) -> list[set[int]]:
        return choose_held_out(texts, HeldOutSettings(share, most, seed)).documents

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    for few, more in zip(chosen(1, 0.1), chosen(1, 0.2), strict=True):
        assert few <= more  # of single lines, and documents of equal length
    assert all(len(one) <= 3 for one in chosen(1, 1.0, 3))
    assert choose_held_out(texts, HeldOutSettings(0.5, 0)).sentences == set()


def test_sentences_are_the_same_whatever_their_spaces() -> None:
    assert sentence_digest("A  cat ") == sentence_digest("a\u3000CAT")
    assert sentence_digest("a cat") != sentence_digest("a cat.")


def test_files_may_be_held_out(
    tmp_path: Path, texts: list[LanguageText], tokenizer: Tokenizer
) -> None:
    english = (tmp_path / "en.txt").read_text().split("\n")
    path = tmp_path / "mine.en-sw.tsv"
    path.write_text(f"{english[0]}\tw1 w2\n")
    given = language_texts({}, find_parallel([path]), are_held_out=True)
    created = create(
        tmp_path / "out", [*texts, *given], tokenizer, held_out=HeldOutSettings(0.1, 40)
    )
    assert created["en-sw"].rows["dev"] == 1  # no more is held out of this pair
    assert created["en-de"].rows["dev"] > 1
    first = tokenizer(english[0], add_special_tokens=False)["input_ids"]
    for text in texts:
        assert all(first not in row for row in rows_of(tmp_path / "out", "train", text.name))


def test_neither_processes_nor_shards_change_rows(
    tmp_path: Path, texts: list[LanguageText], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paddlenlp_ext.pretraining.language_blocks.BLOCK_BYTES", 500)
    held_out = HeldOutSettings(0.1, 40)
    create(tmp_path / "one", texts, tokenizer, held_out=held_out)
    create(tmp_path / "two", texts, tokenizer, held_out=held_out, processes=2)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    create(tmp_path / "many", texts, tokenizer, held_out=held_out, num_shards=3)
    for text in texts:
        assert len([*(tmp_path / "many").glob(f"train.{text.name}_*.hdf5")]) == 3
        one, many = (
            Counter(map(str, rows_of(tmp_path / name, "train", text.name)))
            for name in ("one", "many")
        )
        assert one == many
    with pytest.raises(DataError, match=r"train\.de_0\.hdf5: is of an earlier run"):
        create(tmp_path / "many", texts, tokenizer, held_out=held_out)


def test_long_sentences_are_cut_into_rows_and_long_pairs_are_cut(
    tmp_path: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    long = " ".join(WORDS[:50])
    (tmp_path / "en.txt").write_text(f"w3\n{long}\n...\n")
    (tmp_path / "en-de.tsv").write_text(f"w1\t{long}\n")
    texts = language_texts(
        find_texts([tmp_path / "en.txt"]), find_parallel([tmp_path / "en-de.tsv"])
    )
    with caplog.at_level(logging.WARNING):
        created = create(tmp_path / "out", texts, tokenizer)
    rows = [row for (row,) in rows_of(tmp_path / "out", "train", "en")]
    assert [len(row) for row in rows[:4]] == [1, 21, 21, 8]
    assert created["en-de"].cut == 1
    assert "en-de: 100% of the pairs were cut" in caplog.text
    [(first, second)] = rows_of(tmp_path / "out", "train", "en-de")
    assert (len(first), len(second)) == (1, WIDTH - 4)


def test_nothing_is_left_after_an_error(
    tmp_path: Path, texts: list[LanguageText], tokenizer: Tokenizer
) -> None:
    (tmp_path / "news.en-de.tsv").write_text("a\tb\nonly one column\n")
    with pytest.raises(DataError, match=r"news\.en-de\.tsv:2: has 1 column"):
        create(tmp_path / "out", texts, tokenizer)
    assert not (tmp_path / "out").exists()
    (tmp_path / "news.en-de.tsv").write_text("")
    with pytest.raises(DataError, match=r"news\.en-de\.tsv: no line of en-de is left"):
        create(tmp_path / "out", texts, tokenizer)
    assert not [*(tmp_path / "out").iterdir()]
    with pytest.raises(DataError, match=r"there is nothing to train on; give `text_files`"):
        create(tmp_path / "out", [], tokenizer)


def test_scripts_without_spaces_are_told_of(
    tmp_path: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "zh.txt").write_text("清水寺在京都很有名\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        create(tmp_path / "out", language_texts(find_texts([tmp_path / "zh.txt"]), {}), tokenizer)
    assert "zh: 100% of the text stand in scripts without spaces" in caplog.text
    assert "give `segment_words`" in caplog.text
