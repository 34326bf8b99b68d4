"""Word by word, a text falls into the pieces into which it falls as a whole."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from paddlenlp_ext.tokenizers import segmentation
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.segmentation import WordCache, Words
from tests.tokenizers.conftest import VOCABULARY

PARTS = (" ", "~", "  ", "\t", "\n", "\u3000", "\u00a0", "\u0301", "\u200d", "\ufffd", "\0", "\x1c")
WORDS = ("want", "UNwantéd", "ΟΔΟΣ", "σ", "İ", "博推", "don't", "runn", "ing,", "##ing", "a" * 101)
ADDED = (
    AddedToken("<left>", lstrip=True),
    AddedToken("<right>", rstrip=True),
    AddedToken("word", single_word=True),
    AddedToken("Norm", normalized=True),
    AddedToken("norm", normalized=False),
)
TEXTS = st.lists(
    st.one_of(
        st.sampled_from((*PARTS, *WORDS, "[MASK]", "[SEP]", *(token.content for token in ADDED))),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)


@pytest.fixture(scope="module", params=["lower", "cased", "raw"])
def tokenizer(request, tmp_path_factory) -> BertTokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join([*VOCABULARY, "~", "##~"]), encoding="utf-8")
    made = BertTokenizer(
        path,
        do_lower_case=request.param == "lower",
        do_basic_tokenize=request.param != "raw",
    )
    made.add_tokens(list(ADDED))
    return made


@settings(max_examples=400, deadline=None)
@given(texts=st.lists(TEXTS, max_size=4))
def test_ids_are_those_of_whole_texts(tokenizer, texts):
    whole = tokenizer(texts, return_offsets_mapping=True)  # which needs the text as a whole
    # Words that come again are cut one by one, then they are known.
    assert [tokenizer(texts).input_ids for _ in range(3)] == [whole.input_ids] * 3


def test_tokens_with_spaces_are_kept_whole(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert len(again.tokenize("want to runn")) > 1
    again.add_tokens("want to runn")
    assert again.tokenize("x want to runn")[-1] == "want to runn"


def test_tokens_that_are_added_later_are_found(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    before = again.tokenize("later")
    again.add_tokens("later")
    assert before != again.tokenize("later") == ["later"]


def test_words_are_cut_in_groups(tokenizer, monkeypatch):
    again = pickle.loads(pickle.dumps(tokenizer))
    monkeypatch.setattr(segmentation, "NEW", 1.0)
    encode, cut = again.segmenter._encode, []

    def spy(texts: list[str]) -> list[list[int]]:
        cut.extend([len(texts)] if texts != ["~"] else [])
        return encode(texts)

    monkeypatch.setattr(again.segmenter, "_encode", spy)
    words = [f"want{number}" for number in range(3 * segmentation.GROUP)]
    for texts, calls in ((words, [3]), (words, []), (["a~b want", "low ~"], [1, 4])):
        cut.clear()
        expected = again(texts, return_offsets_mapping=True).input_ids
        assert again(texts).input_ids == expected
        assert cut == calls  # a group with a mark is cut again, word by word


def _cut_words(words: list[str]) -> dict[str, list[int]]:
    return {word: [len(word)] * 2 for word in words}


def _cut_texts(texts: list[str]) -> list[list[int]]:
    return [[n for word in text.split(" ") for n in [len(word)] * 2] for text in texts]


def test_each_word_is_cut_once():
    cut: list[str] = []

    def cut_words(words: list[str]) -> dict[str, list[int]]:
        cut.extend(sorted(words))
        return _cut_words(words)

    def cut_again(*texts: str) -> list[list[int]]:
        return cache.cut(list(texts), cut_words, _cut_texts)

    cache = WordCache(Words())
    assert cut_again("ab c") == [[2, 2, 1, 1]]
    assert not cut  # all words are new, so the text was cut whole
    for _ in range(2):
        assert cut_again("ab c", "c ab c", "") == [[2, 2, 1, 1], [1, 1, 2, 2, 1, 1], [0, 0]]
        assert cut == ["", "ab", "c"]
    assert cut_again("abc ab", "ab") == [[3, 3, 2, 2], [2, 2]]
    assert cut == ["", "ab", "c", "abc"]
    long = "x" * (segmentation.LONGEST + 1)
    assert cut_again(f"{long} ab") == cut_again(f"{long} ab") == [[33, 33, 2, 2]]
    assert cut.count(long) == 2
    pickle.loads(pickle.dumps(cache)).cut(["ab ab"], cut_words, _cut_texts)
    assert cut.count("ab") == 2


@pytest.mark.parametrize("repeats", [1, 3])  # cut whole, word by word
def test_it_does_not_grow_without_bound(monkeypatch, repeats):
    monkeypatch.setattr(segmentation, "MOST", 100)
    cache = WordCache(Words())
    for start in range(0, 1000, 30):
        texts = [" ".join([str(number)] * repeats) for number in range(start, start + 30)]
        assert cache.cut(texts, _cut_words, _cut_texts) == _cut_texts(texts)
        assert len(cache._kept) + len(cache._met) <= 130
        assert bool(cache._kept) == (repeats == 3)
