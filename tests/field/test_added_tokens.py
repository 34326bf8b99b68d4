"""Tokens that are kept whole: found where they stand, the same whatever is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer, RemBertTokenizerFast
from paddlenlp_ext.tokenizers.segmentation import no_panic
from paddlenlp_ext.tokenizers.xlm_r import XLMRobertaTokenizer
from tests.tokenizers.spm_models import REMBERT, ernie_m_folder, train

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LINES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]"),
    *("the", "lo", "hello", "slow", "other", "first", "second", "line", "plain", "text"),
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
]
ODD = {
    "line feed": "\n",
    "tab": "\t",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "white space inside": "first\nline",
    "space and line feed": " \n ",
    "space": " ",
    "joiner": "\u200c",
    "soft hyphen": "\u00ad",
    "NUL": "\0",
    "joiner inside": "fir\u200cst",
    "accent alone": "\u0301",
    "accent": "é",
    "capitals": "PLAIN",
    "Chinese": "博推",
    "separator of data": "\x1c",
    "spaced accent": "\u00a8",
    "space inside": "first line",
}
TEXT = (
    "first line second  line plain text PLAIN\u00a0text first\nline\t\u3000fir\u200cst "
    "first \n line "
    "é e\u0301 \u0301 \0 \u00ad 博推 博 推 £ \x1c \u00a8"
)


def vocabulary(folder: Path) -> Path:
    (folder / "vocab.txt").write_text("\n".join(LINES), "utf-8")
    return folder / "vocab.txt"


@pytest.fixture(scope="module")
def families(tmp_path_factory) -> dict[str, Callable[[], Tokenizer]]:
    folder = tmp_path_factory.mktemp("tokenizers")
    lines = vocabulary(folder)
    rembert = train(folder / "rembert.model", **REMBERT)
    ernie_m = ernie_m_folder(folder / "ernie_m")
    xlm_r = train(folder / "xlm_r.model")
    return {
        "bert": lambda: BertTokenizer(lines),
        "cased": lambda: BertTokenizer(lines, do_lower_case=False),
        "raw": lambda: BertTokenizer(lines, do_basic_tokenize=False),
        "rembert": lambda: RemBertTokenizer(rembert),
        "ernie_m": lambda: ErnieMTokenizer.from_pretrained(ernie_m, do_lower_case=True),
        "xlm_r": lambda: XLMRobertaTokenizer(xlm_r),
    }


FAMILIES = pytest.mark.parametrize(
    "family", ["bert", "cased", "raw", "rembert", "ernie_m", "xlm_r"]
)


@pytest.fixture
def lines(tmp_path) -> Path:
    return vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("never_split", "text", "tokens"),
    [
        (["lo", "the"], "hello slow other lo", ["hello", "slow", "other", "lo"]),
        (["the", "o"], "other o, (the)", ["other", "o", "[UNK]", "[UNK]", "the", "[UNK]"]),
        (["[unused0]"], "。[unused0]", ["[UNK]", "[unused0]"]),
        (["text", "plain"], "xtext", ["x", "##t", "##e", "##x", "##t"]),
    ],
)
def test_protected_words_are_whole_words(lines, never_split, text, tokens):
    tokenizer = BertTokenizer(lines, never_split=never_split)
    assert tokenizer.tokenize(text) == tokens
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.convert_tokens_to_ids(tokens) == ids


@pytest.mark.parametrize("word", ["C++", "Lo", "e.g.", "nowhere"])
def test_a_protected_word_that_the_vocabulary_lacks_is_unknown(lines, word, tmp_path):
    tokenizer = BertTokenizer(lines, never_split=[word, "lo"])
    ids = tokenizer(f"lo {word} lo", add_special_tokens=False).input_ids
    lo, unknown = tokenizer.convert_tokens_to_ids(["lo", "[UNK]"])
    assert ids == [lo, unknown, lo]
    assert len(tokenizer) == len(LINES)
    assert tokenizer.add_tokens("<new>") == 1
    assert tokenizer("<new>", add_special_tokens=False).input_ids == [len(LINES)]
    assert tokenizer.add_tokens(word) == 1  # from now on it has an id
    assert tokenizer(word, add_special_tokens=False).input_ids == [len(LINES) + 1]
    tokenizer.save_pretrained(tmp_path / "saved")
    again = BertTokenizer.from_pretrained(tmp_path / "saved")
    assert again(f"{word} <new>").input_ids == tokenizer(f"{word} <new>").input_ids


def add(tokenizer: Tokenizer, token: str, way: str) -> None:
    if way == "special":
        tokenizer.add_special_tokens({"additional_special_tokens": [token]})
    elif way == "strips":
        tokenizer.add_tokens([AddedToken(token, lstrip=True, rstrip=True, normalized=True)])
    else:
        tokenizer.add_tokens([token])


@FAMILIES
@pytest.mark.parametrize("way", ["plain", "special", "strips"])
@pytest.mark.parametrize("token", ODD.values(), ids=ODD.keys())
def test_ids_do_not_depend_on_what_is_asked_for(families, family, token, way):
    tokenizer = families[family]()
    tokenizer.add_tokens(["£"])
    add(tokenizer, token, way)
    for text in (TEXT, f"first{token}second", f"first {token} line", token, f"a{token}{token}b"):
        made = tokenizer(text)
        ids = made.input_ids
        assert len(made.tokens()) == len(made.word_ids()) == len(ids)
        assert tokenizer(text, return_offsets_mapping=True).input_ids == ids
        assert tokenizer([text, "a"]).input_ids[0] == ids
        bare = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer(text, "a", add_special_tokens=False).input_ids[: len(bare)] == bare
        assert len(tokenizer.tokenize(text)) == len(bare)
        words = text.split(" ")
        split = tokenizer(words, is_split_into_words=True)
        assert len(split.word_ids()) == len(split.input_ids)
        spans = tokenizer(words, is_split_into_words=True, return_offsets_mapping=True)
        assert spans.input_ids == split.input_ids


@FAMILIES
@pytest.mark.parametrize("token", ["\u200c", "\u00ad", "\0", "\n", "\u3000"])
def test_a_token_of_which_the_normalizer_leaves_nothing_changes_no_other_text(
    families, family, token
):
    tokenizer, plain = families[family](), families[family]()
    add(tokenizer, token, "plain")
    for text in ("plain text", "£", "", "a first line 博"):
        assert tokenizer(text).input_ids == plain(text).input_ids
    assert tokenizer.added_tokens_encoder[token] in tokenizer(f"a{token}b").input_ids


def test_such_a_token_of_a_saved_tokenizer_changes_no_other_text(families, tmp_path):
    plain = families["xlm_r"]()
    plain.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    last = max(content["added_tokens"], key=lambda token: token["id"])
    odd = {**last, "id": len(plain), "content": "\u200b", "normalized": True, "special": False}
    content["added_tokens"].append(odd)
    path.write_text(json.dumps(content), "utf-8")
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer = XLMRobertaTokenizer.from_pretrained(tmp_path)
    for text in ("plain text", "£", "a first line 博"):
        assert tokenizer(text).input_ids == plain(text).input_ids
    assert len(plain) in tokenizer("a\u200bb").input_ids


def test_nothing_is_added_for_empty_tokens(families):
    for make in families.values():
        tokenizer = make()
        assert tokenizer.add_tokens(["", AddedToken("")]) == 0
        assert tokenizer.add_special_tokens({"additional_special_tokens": [""]}) == 0
        assert tokenizer("a").input_ids == make()("a").input_ids


def test_a_panic_of_the_library_is_an_error_of_this_one():
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(UserError, match="cannot work with this tokenizer"), no_panic():
        raise panic("bad split")
    with pytest.raises(KeyboardInterrupt), no_panic():
        raise KeyboardInterrupt


def test_without_the_basic_step_separators_of_data_cut_words(lines):
    tokenizer = BertTokenizer(lines, do_basic_tokenize=False)
    for separator in "\x1c\x1d\x1e\x1f":
        text = f"first{separator}line"
        assert tokenizer.tokenize(text) == ["first", "line"]
        assert tokenizer(text, return_offsets_mapping=True).offset_mapping[1:3] == [(0, 5), (6, 10)]


LISTED = [
    {"5": "[Q]"},
    {"68": "<a>", "70": "<b>"},
    {"70": "<b>", "69": "<a>", "5": "[unused9]"},
    {"12": "<e1>", "100": "Other", "13": "\n"},
]


def described(token: str) -> dict[str, object]:
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    return {"content": token, **flags, "special": True}


@pytest.mark.parametrize("file", ["tokenizer_config.json", "added_tokens.json"])
@pytest.mark.parametrize("listed", LISTED)
def test_added_tokens_have_the_ids_of_their_file(lines, tmp_path, listed, file):
    ids = {token: int(number) for number, token in listed.items()}
    content: dict[str, object] = dict(ids)
    if file == "tokenizer_config.json":
        content = {"added_tokens_decoder": {n: described(t) for n, t in listed.items()}}
    (tmp_path / file).write_text(json.dumps(content), "utf-8")
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = BertTokenizer.from_pretrained(tmp_path / "saved")
    (tmp_path / "saved/tokenizer_config.json").unlink()  # as an older library reads it
    older = BertTokenizer.from_pretrained(tmp_path / "saved")
    for made in (tokenizer, again, older):
        assert len(made) == max(len(LINES), *(number + 1 for number in ids.values()))
        assert len(made.convert_ids_to_tokens(range(len(made)))) == len(made)
        for token, number in ids.items():
            assert made.convert_tokens_to_ids(token) == number
            assert made.convert_ids_to_tokens(number) == token
            for options in ({}, {"return_offsets_mapping": True}):
                row = made(f"the{token}lo", add_special_tokens=False, **options).input_ids
                assert row == [6, number, 7]
            assert made.tokenize(f"the{token}lo") == ["the", token, "lo"]
    size = len(tokenizer)
    assert tokenizer.add_tokens(["<new>", *ids]) == 1
    assert tokenizer("<new>", add_special_tokens=False).input_ids == [size]


def test_a_line_that_another_token_replaced_gets_an_id_of_its_own(lines, tmp_path):
    tokenizer = BertTokenizer(lines, added={5: AddedToken("[Q]")})
    assert tokenizer.add_tokens("[unused0]") == 1
    row = tokenizer("[unused0] [Q]", add_special_tokens=False).input_ids
    assert row == [len(LINES), 5]


@pytest.mark.parametrize("family", ["rembert", "ernie_m", "xlm_r"])
def test_added_tokens_of_sentencepiece_models_have_ids_of_their_own(families, family, tmp_path):
    tokenizer = families[family]()
    tokenizer.save_pretrained(tmp_path)
    size = len(tokenizer)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8"))
    config["added_tokens_decoder"] |= {str(size + 3): described("<b>"), "7": described("<a>")}
    path.write_text(json.dumps(config), "utf-8")
    again = type(tokenizer).from_pretrained(tmp_path)
    for _ in range(2):
        assert len(again) == size + 4
        made = again("<a><b>", add_special_tokens=False)
        assert made.input_ids == [7, size + 3]
        assert made.tokens() == ["<a>", "<b>"]
        again.save_pretrained(tmp_path / "saved")
        again = type(tokenizer).from_pretrained(tmp_path / "saved")


def test_the_conversion_has_these_ids_too(tmp_path):
    model = train(tmp_path / "rembert.model", **REMBERT)
    size = len(RemBertTokenizer(model))
    added = {size + 3: AddedToken("<b>"), size - 5: AddedToken("<a>")}
    tokenizer = RemBertTokenizerFast(model, added=added)
    text = "the quick<a> brown<b>fox"
    row = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert row == tokenizer(text, add_special_tokens=False).input_ids
    assert added.keys() < set(row)


def test_two_tokens_of_one_id_and_ids_without_end_are_refused(lines, tmp_path):
    for listed, what in (({"<a>": 70, "<b>": 70}, "two tokens"), ({"<a>": 10**8}, "its id")):
        (tmp_path / "added_tokens.json").write_text(json.dumps(listed), "utf-8")
        with pytest.raises(UserError, match=what):
            BertTokenizer.from_pretrained(tmp_path)


def test_many_added_tokens_take_time_in_proportion(families):
    for family in ("bert", "rembert"):
        tokenizer = families[family]()
        began = time.monotonic()
        type(tokenizer.special)(
            tokenizer.segmenter,
            tokenizer.special.roles,
            added={len(tokenizer) + n: AddedToken(f"<{n}>") for n in range(5_000)},
        )
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("spans", [False, True], ids=["ids", "offsets"])
@pytest.mark.parametrize("family", ["bert", "rembert", "ernie_m", "xlm_r"])
def test_texts_with_some_of_many_added_tokens_take_time_in_proportion(families, family, spans):
    tokenizer = families[family]()
    tokenizer.add_tokens([f"<w{n}>" for n in range(20_000)])
    began = time.monotonic()
    for words in (500, 5_000):
        text = f"the <w19999>text <w7>{'<w slow ' * words}<w12345> <W8"
        ids = tokenizer([text], return_offsets_mapping=spans)["input_ids"][0]
        expected = tokenizer.convert_tokens_to_ids(["<w19999>", "<w7>", "<w12345>"])
        assert [number for number in ids if number in expected] == expected
    assert time.monotonic() - began < 10  # with a group for each token it takes minutes


@pytest.mark.parametrize("lower", [False, True])
def test_of_tokens_alike_the_longest_and_then_the_first_that_fits_is_found(tmp_path, lower):
    train(tmp_path / "spiece.model", **REMBERT)
    tokenizer = RemBertTokenizer(tmp_path / "spiece.model", do_lower_case=lower)
    alone = AddedToken("ab", single_word=True, normalized=False)
    tokens = [alone, AddedToken("AB", rstrip=True), AddedToken("aB", lstrip=True), "abc", "ß"]
    tokenizer.add_tokens(tokens)
    texts = ["ab", "xabx", "x  AB  y", "x  aB  y", "abc", "ABC", "ß", "SS"]
    added = [
        [token for token in tokenizer.tokenize(text) if token in ("ab", "AB", "aB", "abc", "ß")]
        for text in texts
    ]
    if lower:
        assert added == [["ab"], ["AB"], ["AB"], ["AB"], ["abc"], ["abc"], ["ß"], []]
    else:
        assert added == [["ab"], [], ["AB"], ["aB"], ["abc"], ["AB"], ["ß"], []]
