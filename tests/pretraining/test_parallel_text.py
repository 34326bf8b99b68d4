"""Parallel text is read from tables and aligned files; what does not fit is named with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.language_files import find_parallel, find_texts, languages_of
from paddlenlp_ext.pretraining.parallel_text import read_pairs

PAIRS = [("A cat.", "Eine Katze."), ("", ""), ("Two cats.", 'Zwei "Katzen".')]


def table(path: Path, rows: list[tuple[str, ...]] = PAIRS) -> Path:
    text = "".join("\t".join(row).strip("\t") + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def aligned(folder: Path, first: str, second: str, suffix: str = "") -> list[Path]:
    paths = [folder / f"news.en-de.{code}{suffix}" for code in ("en", "de")]
    for path, text in zip(paths, (first, second), strict=True):
        path.write_bytes(gzip.compress(text.encode()) if suffix else text.encode())
    return paths


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_both_forms_give_the_same_pairs(tmp_path: Path, suffix: str) -> None:
    one = table(tmp_path / f"en-de.tsv{suffix}")
    texts = ("".join(f"{pair[side]}\n" for pair in PAIRS) for side in (0, 1))
    other = aligned(tmp_path, *texts, suffix)
    # Any of the two stands for both; empty lines at the end do no harm.
    for path in (one, *other):
        assert [(pair.first, pair.second) for pair in read_pairs(path)] == PAIRS
        assert languages_of(path) == ("en", "de")
    assert [pair.source for pair in read_pairs(one)] == [f"{one}:{n}" for n in (1, 2, 3)]
    assert find_parallel([one, *other])["en-de"] == [
        (("en", "de"), (one,)), (("en", "de"), tuple(other)),
    ]  # fmt: skip


def test_the_end_of_a_file_may_have_empty_lines(tmp_path: Path) -> None:
    path, _ = aligned(tmp_path, "a\nb\n", "c\nd\n\n\n")
    assert [pair[:2] for pair in read_pairs(path)] == [("a", "c"), ("b", "d"), ("", ""), ("", "")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("A cat.", r"has 1 column; expected two, a sentence in en and its translation in de"),
        ("A cat.\tEine\tKatze.", r"has 3 columns; expected two"),
        ("A cat.\t ", r"the sentence in de is empty"),
        ("\tEine Katze.", r"the sentence in en is empty"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "en-de.tsv"
    path.write_text(f"a\tb\n\n{line}\nc\td\n")
    with pytest.raises(DataError, match=rf"en-de\.tsv:3: {problem}"):
        [*read_pairs(path)]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("a\nb\nc\n", "d\ne\n", r"news\.en-de\.en:3: .*news\.en-de\.de has no such line"),
        ("a\n", "d\ne\n", r"news\.en-de\.de:2: .*news\.en-de\.en has no such line"),
        ("a\nb\n", "c\n\n", r"news\.en-de\.de:2: the sentence in de is empty"),
        ("a\n\nb\n", "c\nd\ne\n", r"news\.en-de\.en:2: the sentence in en is empty"),
    ],
)
def test_files_that_are_not_aligned_are_named(
    tmp_path: Path, first: str, second: str, problem: str
) -> None:
    path, _ = aligned(tmp_path, first, second)
    with pytest.raises(DataError, match=problem):
        [*read_pairs(path)]


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("en-de.tsv", ("en", "de")),
        ("v1.2.en-pt-BR.tsv.gz", ("en", "pt-BR")),
        ("en-zh_CN.tsv", ("en", "zh-CN")),
        ("zh-Hant-TW-en.tsv", ("zh-Hant-TW", "en")),
    ],
)
def test_names_tell_languages(name: str, languages: tuple[str, str]) -> None:
    assert languages_of(Path(name)) == languages


def test_text_files_are_listed_by_language() -> None:
    paths = [Path(name) for name in ("en.txt", "wiki.zh_Hans.txt.gz", "more/en.txt", "x.sw")]
    assert find_texts(paths) == {
        "en": [paths[0], paths[2]],
        "zh-Hans": [paths[1]],
        "sw": [paths[3]],
    }


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("en-qx.tsv", "'qx' is no known language code"),
        ("english-german.tsv", "expected the languages in its name"),
        ("en.tsv", "expected the languages in its name"),
        ("en-de.fr", "expected the languages in its name"),
        ("en-de.en", "lacks the other language beside it; expected en-de.de"),
    ],
)
def test_names_without_known_languages_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a\tb\n")
    with pytest.raises(DataError, match=rf"{name}: {problem}"):
        find_parallel([Path(name)])


def test_more_languages_can_be_named() -> None:
    with pytest.raises(
        DataError, match=r"qx\.txt: 'qx' is no known language code.*`more_languages`"
    ):
        find_texts([Path("qx.txt")])
    assert [*find_texts([Path("qx.txt")], ["qx"])] == ["qx"]
    with pytest.raises(DataError, match=r"my corpus\.txt: expected the language in its name"):
        find_texts([Path("my corpus.txt")])
