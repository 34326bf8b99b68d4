"""Ids that are kept on disk are those that the tokenizer makes, or are made anew."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.tasks import token_cache
from paddlenlp_ext.tasks.features import Features, make_features
from paddlenlp_ext.tasks.task import TextExample
from paddlenlp_ext.tasks.token_cache import TokenCache
from paddlenlp_ext.tokenizers.bert import BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg"]
TEXTS = [("a b c", "d"), ("", "g"), ("\ud800 e", ""), ("b" * 3, "f f f f f f f f")]


class CountingTokenizer(BertTokenizer):
    """Counts how often it is asked."""

    calls = 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        type(self).calls += 1
        return super().__call__(*args, **options)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    CountingTokenizer.calls = 0
    return tmp_path / "vocab.txt"


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    return TokenCache(tmp_path / "cache" / "tokenized", min_rows=3)


def examples(pairs: bool = True) -> list[TextExample]:
    return [
        TextExample(first, second if pairs else None, label, f"row {label}")
        for label, (first, second) in enumerate(TEXTS)
    ]


def same(left: list[Features], right: list[Features]) -> bool:
    def row(one: Features) -> list[Any]:
        arrays = (one.input_ids, one.token_type_ids)
        return [one.label, *((a.dtype, a.tolist()) for a in arrays)]

    return [*map(row, left)] == [*map(row, right)]


def files(cache: TokenCache) -> list[Path]:
    return sorted(cache.folder.iterdir()) if cache.folder.exists() else []


@pytest.mark.parametrize("pairs", [True, False])
def test_read_is_what_was_made(pairs: bool, vocabulary: Path, cache: TokenCache) -> None:
    tokenizer = CountingTokenizer(vocabulary)
    plain = make_features(examples(pairs), tokenizer, 9)
    made = make_features(examples(pairs), tokenizer, 9, cache=cache)
    assert tokenizer.calls == 2
    # A later process has another tokenizer object, and perhaps other labels.
    relabelled = [dataclasses.replace(one, label=7) for one in examples(pairs)]
    read = make_features(relabelled, CountingTokenizer(vocabulary), 9, cache=cache)
    assert tokenizer.calls == 2
    assert same(made, plain)
    assert same([dataclasses.replace(f, label=n) for n, f in enumerate(read)], plain)
    assert {one.label for one in read} == {7}
    assert len(files(cache)) == 1


def test_few_rows_are_not_kept(vocabulary: Path, cache: TokenCache) -> None:
    make_features(examples()[:2], CountingTokenizer(vocabulary), 9, cache=cache)
    assert not files(cache)


def test_other_work_is_another_file(
    vocabulary: Path, cache: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change alone: no run may get ids that it would not have made."""

    def make(texts: list[TextExample], length: int = 9, **options: Any) -> None:
        make_features(texts, CountingTokenizer(vocabulary, **options), length, cache=cache)

    whole = examples()
    make(whole)
    make(whole, 8)
    make(whole, do_lower_case=False)
    make(whole, additional_special_tokens=["b"])
    make(examples(pairs=False))
    make(whole[:-1])
    make([*whole[:-1], dataclasses.replace(whole[-1], text_a="c")])
    # The same characters, cut otherwise into texts.
    make([dataclasses.replace(whole[0], text_a="a b ", text_b="cd"), *whole[1:]])
    monkeypatch.setattr(token_cache, "__version__", "0.0.0")
    make(whole)
    monkeypatch.setattr(token_cache, "version", lambda name: f"{name} 99")
    make(whole)
    vocabulary.write_text("\n".join([*WORDS[:5], *"gfedcba"]) + "\n", encoding="utf-8")
    make(whole)
    assert len(files(cache)) == CountingTokenizer.calls == 11


def test_damage_is_seen_and_mended(
    vocabulary: Path, cache: TokenCache, caplog: pytest.LogCaptureFixture
) -> None:
    plain = make_features(examples(), CountingTokenizer(vocabulary), 9, cache=cache)
    (path,) = files(cache)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [0, 9, *range(10, header, 37), *range(header, len(whole), 11), len(whole) - 1]
    broken = [whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :] for place in places]
    for content in (b"", whole[:20], whole[:-1], whole + b"0", *broken):
        path.unlink()  # what was read of it before is mapped
        path.write_bytes(content)
        caplog.clear()
        found = make_features(examples(), CountingTokenizer(vocabulary), 9, cache=cache)
        assert same(found, plain)
        assert [record.getMessage() for record in caplog.records] == [
            f"{path}: is damaged; the texts are tokenized again"
        ]
        assert path.read_bytes() == whole


def test_a_file_of_other_rows_is_damage(vocabulary: Path, cache: TokenCache) -> None:
    plain = make_features(examples(), CountingTokenizer(vocabulary), 9, cache=cache)
    (path,) = files(cache)
    make_features(examples()[:3], CountingTokenizer(vocabulary), 9, cache=cache)
    (other,) = {*files(cache)} - {path}
    os.replace(other, path)
    assert same(make_features(examples(), CountingTokenizer(vocabulary), 9, cache=cache), plain)


def test_a_cache_that_cannot_be_written_stops_nothing(
    vocabulary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = TokenCache(tmp_path / "file" / "tokenized", min_rows=1)
    with caplog.at_level(logging.WARNING):
        assert len(make_features(examples(), CountingTokenizer(vocabulary), 9, cache=cache)) == 4
    (record,) = caplog.records
    assert "the run goes on, and a later one tokenizes again" in record.getMessage()


def test_old_and_too_many_files_go(
    vocabulary: Path, cache: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(length: int) -> Path:
        before = {*files(cache)}
        make_features(examples(), CountingTokenizer(vocabulary), length, cache=cache)
        (path,) = {*files(cache)} - before
        return path

    def unused(path: Path, days: float) -> None:
        os.utime(path, (time.time() - days * 86_400,) * 2)

    first, second = make(6), make(7)
    unused(first, 31)
    unused(second, 29)
    third = make(8)
    assert {*files(cache)} == {second, third}
    make_features(examples(), CountingTokenizer(vocabulary), 7, cache=cache)  # is used
    unused(third, 20)
    sizes = second.stat().st_size + third.stat().st_size
    monkeypatch.setattr(token_cache, "MAX_BYTES", sizes)
    fourth = make(5)
    assert {*files(cache)} == {second, fourth}


def test_the_default_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path))
    assert TokenCache.default().folder == tmp_path / "tokenized"


def test_files_hold_no_text(vocabulary: Path, cache: TokenCache) -> None:
    make_features(examples(), CountingTokenizer(vocabulary), 9, cache=cache)
    (path,) = files(cache)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header.keys() == {"__metadata__", "input_ids", "lengths", "token_type_ids"}
    assert header["__metadata__"].keys() == {"sha256"}
    assert np.all(np.array(header["lengths"]["shape"]) == 4)
