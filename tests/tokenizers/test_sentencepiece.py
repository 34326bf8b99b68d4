"""RemBERT's and ERNIE-M's tokenizers on small models trained here."""

import pickle
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.auto import AutoTokenizer, class_of
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer, post_split
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer, RemBertTokenizerFast
from tests.tokenizers import spm_models

TEXT = "This is  a test [MASK] 清水寺 falsé ﬁ½ 가나, 92000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rembert")
    spm_models.train(folder / "sentencepiece.model", **spm_models.REMBERT)
    return folder


@pytest.fixture(scope="module")
def rembert(folder: Path) -> RemBertTokenizer:
    return RemBertTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def ernie_m(tmp_path_factory: pytest.TempPathFactory) -> ErnieMTokenizer:
    folder = spm_models.ernie_m_folder(tmp_path_factory.mktemp("ernie_m"))
    return ErnieMTokenizer.from_pretrained(folder)


def pieces_by_hand(model: Path, text: str) -> list[str]:
    return sentencepiece.SentencePieceProcessor(model_file=str(model)).encode(text, out_type=str)


def test_rembert_rows_are_the_models_ids_in_their_frame(
    rembert: RemBertTokenizer, folder: Path
) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    a, b = "This is falsé.", "the lazy dog"
    first, second = model.encode(a), model.encode(b)
    pair = rembert(a, b, return_special_tokens_mask=True)
    assert pair.input_ids == [2, *first, 3, *second, 3]
    assert pair.token_type_ids == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert pair.input_ids == rembert.build_inputs_with_special_tokens(first, second)
    assert pair.token_type_ids == rembert.create_token_type_ids_from_sequences(first, second)
    assert pair.special_tokens_mask == rembert.get_special_tokens_mask(first, second)
    assert rembert([a, b]).input_ids == [[2, *first, 3], [2, *second, 3]]
    assert (rembert.bos_token_id, rembert.eos_token_id, rembert.mask_token_id) == (2, 3, 4)
    assert rembert.vocab_size == len(rembert) == model.get_piece_size()
    assert rembert.convert_tokens_to_ids(["▁th", "no such piece"]) == [model["▁th"], 1]


def test_special_tokens_in_a_text_stay_whole_and_the_mask_takes_its_space(
    rembert: RemBertTokenizer,
) -> None:
    encoding = rembert("a [MASK] test[SEP]the", return_offsets_mapping=True)
    tokens = encoding.tokens()
    assert tokens[1:3] == ["▁a", "[MASK]"]
    assert encoding.offset_mapping[2] == (2, 8)
    assert encoding.word_ids()[:4] == [None, 0, 1, 2]
    assert tokens.count("[SEP]") == 2
    assert rembert.decode(encoding.input_ids[:3]) == "[CLS] a [MASK]"
    assert rembert.decode(rembert("the lazy dog").input_ids, True) == "the lazy dog"


def test_added_tokens_and_lower_case(folder: Path) -> None:
    tokenizer = RemBertTokenizer.from_pretrained(folder, do_lower_case=True)
    size = tokenizer.vocab_size
    assert tokenizer.add_tokens(["newtok", AddedToken("ab", single_word=True), "the"]) == 3
    tokens = tokenizer.tokenize("A NEWTOKthe cab ab. ΣΑΣ [MASK]")
    assert tokens[:3] == ["▁a", "newtok", "the"]
    assert tokens.count("ab") == 1
    assert tokens[-1] == "[MASK]"
    assert tokenizer.tokenize("İT") == tokenizer.tokenize("i\u0307t")
    spans = tokenizer("İx IT", return_offsets_mapping=True, add_special_tokens=False)
    assert spans.offset_mapping[-1][1] == 5
    assert tokenizer.convert_ids_to_tokens([size, size + 1]) == ["newtok", "ab"]


def test_a_model_without_special_pieces_gets_them_behind_its_own(tmp_path: Path) -> None:
    model = spm_models.train(tmp_path / "sentencepiece.model")
    tokenizer = RemBertTokenizer(model)
    size = tokenizer.vocab_size
    assert tokenizer("a").input_ids[0] == tokenizer.bos_token_id == size
    assert tokenizer("a").input_ids[-1] == size + 1
    # The model's control symbols are plain text in a text.
    assert tokenizer.tokenize("<s>") == pieces_by_hand(model, "<s>")


def test_words_given_by_the_caller(rembert: RemBertTokenizer) -> None:
    words = ["This", "is", "", "falsé."]
    encoding = rembert([words, ["a"]], is_split_into_words=True, return_offsets_mapping=True)
    alone = [rembert(word, add_special_tokens=False).input_ids for word in words]
    assert encoding.input_ids[0] == [2, *alone[0], *alone[1], *alone[3], 3]
    assert set(encoding.word_ids(0)) == {None, 0, 1, 3}
    assert encoding.offset_mapping[0][-2] == (5, 6)
    assert rembert([words, ["a"]], is_split_into_words=True).input_ids == encoding.input_ids


@pytest.mark.parametrize(
    ("piece", "parts"),
    [
        ("▁9", ["▁", "9"]),
        ("▁a9", ["▁a", "9"]),
        ("a9b", ["a", "9", "b"]),
        ("▁中a", ["▁", "中", "a"]),
        ("▁ab中cd9", ["▁ab", "中", "cd", "9"]),
        ("▁,", ["▁", ","]),
        ("12ab", ["12", "ab"]),
        ("9中9", ["9", "中", "9"]),
        ("...", [".", ".", "."]),
        ("▁the", ["▁the"]),
    ],
)
def test_post_split(piece: str, parts: list[str]) -> None:
    assert post_split(piece) == parts


def test_ernie_m_rows(ernie_m: ErnieMTokenizer) -> None:
    lines = ernie_m.vocabulary.ids
    expected = [lines[token] for token in ("他", "说", "清", "水", "寺")]
    assert ernie_m("他说清水寺").input_ids == [0, *expected, 2]
    assert list(ernie_m("a")) == ["input_ids"]
    a, b = "a", "the"
    pair = ernie_m(a, b, return_token_type_ids=True, return_special_tokens_mask=True)
    first = ernie_m(a, add_special_tokens=False).input_ids
    second = ernie_m(b, add_special_tokens=False).input_ids
    assert pair.input_ids == [0, *first, 2, 2, *second, 2]
    assert pair.token_type_ids == [0] * (len(first) + 1) + [1] * (len(second) + 3)
    assert pair.special_tokens_mask == ernie_m.get_special_tokens_mask(first, second)
    assert ernie_m.num_special_tokens_to_add(pair=True) == 4
    assert ernie_m(["a", "the dog"], padding=True).input_ids[0][-1] == ernie_m.pad_token_id == 1
    assert ernie_m("a", return_position_ids=True).position_ids == [0, 1, 2]


def test_a_space_that_is_a_piece_stays_only_before_a_piece_without_one(
    ernie_m: ErnieMTokenizer,
) -> None:
    assert ernie_m.tokenize("清 清") == ["清", "▁", "清"]
    assert "▁" not in ernie_m.tokenize("清 the")
    assert ernie_m.tokenize(" ") == []


def test_lone_spaces_can_be_dropped_as_in_paddlenlp(
    ernie_m: ErnieMTokenizer, tmp_path: Path
) -> None:
    ernie_m.save_pretrained(tmp_path / "kept")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "kept", drop_lone_space=True)
    assert theirs.tokenize("清 清") == ["清", "清"]
    texts = ["清 清", "清 the", " ", " \u9b31 清", "清 \u9b31", TEXT]  # U+9B31 is unknown
    space = ernie_m.convert_tokens_to_ids("▁")
    for text in texts:
        ids = [number for number in ernie_m(text).input_ids if number != space]
        assert theirs(text).input_ids == ids
        assert theirs(text, return_offsets_mapping=True).input_ids == ids
    assert any(space in ernie_m(text).input_ids for text in texts)
    theirs.save_pretrained(tmp_path / "dropped")
    again = AutoTokenizer.from_pretrained(tmp_path / "dropped")
    assert again(texts) == theirs(texts) != ernie_m(texts)
    assert AutoTokenizer.from_pretrained(tmp_path / "kept")(texts) == ernie_m(texts)


def test_ernie_m_offsets_cover_the_parts_of_a_piece(ernie_m: ErnieMTokenizer) -> None:
    text = "清水寺, 12ab  ½ﬁ清"
    encoding = ernie_m(text, return_offsets_mapping=True, add_special_tokens=False)
    parts = [text[start:stop] for start, stop in encoding.offset_mapping]
    assert parts[:4] == ["清", "水", "寺", ","]
    assert parts[-1] == "清"
    assert "½" in parts


def test_full_width_letters_are_folded_but_for_the_tilde(ernie_m: ErnieMTokenizer) -> None:
    assert ernie_m.clean_text("ＡＢ！～ ａ") == "AB!～ a"


def test_saving(
    rembert: RemBertTokenizer, ernie_m: ErnieMTokenizer, folder: Path, tmp_path: Path
) -> None:
    fast = RemBertTokenizerFast.from_pretrained(folder, do_lower_case=True)
    for name, tokenizer in {"r": rembert, "e": ernie_m, "f": fast}.items():
        tokenizer.save_pretrained(tmp_path / name)
        again = AutoTokenizer.from_pretrained(tmp_path / name)
        assert again(TEXT) == tokenizer(TEXT)
        assert (
            again.special.roles["mask_token"].lstrip == tokenizer.special.roles["mask_token"].lstrip
        )
        assert pickle.loads(pickle.dumps(tokenizer))(TEXT) == tokenizer(TEXT)
    assert (tmp_path / "f/tokenizer.json").is_file()
    assert [class_of(name) for name in ("rembert", "uie-m-base")] == [
        RemBertTokenizer,
        ErnieMTokenizer,
    ]


def test_the_conversion_gives_the_same_ids(folder: Path) -> None:
    fast = RemBertTokenizerFast.from_pretrained(folder)
    fast.add_tokens("newtok")
    texts = [*spm_models.SENTENCES, TEXT, "", "  two  spaces ", "a newtok b", "ＡＢＣ"]
    converted = fast.backend_tokenizer

    def worth(ids: list[int]) -> float:
        return sum(
            fast.segmenter.model.get_score(number) for number in ids if number < fast.vocab_size
        )

    for row, ids in zip(converted.encode_batch(texts), fast(texts).input_ids, strict=True):
        # Of two equally good ways to cut a text each library may take its own.
        assert row.ids == ids or worth(row.ids) == pytest.approx(worth(ids), abs=1e-3)
    (row,) = converted.encode_batch([("the dog", "a newtok b")])
    assert row.ids == fast("the dog", "a newtok b").input_ids
    assert row.type_ids == fast("the dog", "a newtok b").token_type_ids


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_only_unigram_models_are_converted(tmp_path: Path, kind: str) -> None:
    options = {"vocab_size": 150} if kind == "bpe" else {}
    path = spm_models.train(tmp_path / "m", model_type=kind, **options, **spm_models.REMBERT)
    with pytest.raises(UserError, match="expected a sentencepiece model of type 1"):
        _ = RemBertTokenizerFast(path).backend_tokenizer
    assert RemBertTokenizer(path)("the dog").input_ids[0] == 2


def test_bad_models_are_named(tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.model").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"sentencepiece\.model: expected a sentencepiece model"):
        RemBertTokenizer.from_pretrained(tmp_path)


def test_characters_spelled_in_bytes_have_one_span(tmp_path: Path) -> None:
    path = spm_models.train(
        tmp_path / "m", byte_fallback=True, **{**spm_models.REMBERT, "vocab_size": 400}
    )
    tokenizer = RemBertTokenizer(path)
    text = "a \U0001f600b 鬱"
    encoding = tokenizer(text, return_offsets_mapping=True)
    spans = [
        text[start:stop]
        for token, (start, stop) in zip(encoding.tokens(), encoding.offset_mapping, strict=True)
        if token.startswith("<0x")
    ]
    assert spans == ["\U0001f600"] * 4 + ["鬱"] * 3


anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)
mixed = st.lists(
    st.one_of(
        anything,
        st.sampled_from(["[MASK]", "[SEP]", " ", "▁", "é\u0301", "½", "가", "清", "12", "İ", "ﷺ"]),
    ),
    max_size=6,
).map("".join)


@settings(suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
@given(text=mixed, pair=anything, lower=st.booleans())
@example(text="\ud800 ▁▁a\x00", pair="\u200b", lower=True)
def test_any_text_has_rows_and_true_offsets(
    rembert: RemBertTokenizer, ernie_m: ErnieMTokenizer, text: str, pair: str, lower: bool
) -> None:
    for tokenizer in (rembert, ernie_m):
        tokenizer.segmenter.do_lower_case = lower
        encoding = tokenizer(text, pair, return_offsets_mapping=True)
        assert encoding.input_ids == tokenizer(text, pair).input_ids
        assert encoding.input_ids == tokenizer([text], [pair]).input_ids[0]
        before = 0
        for token, (start, stop), segment in zip(
            encoding.tokens(), encoding.offset_mapping, encoding.sequence_ids(), strict=True
        ):
            if segment == 0:
                assert before <= start <= stop <= len(text)
                before = start
                assert covers(tokenizer, text[start:stop], token)
        tokenizer.segmenter.do_lower_case = False


def covers(tokenizer: Any, span: str, token: str) -> bool:
    """Tell whether a token's text is in the normalized text of its span."""
    letters = token.replace("▁", "")
    if token in tokenizer.all_special_tokens or not letters:
        return True
    fit = "".join(c if not "\ud800" <= c <= "\udfff" else "\ufffd" for c in span)
    forms = [fit, *("".join(c.lower() for c in fit),) * tokenizer.segmenter.do_lower_case]
    forms += [unicodedata.normalize("NFKC", form) for form in forms]
    return any(letters in tokenizer.segmenter.model.normalize(form) for form in forms)
