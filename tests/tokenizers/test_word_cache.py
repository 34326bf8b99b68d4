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

PARTS = (" ", "  ", "\t", "\n", "\u3000", "\u00a0", "\u0301", "\u200d", "\ufffd", "\0", "\x1c")
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
    path.write_text("\n".join(VOCABULARY), encoding="utf-8")
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
    assert tokenizer(texts).input_ids == whole.input_ids


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


def test_each_word_is_cut_once():
    cut: list[str] = []

    def segment(words: list[str]) -> list[list[int]]:
        cut.extend(sorted(words))
        return [[len(word)] * 2 for word in words]

    cache = WordCache(Words())
    assert cache.cut(["ab c", "c ab c", ""], segment) == [[2, 2, 1, 1], [1, 1, 2, 2, 1, 1], [0, 0]]
    assert cache.cut(["abc ab", "ab"], segment) == [[3, 3, 2, 2], [2, 2]]
    assert cut == ["", "ab", "c", "abc"]
    long = "x" * (segmentation.LONGEST + 1)
    assert cache.cut([long], segment) == cache.cut([long], segment)
    assert cut.count(long) == 2
    pickle.loads(pickle.dumps(cache)).cut(["ab"], segment)
    assert cut.count("ab") == 2


def test_it_does_not_grow_without_bound(monkeypatch):
    monkeypatch.setattr(segmentation, "MOST", 100)
    cache = WordCache(Words())
    for start in range(0, 1000, 30):
        texts = [str(number) for number in range(start, start + 30)]
        assert cache.cut(texts, lambda words: [[int(word)] for word in words]) == [
            [int(text)] for text in texts
        ]
        assert len(cache._kept) <= 130
