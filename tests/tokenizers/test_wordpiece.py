"""WordPiece: the cases that BERT, transformers and PaddleNLP publish, and vocabulary files."""

import pickle
from pathlib import Path

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.bert import (
    BertTokenizer,
    ConvBertTokenizer,
)
from tests.tokenizers.conftest import VOCABULARY, MakeFolder


def test_published_example(tokenizer: BertTokenizer) -> None:
    assert tokenizer.tokenize("UNwantéd,running") == ["un", "##want", "##ed", ",", "runn", "##ing"]
    ids = tokenizer("UNwantéd,running", add_special_tokens=False).input_ids
    assert ids == [9, 6, 7, 12, 10, 11]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("unwanted running", ["un", "##want", "##ed", "runn", "##ing"]),
        ("unwantedX running", ["[UNK]", "runn", "##ing"]),
        ("ah博推zz", ["ah", "博", "推", "zz"]),
        ("a\u0000b\ufffd\u200dc", ["[UNK]"]),  # control characters vanish, so this is "abc"
        ("a\u00a0b\u3000c\td\r\n", ["a", "b", "c", "[UNK]"]),  # all of these are spaces
        ("a" * 101, ["[UNK]"]),
        ("[MASK] [mask]", ["[MASK]", "[UNK]", "[UNK]", "[UNK]"]),
    ],
)
def test_words(tokenizer: BertTokenizer, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens


@pytest.mark.parametrize(
    ("lower", "strip", "word"),
    [
        (True, None, "hallo"),
        (True, True, "hallo"),
        (True, False, "hällo"),
        (False, None, "HäLLo"),
        (False, False, "HäLLo"),
        (False, True, "HaLLo"),
    ],
)
def test_case_and_accents(
    make_folder: MakeFolder, lower: bool, strip: bool | None, word: str
) -> None:
    tokenizer = BertTokenizer.from_pretrained(
        make_folder(), do_lower_case=lower, strip_accents=strip
    )
    assert tokenizer.tokenize(" \tHäLLo!how  \n a yo?  ") == [word, "!", "how", "a", "yo", "?"]


def test_chinese_characters_are_words_unless_switched_off(make_folder: MakeFolder) -> None:
    folder = make_folder()
    assert BertTokenizer.from_pretrained(folder).tokenize("的人有") == ["的", "人", "有"]
    together = BertTokenizer.from_pretrained(folder, tokenize_chinese_chars=False)
    assert together.tokenize("的人有") == ["的", "##人", "##有"]


def test_never_split_keeps_a_token_of_the_vocabulary_as_it_is(make_folder: MakeFolder) -> None:
    folder = make_folder()
    tokenizer = BertTokenizer.from_pretrained(folder, never_split=["HäLLo"])
    assert tokenizer.tokenize("HäLLo häLLo!") == ["HäLLo", "hallo", "!"]
    lacking = BertTokenizer.from_pretrained(folder, never_split=["C++"])
    assert lacking("a C++", add_special_tokens=False).input_ids == [35, 0]


def test_without_the_basic_step_words_end_at_spaces_only(make_folder: MakeFolder) -> None:
    tokenizer = BertTokenizer.from_pretrained(make_folder(), do_basic_tokenize=False)
    assert tokenizer.tokenize("hällo, HäLLo a") == ["[UNK]", "HäLLo", "a"]


def test_repeated_lines_keep_their_ids_and_the_last_one_wins(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    lines = list(VOCABULARY)
    lines[6] = lines[8] = "hello"  # line 24 is "hello" too
    tokenizer = ConvBertTokenizer.from_pretrained(make_folder(lines))
    assert tokenizer("hello", add_special_tokens=False).input_ids == [24]
    assert tokenizer.convert_ids_to_tokens([6, 8, 24]) == ["hello"] * 3
    assert tokenizer.vocab_size == len(tokenizer) == len(lines)
    assert tokenizer.add_tokens("newword") == 1
    assert tokenizer("newword", add_special_tokens=False).input_ids == [len(lines)]

    tokenizer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved/vocab.txt").read_text("utf-8").split("\n") == [*lines, ""]
    again = ConvBertTokenizer.from_pretrained(tmp_path / "saved")
    assert again("hello newword").input_ids == tokenizer("hello newword").input_ids


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeff" + "\r\n".join(VOCABULARY) + "\r\n"
    (tmp_path / "vocab.txt").write_bytes(text.encode("utf-8"))
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    assert tokenizer.vocab_size == len(VOCABULARY)
    assert tokenizer("hello").input_ids == [1, 24, 2]
    tokenizer.save_vocabulary(tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == "".join(f"{t}\n" for t in VOCABULARY).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected one token a line, got an empty file"),
        (b"[UNK]\n\xff\n", "expected UTF-8, got byte 0xff at position 6"),
        (b"[PAD]\n[CLS]\n", r"expected a line '\[UNK\]'"),
    ],
)
def test_bad_vocabularies_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"vocab\.txt: {message}"):
        BertTokenizer.from_pretrained(tmp_path)


def test_decoding_joins_pieces_and_closes_up_punctuation(tokenizer: BertTokenizer) -> None:
    ids = tokenizer("Hello, unwanted [MASK] you?", "a")["input_ids"]
    assert tokenizer.decode(ids) == "[CLS] hello, unwanted [MASK] you? [SEP] a [SEP]"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hello, unwanted you? a"
    assert tokenizer.batch_decode([[9, 6, 7], [24]]) == ["unwanted", "hello"]
    with pytest.raises(ValueError, match="id 99 is not one of the 39 ids"):
        tokenizer.decode([99])


def test_looking_tokens_up(tokenizer: BertTokenizer) -> None:
    assert tokenizer.convert_tokens_to_ids("low") == 13
    assert tokenizer.convert_tokens_to_ids(["low", "nothing"]) == [13, 0]
    assert tokenizer.convert_ids_to_tokens(13) == "low"
    assert tokenizer.get_vocab() == {token: line for line, token in enumerate(VOCABULARY)}
    ids = (tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert (*ids, tokenizer.pad_token_id, tokenizer.mask_token_id) == (0, 1, 2, 3, 4)


def test_pickled_tokenizers_work(tokenizer: BertTokenizer) -> None:
    tokenizer.add_tokens("newword")
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again("hello newword").input_ids == tokenizer("hello newword").input_ids
