"""Tokens keep the text that they stand for, pairs of word lists are pairs, and limits hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer
from paddlenlp_ext.tokenizers.xlm_r import XLMRobertaTokenizer
from tests.tokenizers.conftest import VOCABULARY
from tests.tokenizers.spm_models import REMBERT, ernie_m_folder, train

FAMILIES = ("bert", "rembert", "ernie_m", "xlm_r")


@pytest.fixture(scope="module")
def families(tmp_path_factory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    vocabulary: Path = folder / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY), "utf-8")
    return {
        "bert": BertTokenizer(vocabulary),
        "rembert": RemBertTokenizer(train(folder / "rembert.model", **REMBERT)),
        "ernie_m": ErnieMTokenizer.from_pretrained(ernie_m_folder(folder / "ernie_m")),
        "xlm_r": XLMRobertaTokenizer(train(folder / "xlm_r.model")),
    }


@pytest.mark.parametrize("family", ["rembert", "ernie_m", "xlm_r"])
@pytest.mark.parametrize("text", ["龘", "the 🙂 fox", "ⅷ𝔊 quick ☃☃", "ฒฬ the cat"])
def test_tokens_of_unknown_pieces_are_their_text(families, family, text):
    tokenizer = families[family]
    tokens = tokenizer.tokenize(text)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.unk_token_id in ids
    assert tokenizer.unk_token not in tokens
    assert tokenizer.convert_tokens_to_ids(tokens) == ids
    assert tokenizer(text, add_special_tokens=False).tokens() == tokens
    normal = {"ⅷ": "viii", "𝔊": "G"}
    wanted = "".join(normal.get(letter, letter) for letter in text)
    assert tokenizer.convert_tokens_to_string(tokens).strip() == wanted


def test_special_tokens_and_padding_stand_among_tokens(families):
    for family in FAMILIES:
        tokenizer = families[family]
        ends = (tokenizer.cls_token, tokenizer.sep_token)
        tokens = tokenizer.tokenize("寺", add_special_tokens=True)
        assert (tokens[0], tokens[-1]) == ends
        made = tokenizer(["a a a", "a"], padding=True)
        assert made.tokens(1)[-1] == tokenizer.pad_token
        assert [len(made.tokens(row)) for row in (0, 1)] == [len(row) for row in made.input_ids]


PAIRS = [
    [(["hello", "you"], ["a", "b"])],
    [[["a"], ["how", "are", "you"]], [["b", "c"], ["hello"]], [["a"], []]],
    [(("a", "b"), ("c",)), (("hello",), ("a", "b"))],
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pairs", PAIRS)
def test_pairs_of_word_lists_are_pairs(families, family, pairs):
    tokenizer = families[family]
    made = tokenizer(pairs, is_split_into_words=True, return_token_type_ids=True)
    first, second = ([list(pair[side]) for pair in pairs] for side in (0, 1))
    wanted = tokenizer(first, second, is_split_into_words=True, return_token_type_ids=True)
    assert made == wanted
    assert made.sequence_ids().count(1) == wanted.sequence_ids().count(1) > 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "wrong",
    [
        [(["a"], ["b"]), ["a", "b", "c"]],
        [(["a"], ["b"], ["c"])],
        [(["a"], "b")],
        [(["a"], ["b"]), "a"],
        [(["a"], [5])],
        [["a", 5]],
        [["a"], [["b"], ["c"]]],
        [5],
    ],
)
def test_what_is_neither_is_one_line(families, family, wrong):
    with pytest.raises(ValueError, match=r"sample \d|text \d|expected"):
        families[family](wrong, is_split_into_words=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_rounding_up_does_not_pass_the_limit(families, family):
    tokenizer = families[family]
    long, short = "a " * 50, "a"
    for text in (long, short, [long, short]):
        for padding in (True, "longest", "max_length"):
            options = {"padding": padding, "truncation": True, "max_length": 12}
            with pytest.raises(ValueError, match=r"pad_to_multiple_of=8 .*max_length"):
                tokenizer(text, pad_to_multiple_of=8, **options)
            rows = tokenizer([long, short], pad_to_multiple_of=4, **options).input_ids
            assert {len(row) for row in rows} <= {4, 8, 12}
    with pytest.raises(ValueError, match="pad_to_multiple_of=7"):
        tokenizer(short, padding="max_length", max_length=12, pad_to_multiple_of=7)
    assert len(tokenizer(short, padding=True, pad_to_multiple_of=24).input_ids) == 24


def test_nor_that_of_the_model(families):
    tokenizer = families["bert"]
    tokenizer.model_max_length = 512
    try:
        for multiple in (24, 511, 513, 1000):
            with pytest.raises(ValueError, match=f"pad_to_multiple_of={multiple}"):
                tokenizer("a " * 600, padding=True, truncation=True, pad_to_multiple_of=multiple)
        rows = {"input_ids": [[4] * 510, [4]]}
        with pytest.raises(ValueError, match="pad_to_multiple_of=24"):
            tokenizer.pad(rows, pad_to_multiple_of=24)
        assert len(tokenizer.pad(rows, pad_to_multiple_of=64)["input_ids"][1]) == 512
    finally:
        tokenizer.model_max_length = int(1e30)
