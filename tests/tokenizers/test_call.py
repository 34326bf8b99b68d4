"""The call: what goes in, what comes out."""

import pickle
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from tests.tokenizers.conftest import MakeFolder


def test_one_text_gives_plain_lists(tokenizer: BertTokenizer) -> None:
    encoding = tokenizer("hello unwanted")
    assert encoding == {
        "input_ids": [1, 24, 9, 6, 7, 2],
        "token_type_ids": [0] * 6,
        "attention_mask": [1] * 6,
    }
    assert encoding.input_ids is encoding["input_ids"]
    with pytest.raises(AttributeError, match="no column 'labels'"):
        encoding.labels  # noqa: B018
    assert tokenizer.encode("hello unwanted") == encoding.input_ids


def test_pairs_in_all_their_forms(tokenizer: BertTokenizer) -> None:
    pair = tokenizer("a b", "c")
    assert pair.input_ids == [1, 35, 36, 2, 37, 2]
    assert pair.token_type_ids == [0, 0, 0, 0, 1, 1]
    batch = tokenizer(["a b", "c"], ["c", ""])
    assert batch.input_ids == [pair.input_ids, [1, 37, 2, 2]]
    assert tokenizer([("a b", "c"), ("c", "")]) == batch
    bare = tokenizer("a b", "c", add_special_tokens=False)
    assert (bare.input_ids, bare.token_type_ids) == ([35, 36, 37], [0, 0, 1])
    assert tokenizer([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


def test_words_given_by_the_caller(tokenizer: BertTokenizer) -> None:
    words = ["unwanted", "a, b", ""]
    encoding = tokenizer(words, is_split_into_words=True, return_offsets_mapping=True)
    assert encoding.tokens() == ["[CLS]", "un", "##want", "##ed", "a", ",", "b", "[SEP]"]
    assert encoding.word_ids() == [None, 0, 0, 0, 1, 1, 1, None]
    assert encoding.offset_mapping[1:4] == [(0, 2), (2, 6), (6, 8)]
    batch = tokenizer([words, ["c"]], [["a"], ["b", "b"]], is_split_into_words=True)
    assert batch.input_ids[1] == [1, 37, 2, 36, 36, 2]


def test_padding(tokenizer: BertTokenizer) -> None:
    texts = ["a", "a b c"]
    encoding = tokenizer(texts, padding=True, return_special_tokens_mask=True)
    assert encoding.input_ids == [[1, 35, 2, 3, 3], [1, 35, 36, 37, 2]]
    assert encoding.attention_mask[0] == [1, 1, 1, 0, 0]
    assert encoding.special_tokens_mask[0] == [1, 0, 1, 1, 1]
    assert len(tokenizer(texts, padding="max_length", max_length=9).input_ids[0]) == 9
    eights = tokenizer(texts, padding="longest", pad_to_multiple_of=8, return_length=True)
    assert [len(row) for row in eights.input_ids] == [8, 8]
    assert eights.length == [3, 5]  # of the texts, whatever the padding
    tokenizer.padding_side = "left"
    positions = tokenizer(texts, padding=True, return_position_ids=True)
    assert positions.input_ids[0] == [3, 3, 1, 35, 2]
    assert positions.position_ids[0] == [0, 0, 0, 1, 2]


def test_padding_of_encoded_rows(tokenizer: BertTokenizer) -> None:
    texts = ["a", "a b c"]
    padded = tokenizer(texts, padding=True)
    assert tokenizer.pad([tokenizer(text) for text in texts]) == padded
    columns = {"input_ids": tokenizer(texts).input_ids, "label": [0, 1]}
    arrays = tokenizer.pad(columns, return_tensors="np")
    assert arrays.attention_mask.tolist() == padded.attention_mask
    assert arrays.label.tolist() == [0, 1]
    row = tokenizer.pad(tokenizer("a"), padding="max_length", max_length=5)
    assert row.input_ids == [1, 35, 2, 3, 3]


def test_truncation_is_asked_for_in_the_ways_of_both_libraries(make_folder: MakeFolder) -> None:
    tokenizer = BertTokenizer.from_pretrained(make_folder(), model_max_length=6)
    text = "a b c a b c"
    assert len(tokenizer(text).input_ids) == 8
    assert len(tokenizer(text, truncation=True).input_ids) == 6
    assert len(tokenizer(text, max_length=5).input_ids) == 5
    assert len(tokenizer(text, max_seq_len=5, padding="max_length").input_ids) == 5
    assert len(tokenizer(text, max_length=5, padding="max_length").input_ids) == 8
    assert len(tokenizer(text, max_length=5, truncation=False).input_ids) == 8
    tokenizer.truncation_side = "left"
    assert tokenizer(text, max_length=4).input_ids == [1, 36, 37, 2]
    with pytest.raises(UserError, match="max_length=2 has no room for the 3 special tokens"):
        tokenizer("a", "b", max_length=2)


def test_overflow_becomes_rows(tokenizer: BertTokenizer) -> None:
    encoding = tokenizer(
        ["a", "a b c a b"],
        ["b", "c"],
        truncation="only_first",
        max_length=7,
        stride=1,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert encoding.overflow_to_sample_mapping == [0, 1, 1]
    assert encoding.input_ids[1:] == [[1, 35, 36, 37, 2, 37, 2], [1, 37, 35, 36, 2, 37, 2]]
    assert encoding.offset_mapping[2] == [(0, 0), (4, 5), (6, 7), (8, 9), (0, 0), (0, 1), (0, 0)]
    assert encoding.sequence_ids(2) == [None, 0, 0, 0, None, 1, None]
    alone = tokenizer("a b c", max_length=4, return_overflowing_tokens=True)
    assert alone.input_ids == [[1, 35, 36, 2], [1, 37, 2]]


def test_tensors(tokenizer: BertTokenizer) -> None:
    arrays = tokenizer(["a", "a b"], padding=True, return_tensors="np", return_length=True)
    assert arrays.input_ids.dtype == np.int64
    assert arrays.input_ids.shape == (2, 4)
    assert arrays.length.tolist() == [3, 4]
    assert tokenizer("a", return_tensors="np").input_ids.shape == (1, 3)
    with pytest.raises(ValueError, match="rows of input_ids differ in length"):
        tokenizer(["a", "a b"], return_tensors="np")
    with pytest.raises(ValueError, match="expected 'np' or 'pd'"):
        tokenizer("a", return_tensors="pt")


def test_paddle_tensors_hold_what_the_arrays_hold(tokenizer: BertTokenizer) -> None:
    tensors = tokenizer(["a", "a b"], padding=True, return_tensors="pd")
    assert type(tensors.input_ids).__module__.startswith("paddle")
    assert tensors.input_ids.numpy().tolist() == [[1, 35, 2, 3], [1, 35, 36, 2]]
    assert "paddle" in sys.modules


def test_origin_of_tokens(tokenizer: BertTokenizer) -> None:
    encoding = tokenizer(["hello unwanted", "a"], ["b", "yo!"], padding=True)
    assert encoding.word_ids(0) == [None, 0, 1, 1, 1, None, 0, None]
    assert encoding.tokens(1)[-3:] == ["[SEP]", "[PAD]", "[PAD]"]
    assert encoding.char_to_token(0, 9) == 3
    assert encoding.char_to_token(0, 5) is None  # a space
    assert encoding.char_to_token(1, 2, sequence_index=1) == 4
    assert encoding.token_to_chars(0, 3) == (8, 12)
    assert encoding.token_to_chars(0, 0) is None
    assert encoding.token_to_word(0, 4) == 1
    assert encoding.word_to_tokens(0, 1) == (2, 5)
    assert encoding.word_to_tokens(0, 1, sequence_index=1) is None
    copy = pickle.loads(pickle.dumps(encoding))
    assert copy == encoding
    with pytest.raises(ValueError, match="does not know its text"):
        copy.tokens(0)


def test_offsets_are_characters_of_the_text(tokenizer: BertTokenizer) -> None:
    text = " Häl\u0301lo  [MASK]!\U0001f600博a"
    encoding = tokenizer(text, return_offsets_mapping=True)
    parts = [text[start:stop] for start, stop in encoding.offset_mapping[1:-1]]
    assert parts == ["Häl\u0301lo", "[MASK]", "!", "\U0001f600", "博", "a"]


def test_sequences_by_hand(tokenizer: BertTokenizer) -> None:
    a, b = [35, 36], [37]
    pair = tokenizer("a b", "c", return_special_tokens_mask=True)
    assert tokenizer.build_inputs_with_special_tokens(a, b) == pair.input_ids
    assert tokenizer.build_inputs_with_special_tokens(a) == tokenizer("a b").input_ids
    assert tokenizer.create_token_type_ids_from_sequences(a, b) == pair.token_type_ids
    assert tokenizer.get_special_tokens_mask(a, b) == pair.special_tokens_mask
    whole = tokenizer.get_special_tokens_mask(pair.input_ids, already_has_special_tokens=True)
    assert whole == pair.special_tokens_mask
    assert (tokenizer.num_special_tokens_to_add(), tokenizer.num_special_tokens_to_add(True)) == (
        2,
        3,
    )


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((["a", "b"], ["c"]), {}, "one text for each of 2, got 1 texts"),
        ((["a", "b"], "c"), {}, "one text for each of 2, got one text"),
        ((["a", None],), {}, "text 1 is no string, got NoneType"),
        ((7,), {}, "expected a text or a list of texts, got int"),
        (([["a", "b", "c"]],), {}, "sample 0: expected a pair of texts, got 3 items"),
        (("a",), {"padding": "left"}, "padding='left'"),
        (("a",), {"truncation": "first"}, "truncation='first'"),
    ],
)
def test_bad_calls_are_explained(
    tokenizer: BertTokenizer, arguments: tuple[object, ...], options: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizer(*arguments, **options)


# Surrogates are characters that no encoding can write, and Python strings may hold them.
anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@settings(suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
@given(texts=st.lists(anything, min_size=1, max_size=3), seconds=anything)
@example(texts=["a\ud800b \udfff", ""], seconds="\x00\ufffd")
def test_any_text_can_be_encoded(tokenizer: BertTokenizer, texts: list[str], seconds: str) -> None:
    pairs = [seconds] * len(texts)
    encoding = tokenizer(texts, pairs, return_offsets_mapping=True, return_length=True)
    for row, text in enumerate(texts):
        assert len(encoding.input_ids[row]) == encoding.length[row]
        spans = [
            span
            for span, segment in zip(
                encoding.offset_mapping[row], encoding.sequence_ids(row), strict=True
            )
            if segment == 0
        ]
        assert all(0 <= start < stop <= len(text) for start, stop in spans)
        assert spans == sorted(spans)
        tokenizer.decode(encoding.input_ids[row])
    assert tokenizer(texts, pairs).input_ids == encoding.input_ids
    assert tokenizer(texts[0], seconds).input_ids == encoding.input_ids[0]
