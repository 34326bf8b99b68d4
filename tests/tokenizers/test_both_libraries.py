"""What users of PaddleNLP and transformers call besides the call itself."""

import logging
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer
from tests.tokenizers.conftest import MakeFolder
from tests.tokenizers.spm_models import REMBERT, ernie_m_folder, train


@pytest.fixture(scope="module")
def rembert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("rembert") / "sentencepiece.model", **REMBERT)


def test_ways_to_call_are_the_call(tokenizer: BertTokenizer) -> None:
    texts, pairs = ["a b", "unwanted"], [("a b", "c"), ("c", "a")]
    one = tokenizer("a b c", "c", max_length=5)
    assert tokenizer("a b c", "c", 5) == one
    assert tokenizer.encode_plus("a b c", "c", max_length=5) == one
    assert tokenizer.encode_plus("a b c", "c", True, False, True, 5) == one
    assert tokenizer.encode("a b c", "c", max_length=5) == one.input_ids
    for call in (tokenizer.batch_encode, tokenizer.batch_encode_plus):
        assert call(texts, padding=True) == tokenizer(texts, padding=True)
        assert call(pairs) == tokenizer(pairs)
        assert call([["a", "b"]], is_split_into_words=True).input_ids == [[1, 35, 36, 2]]
    assert tokenizer.batch_encode(["a b c"], 4, 1, return_overflowing_tokens=True).input_ids == [
        [1, 35, 36, 2],
        [1, 36, 37, 2],
    ]
    assert tokenizer.batch_encode_plus(texts, False).input_ids == [[35, 36], [9, 6, 7]]
    with pytest.raises(ValueError, match="expected a list of texts, got 'a b'"):
        tokenizer.batch_encode("a b")


def test_one_text_may_be_its_tokens_or_ids(tokenizer: BertTokenizer) -> None:
    whole = tokenizer("unwanted a", "c")
    first, second = tokenizer.tokenize("unwanted a"), [37]
    assert tokenizer.encode_plus(first, second) == whole
    assert tokenizer.encode_plus([9, 6, 7, 35], "c") == whole
    assert tokenizer.encode(["a", "b"]) == [1, 35, 36, 2]
    assert tokenizer.encode(["a", "b, c"], is_split_into_words=True) == [1, 35, 36, 12, 37, 2]
    with pytest.raises(ValueError, match="text 0 is no string, got int"):
        tokenizer([9, 6, 7])


@pytest.mark.parametrize("family", ["bert", "ernie_m", "rembert"])
def test_prepare_for_model_makes_the_row_of_a_call(
    family: str, tokenizer: BertTokenizer, tmp_path: Path, rembert: Path
) -> None:
    made: Tokenizer = tokenizer
    if family == "ernie_m":
        made = ErnieMTokenizer.from_pretrained(ernie_m_folder(tmp_path / "ernie_m"))
    elif family == "rembert":
        made = RemBertTokenizer.from_pretrained(rembert.parent)
    first, second = "the quick brown fox", "the cat was born in the sky"
    ids, pair_ids = (made.encode(text, add_special_tokens=False) for text in (first, second))
    options = {"max_length": 20, "return_special_tokens_mask": True, "return_length": True}
    for more in ({}, {"truncation": "only_second"}, {"return_position_ids": True}):
        wanted = made(first, second, **options, **more)
        assert made.prepare_for_model(ids, pair_ids, **options, **more) == wanted
    padded = {"padding": "max_length", "max_length": 30}
    assert made.prepare_for_model(ids, **padded) == made(first, **padded)
    bare = made.prepare_for_model(np.array(ids).tolist(), add_special_tokens=False)
    assert bare.input_ids == ids
    with pytest.raises(ValueError, match="ids have no offsets"):
        made.prepare_for_model(ids, return_offsets_mapping=True)
    with pytest.raises(ValueError, match="does not know its text"):
        bare.tokens()


def test_offsets_alone(tokenizer: BertTokenizer) -> None:
    assert tokenizer.get_offset_mapping("hello unwanted") == [(0, 5), (6, 8), (8, 12), (12, 14)]
    assert tokenizer.get_offset_mapping("a", ["a"]) == [(0, 1)]
    assert tokenizer.get_offset_mapping(None) is None


def test_texts_beyond_the_model_are_warned_of_once(
    make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = BertTokenizer.from_pretrained(make_folder(), model_max_length=6)
    text = "a b c a b c"
    quiet = [{"truncation": True}, {"max_length": 9}, {"max_length": 5}, {"verbose": False}]
    with caplog.at_level(logging.WARNING):
        for options in quiet:
            tokenizer(text, **options)
        tokenizer.tokenize(text)
        tokenizer.get_offset_mapping(text)
        tokenizer("a b c")
        assert not caplog.messages
        tokenizer(["a", text], padding=True)
        tokenizer(text)
    assert caplog.messages == [
        "Token indices sequence length is longer than the specified maximum sequence length for "
        "this model (8 > 6), which has no positions for it; give truncation=True"
    ]


def test_padding_to_no_length_pads_nothing_and_says_so_once(
    tokenizer: BertTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["a", "a b"]
    with caplog.at_level(logging.WARNING):
        assert tokenizer(texts, padding="max_length", verbose=False) == tokenizer(texts)
        assert not caplog.messages
        assert tokenizer(texts, padding="max_length") == tokenizer(texts)
        assert tokenizer.pad(tokenizer(texts), padding="max_length") == tokenizer(texts)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("padding='max_length' pads nothing")
    assert tokenizer(texts, pad_to_max_seq_len=True) == tokenizer(texts, padding=True)
    row = tokenizer("a b c a b c", max_length=4, pad_to_max_seq_len=True)
    assert row.input_ids == [1, 35, 36, 2]
    assert tokenizer("a", max_length=4, pad_to_max_seq_len=True).input_ids == [1, 35, 2, 3]


def test_decode_with_and_without_spaces(tokenizer: BertTokenizer, rembert: Path) -> None:
    ids = tokenizer.encode("how are you ? a , b !", add_special_tokens=False)
    closed = "how are you? a, b!"
    assert tokenizer.decode(ids) == tokenizer.decode(ids, False, True) == closed
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == "how are you ? a , b !"
    assert tokenizer.batch_decode([ids], clean_up_tokenization_spaces=False) == [
        "how are you ? a , b !"
    ]
    spaced = RemBertTokenizer(rembert)
    ids = spaced.convert_tokens_to_ids(["▁cat", "▁", ",", "▁born"])
    assert spaced.decode(ids) == spaced.decode(ids, clean_up_tokenization_spaces=False)
    assert " ," in spaced.decode(ids)
    assert " ," not in spaced.decode(ids, clean_up_tokenization_spaces=True)
    for made in (tokenizer, spaced):
        made.add_tokens(["[ABC]", "GHI IHG"])
        ids = made.encode("[ABC]GHI IHG[ABC]a", add_special_tokens=False)
        assert made.decode(ids) == "[ABC] GHI IHG [ABC] a"
        assert made.decode(ids, spaces_between_special_tokens=False) == "[ABC]GHI IHG[ABC]a"


def test_roles_may_be_assigned_by_id(tokenizer: BertTokenizer) -> None:
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == (None, None)
    for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        setattr(tokenizer, f"{role}_token_id", None)
        assert getattr(tokenizer, f"{role}_token") is None
        assert getattr(tokenizer, f"{role}_token_id") is None
    with pytest.raises(ValueError, match=r"'zebra' is not in the vocabulary, .* no unk_token"):
        tokenizer.convert_tokens_to_ids("zebra")
    with pytest.raises(ValueError, match="a row needs a `cls_token`"):
        tokenizer("a")
    with pytest.raises(ValueError, match="padding needs a `pad_token`"):
        tokenizer(["a", "a b"], add_special_tokens=False, padding=True)
    assert tokenizer("a", add_special_tokens=False).input_ids == [35]
    tokenizer.cls_token_id, tokenizer.sep_token, tokenizer.pad_token_id = 1, "[SEP]", 35
    assert tokenizer.cls_token == "[CLS]"
    assert tokenizer(["a", "a b"], padding=True).input_ids == [[1, 35, 2, 35], [1, 35, 36, 2]]
    tokenizer.additional_special_tokens_ids = [24]
    assert tokenizer.additional_special_tokens == ["hello"]
    assert tokenizer.additional_special_tokens_ids == [24]
    with pytest.raises(ValueError, match="must be a list of tokens, not 'hello'"):
        tokenizer.additional_special_tokens = "hello"
    tokenizer.additional_special_tokens = []
    assert tokenizer.additional_special_tokens_ids == []


def test_the_vocabulary_as_an_attribute(make_folder: MakeFolder) -> None:
    tokenizer = BertTokenizer.from_pretrained(make_folder(["[UNK]", "a", "b", "a", "[PAD]"]))
    tokenizer.add_tokens("new")
    vocab = tokenizer.vocab
    assert (len(vocab), "a" in vocab, "new" in vocab, vocab["a"]) == (5, True, False, 3)
    assert vocab.token_to_idx == {"[UNK]": 0, "b": 2, "a": 3, "[PAD]": 4}
    assert vocab.idx_to_token == ["[UNK]", "a", "b", "a", "[PAD]"]
    assert vocab.to_indices("zebra") == vocab("zebra") == 0
    assert vocab.to_indices(["b", "a"]) == [2, 3]
    assert (vocab.to_tokens(1), vocab.to_tokens(np.array([1, 2]))) == ("a", ["a", "b"])
    assert vocab.get("zebra") is None
    assert dict(vocab) == vocab.token_to_idx
    with pytest.raises(ValueError, match="id 5 is not one of the 5"):
        vocab.to_tokens(5)


def test_what_a_tokenizer_was_made_of(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(do_lower_case=False, of_another_library=7)
    tokenizer = BertTokenizer.from_pretrained(
        folder, model_max_length=9, additional_special_tokens=["hello"], use_fast=True
    )
    wanted = {
        "do_lower_case": False,
        "never_split": None,
        "model_max_length": 9,
        "padding_side": "right",
        "cls_token": "[CLS]",
        "eos_token": None,
        "additional_special_tokens": ["hello"],
        "of_another_library": 7,
    }
    assert wanted.items() <= tokenizer.init_kwargs.items()
    assert tokenizer.name_or_path == str(folder)
    assert (tokenizer.is_fast, tokenizer.pad_token_type_id, tokenizer.init_inputs) == (True, 0, ())
    assert (tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair) == (7, 6)
    tokenizer.add_tokens("new")
    assert tokenizer.get_added_vocab()["new"] == len(tokenizer) - 1
    tokenizer.save_resources(tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()
    tokenizer.save_pretrained(tmp_path, legacy_format=False, push_to_hub=False)
    assert BertTokenizer.from_pretrained(tmp_path).init_kwargs == tokenizer.init_kwargs
    with pytest.raises(UserError, match=r"^push_to_hub=True is not offered; leave it out$"):
        tokenizer.save_pretrained(tmp_path, push_to_hub=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'unknown'"):
        tokenizer.save_pretrained(tmp_path, unknown=1)


def test_special_tokens_that_are_added_by_their_text_stay_special(
    make_folder: MakeFolder, rembert: Path
) -> None:
    for made in (BertTokenizer.from_pretrained(make_folder()), RemBertTokenizer(rembert)):
        made.add_special_tokens({"additional_special_tokens": ["<e>"]})
        made.add_tokens(["<f>"], special_tokens=True)
        text = "a [MASK] <e> <f> b [mask]"
        before = (made(text), made.added_tokens_decoder.copy(), made.decode(made(text).input_ids))
        assert made.add_tokens(["[MASK]", "<e>", "<f>"]) == 0
        assert made.add_tokens("[MASK]") == 0
        after = (made(text), made.added_tokens_decoder, made.decode(made(text).input_ids))
        assert after == before
        made.add_tokens([AddedToken("[MASK]", rstrip=True)])  # which says more than a text does
        assert made.added_tokens_decoder[made.mask_token_id].rstrip


def test_decode_and_tokens_skip_the_same(tokenizer: BertTokenizer) -> None:
    """What plays a role, and what was added as special; also what no longer plays one."""
    tokenizer.add_tokens(["<f>"], special_tokens=True)
    tokenizer.add_tokens([AddedToken("[MASK]", special=False), "<g>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e>"]})
    tokenizer.additional_special_tokens = []
    ids = tokenizer("a [MASK] <e> b <f> <g>").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a b <g>"
    assert tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True) == ["a", "b", "<g>"]
    assert tokenizer.decode(tokenizer.mask_token_id, skip_special_tokens=True) == ""
