"""Tokenizers with PaddleNLP's defaults; what is expected is what PaddleNLP 2.8.1 answers."""

import json
import logging
from pathlib import Path

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.paddlenlp.transformers import tokenizers as room
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    AutoTokenizer,
    BasicTokenizer,
    BertTokenizer,
    ErnieMTokenizer,
    RemBertTokenizer,
    WordpieceTokenizer,
)
from tests.tokenizers.conftest import VOCABULARY
from tests.tokenizers.spm_models import REMBERT, ernie_m_folder, train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bert"
    path.mkdir()
    (path / "vocab.txt").write_text("".join(f"{line}\n" for line in VOCABULARY), "utf-8")
    return path


@pytest.fixture
def tokenizer(folder: Path) -> BertTokenizer:
    return BertTokenizer.from_pretrained(folder)


def test_a_row_has_no_attention_mask_unless_it_is_asked_for(tokenizer: BertTokenizer) -> None:
    one = tokenizer("hello unwanted")
    assert one == {"input_ids": [1, 24, 9, 6, 7, 2], "token_type_ids": [0] * 6}
    assert tokenizer.encode("hello unwanted") == one
    assert tokenizer.encode("hello unwanted")["input_ids"] == one["input_ids"]
    assert tokenizer.encode(tokenizer.tokenize("hello unwanted")) == one
    masked = tokenizer("a", return_attention_mask=True, return_length=True)
    assert (masked["attention_mask"], masked["length"], masked["seq_len"]) == ([1, 1, 1], 3, 3)
    batch = tokenizer.batch_encode([("a b", "c"), ("c", "a")], padding=True)
    assert batch["token_type_ids"] == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]
    assert tokenizer("a", "b", add_special_tokens=False)["token_type_ids"] == [0, 0]
    assert tokenizer.prepare_for_model([24, 9, 6, 7]) == one
    arrays = tokenizer("a", return_tensors="np")
    assert arrays["input_ids"].tolist() == [[1, 35, 2]]


def test_older_ways_to_limit_a_row(tokenizer: BertTokenizer) -> None:
    text = "a b c a b c"
    assert tokenizer(text, None, 5)["input_ids"] == [1, 35, 36, 37, 2]
    assert tokenizer(text, max_seq_len=5) == tokenizer(text, max_length=5)
    padded = tokenizer([text, "a"], max_seq_len=4, pad_to_max_seq_len=True)
    assert padded["input_ids"] == [[1, 35, 36, 2], [1, 35, 2, 3]]
    assert tokenizer([text, "a"], pad_to_max_seq_len=True) == tokenizer([text, "a"], padding=True)
    first = tokenizer(text, "a b", max_length=7, truncation_strategy="only_first")
    assert first["input_ids"] == [1, 35, 36, 2, 35, 36, 2]
    assert len(tokenizer(text, max_length=5, padding=True)["input_ids"]) == 8  # not cut there
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_len'"):
        tokenizer(text, max_len=5)


def test_rows_as_a_list_of_dicts(tokenizer: BertTokenizer) -> None:
    rows = tokenizer(["a", "a b"], return_dict=False)
    assert rows == [dict(tokenizer("a")), dict(tokenizer("a b"))]
    assert tokenizer("a", return_dict=False) == tokenizer("a")


@pytest.mark.parametrize("side", ["right", "left"])
def test_what_is_cut_off_is_a_column(tokenizer: BertTokenizer, side: str) -> None:
    tokenizer.truncation_side = side
    cut = tokenizer(
        "a b c a b", max_length=5, truncation=True, stride=1, return_overflowing_tokens=True
    )
    kept, lost = ([35, 36, 37], [37, 35, 36]) if side == "right" else ([37, 35, 36], [35, 36, 37])
    assert cut["input_ids"] == [1, *kept, 2]
    assert (cut["overflowing_tokens"], cut["num_truncated_tokens"]) == (lost, 2)
    batch = tokenizer(
        ["a", "a b c a"], max_length=4, truncation=True, return_overflowing_tokens=True
    )
    assert batch["num_truncated_tokens"] == [-1, 2]
    assert batch["overflowing_tokens"] == [[], [37, 35] if side == "right" else [35, 36]]
    pair = {"max_length": 8, "return_overflowing_tokens": True}
    second = tokenizer("a b", "c a b c", truncation="only_second", **pair)
    assert second["overflowing_tokens"] == [37]
    ids = tokenizer.prepare_for_model([35, 36, 37], max_length=4, return_overflowing_tokens=True)
    assert ids["overflowing_tokens"] == ([37] if side == "right" else [35])
    with pytest.raises(ValueError, match=r"^Not possible to return overflowing tokens for pair"):
        tokenizer("a b", "c a b c", truncation=True, **pair)


def test_a_stride_makes_windows_of_second_texts(tokenizer: BertTokenizer) -> None:
    encoding = tokenizer(
        ["a", "a b"],
        ["c a b c a", "c"],
        max_length=7,
        stride=2,
        padding="max_length",
        return_attention_mask=True,
        return_special_tokens_mask=True,
    )
    assert encoding["overflow_to_sample"] == [0, 0, 1]
    assert encoding["input_ids"] == [
        [1, 35, 2, 37, 35, 36, 2],
        [1, 35, 2, 36, 37, 35, 2],
        [1, 35, 36, 2, 37, 2, 3],
    ]
    assert encoding["token_type_ids"][1] == [0, 0, 0, 1, 1, 1, 1]
    assert encoding["attention_mask"][2] == [1, 1, 1, 1, 1, 1, 0]
    assert encoding["special_tokens_mask"][2] == [1, 0, 0, 1, 0, 1, 1]
    assert encoding["offset_mapping"][1] == [(0, 0), (0, 1), (0, 0), (4, 5), (6, 7), (8, 9), (0, 0)]
    rows = tokenizer(["a"], ["c a b c a"], max_length=7, stride=9, return_dict=False)
    assert [row["input_ids"][3:-1] for row in rows] == [[37, 35, 36], [37, 35]]
    assert tokenizer(["a"], [""], max_length=7, stride=2)["input_ids"] == [[1, 35, 2, 2]]
    bare = tokenizer(["a"], ["c a"], max_length=9, stride=2, add_special_tokens=False)
    assert (bare["input_ids"], bare["token_type_ids"]) == ([[35, 37, 35]], [[0, 0, 0]])
    with pytest.raises(UserError, match="max_length=5 has no room for a second segment beside"):
        tokenizer(["a b"], ["c"], max_length=5, stride=2)


def test_text_of_tokens(tokenizer: BertTokenizer) -> None:
    ids = tokenizer.encode("a, unwanted!", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == "a, unwanted!"
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == "a , unwanted !"
    assert tokenizer.convert_tokens_to_string(tokenizer.tokenize("a, b")) == "a , b"
    assert tokenizer.convert_ids_to_string(ids) == "a , unwanted !"
    assert tokenizer.convert_tokens_to_ids(None) is None
    assert tokenizer.convert_tokens_to_ids(["a", "zebra"]) == [35, 0]
    framed = tokenizer.build_offset_mapping_with_special_tokens([(0, 1)], [(2, 3)])
    assert framed == [(0, 0), (0, 1), (0, 0), (2, 3), (0, 0)]


def test_unknown_arguments_of_from_pretrained_are_kept(folder: Path, tmp_path: Path) -> None:
    made = BertTokenizer.from_pretrained(folder, of_mine=7, use_fast=True, max_len=9)
    assert (made.init_kwargs["of_mine"], made.model_max_length, made.is_fast) == (7, 9, False)
    made.save_pretrained(tmp_path / "saved")
    assert BertTokenizer.from_pretrained(tmp_path / "saved").init_kwargs["of_mine"] == 7


def test_length_is_warned_of_by_the_logger_of_that_name(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = BertTokenizer.from_pretrained(folder, model_max_length=4)
    with caplog.at_level(logging.WARNING, "PaddleNLP"):
        tokenizer("a b c", "a")
    assert [record.name for record in caplog.records] == ["PaddleNLP"]
    assert caplog.messages[0].startswith("Token indices sequence length is longer than")


def test_auto_chooses_among_the_classes_here(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ErnieFastTokenizer"}')
    made = AutoTokenizer.from_pretrained(folder, of_mine=7)
    assert type(made) is room.ErnieTokenizer is room.ErnieFastTokenizer
    made.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert saved["tokenizer_class"] == "ErnieTokenizer"


def test_ernie_m_has_the_ids_of_paddlenlp(tmp_path: Path) -> None:
    made = ErnieMTokenizer.from_pretrained(ernie_m_folder(tmp_path / "ernie_m"))
    assert made.drop_lone_space
    assert list(made("the cat")) == ["input_ids"]
    assert set(made.resource_files_names) == {"vocab_file", "sentencepiece_model_file"}
    kept = ErnieMTokenizer.from_pretrained(tmp_path / "ernie_m", drop_lone_space=False)
    assert "▁" in kept.tokenize("the cat")
    assert made.tokenize("the cat") == [part for part in kept.tokenize("the cat") if part != "▁"]


def test_rembert_closes_up_punctuation(tmp_path: Path) -> None:
    made = RemBertTokenizer(train(tmp_path / "sentencepiece.model", **REMBERT))
    ids = made.convert_tokens_to_ids(["▁cat", "▁", ",", "▁born"])
    assert " ," not in made.decode(ids)
    assert " ," in made.decode(ids, clean_up_tokenization_spaces=False)


def test_tables_by_preset() -> None:
    files = BertTokenizer.pretrained_resource_files_map
    assert BertTokenizer.resource_files_names == {"vocab_file": "vocab.txt"}
    assert files["vocab_file"]["bert-base-uncased"].endswith("bert-base-uncased-vocab.txt")
    assert BertTokenizer.max_model_input_sizes["bert-base-uncased"] == 512
    assert BertTokenizer.pretrained_init_configuration["bert-base-cased"]["do_lower_case"] is False
    assert "ernie-1.0" not in files["vocab_file"]
    assert files["vocab_file"].keys() == BertTokenizer.max_model_input_sizes.keys()
    assert "rembert" in RemBertTokenizer.pretrained_resource_files_map["vocab_file"]


def test_words_of_a_text() -> None:
    lower = BasicTokenizer()
    assert lower.tokenize(" \tHéLLo!how  \n Are yoU博推?  ") == [
        *("hello", "!", "how", "are", "you", "博", "推", "?")
    ]
    assert BasicTokenizer(strip_accents=False).tokenize("HäLLo") == ["hällo"]
    assert BasicTokenizer(do_lower_case=False, strip_accents=True).tokenize("HäLLo") == ["HaLLo"]
    assert BasicTokenizer(tokenize_chinese_chars=False).tokenize("博推 a") == ["博推", "a"]
    kept = BasicTokenizer(never_split=["[UNK]"])
    assert kept.tokenize("A [UNK] [PAD] B", never_split=["B"]) == [
        *("a", "[UNK]", "[", "pad", "]", "B")
    ]


def test_pieces_of_words(tokenizer: BertTokenizer) -> None:
    for vocabulary in (tokenizer.get_vocab(), tokenizer.vocab, {"un": 0, "##want": 1, "##ed": 2}):
        pieces = WordpieceTokenizer(vocabulary, "[UNK]", max_input_chars_per_word=9)
        assert pieces.tokenize("") == []
        assert pieces.tokenize("unwanted unwantedX") == ["un", "##want", "##ed", "[UNK]"]
        assert pieces.tokenize("unwantedun un") == ["[UNK]", "un"]  # ten characters


def test_kinds_of_characters() -> None:
    assert all(map(room._is_whitespace, " \t\n\r\u00a0"))
    assert not any(map(room._is_whitespace, "A-"))
    assert room._is_control("\u0005")
    assert not any(map(room._is_control, "A \t\r"))
    assert all(map(room._is_punctuation, "-$`.。"))
    assert not any(map(room._is_punctuation, "A 7"))
    assert room.whitespace_tokenize(" a  b ") == ["a", "b"]
    assert room.convert_to_unicode(b"h\xc3\xa9\xff") == "hé"
