"""XLM-R's tokenizer on small models trained here: ids, words one by one, files."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.tokenizers.xlm_r import PlainWords, XLMRobertaTokenizer, XLMRobertaTokenizerFast
from tests.tokenizers import spm_models

TEXT = "This is  a test <mask> 清水寺 falsé ﬁ½ 가나, 92000"
PARTS = (" ", "  ", "\t", "\u3000", "\u0301", "\u064b", "\u0341", "\uff9e", "\u200d", "▁", "\0")
WORDS = (
    "the",
    "清水寺",
    "½",
    "é\u0301",
    "가",
    "12",
    "<mask>",
    "</s>",
    "ab",
    "left",
    "Right",
    "x y",
)
TEXTS = st.lists(st.one_of(st.sampled_from((*PARTS, *WORDS)), st.text(max_size=3)), max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("xlm_r")
    spm_models.train(folder / "sentencepiece.bpe.model")
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> XLMRobertaTokenizer:
    return XLMRobertaTokenizer.from_pretrained(folder)


def test_ids_are_fairseqs_in_their_frame(tokenizer: XLMRobertaTokenizer, folder: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    a, b = "This is falsé.", "the lazy \u9b31 dog"  # U+9B31 is unknown
    first, second = ([n + 1 if n else 3 for n in model.encode(text)] for text in (a, b))
    assert 3 in second
    options = {"return_token_type_ids": True, "return_special_tokens_mask": True}
    pair = tokenizer(a, b, **options)
    assert pair.input_ids == [0, *first, 2, 2, *second, 2]
    assert pair.token_type_ids == [0] * len(pair.input_ids)
    assert pair.input_ids == tokenizer.build_inputs_with_special_tokens(first, second)
    assert pair.token_type_ids == tokenizer.create_token_type_ids_from_sequences(first, second)
    assert pair.special_tokens_mask == tokenizer.get_special_tokens_mask(first, second)
    assert tokenizer(a, b, add_special_tokens=False, **options).token_type_ids == [0] * (
        len(first) + len(second)
    )
    assert list(tokenizer(a)) == ["input_ids", "attention_mask"]
    size = model.get_piece_size() + 2
    assert (tokenizer.vocab_size, len(tokenizer), tokenizer.mask_token_id) == (size, size, size - 1)
    assert tokenizer.all_special_ids == [0, 2, 3, 1, size - 1]


def test_special_and_added_tokens(folder: Path) -> None:
    tokenizer = XLMRobertaTokenizer.from_pretrained(folder)
    encoding = tokenizer("a <mask> test</s>the", return_offsets_mapping=True)
    assert encoding.tokens()[1:3] == ["▁a", "<mask>"]
    assert encoding.offset_mapping[2] == (1, 8)  # a mask takes the space before it
    assert tokenizer.decode(encoding.input_ids[:3]) == "<s> a<mask>"
    assert tokenizer.decode(tokenizer("the lazy dog").input_ids, True) == "the lazy dog"
    assert tokenizer.add_tokens(["newtok", "the", "a"]) == 2
    assert tokenizer.tokenize("newtokthe") == ["newtok", "the"]
    assert tokenizer("newtok").input_ids[1] == tokenizer.vocab_size


def test_words_given_by_the_caller(tokenizer: XLMRobertaTokenizer) -> None:
    words = ["This", "is", "", "falsé."]
    encoding = tokenizer([words], is_split_into_words=True, return_offsets_mapping=True)
    alone = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
    assert encoding.input_ids[0] == [0, *alone[0], *alone[1], *alone[3], 2]
    assert set(encoding.word_ids(0)) == {None, 0, 1, 3}
    assert tokenizer([words], is_split_into_words=True).input_ids == encoding.input_ids


@pytest.fixture(scope="module", params=["words in groups", "word by word", "as a whole"])
def grown(request: pytest.FixtureRequest, folder: Path) -> Iterator[XLMRobertaTokenizer]:
    tokenizer = XLMRobertaTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("left", lstrip=True), AddedToken("12", normalized=False)])
    if request.param == "as a whole":  # which these tokens need
        tokenizer.add_tokens([AddedToken("Right", rstrip=True), AddedToken("ab", single_word=True)])
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "words in groups":  # the model has no mark of its own
            assert len(tokenizer("quick", add_special_tokens=False).input_ids) == 1
            patch.setattr(PlainWords, "mark", "quick")
        yield tokenizer


@settings(max_examples=400, deadline=None)
@given(texts=st.lists(TEXTS.map("".join), max_size=4))
@example(texts=["\uff9e\u0301 x", "x \uff9e\u0301", "\u0e33\u0301 x", "x \u0e33\u0301"])
@example(texts=["c \u0341\u064b x", "a ▁b ▁", "\u3000a", "▁ ▁", "a  <mask>"])
def test_ids_are_those_of_whole_texts(grown: XLMRobertaTokenizer, texts: list[str]) -> None:
    whole = grown(texts, return_offsets_mapping=True)  # which needs the text as a whole
    # Words that come again are cut one by one, then they are known.
    assert [grown(texts).input_ids for _ in range(3)] == [whole.input_ids] * 3


def test_either_file_is_enough(tokenizer: XLMRobertaTokenizer, tmp_path: Path) -> None:
    changed = pickle.loads(pickle.dumps(tokenizer))
    changed.add_tokens("newtok")
    files = changed.save_pretrained(tmp_path / "both")
    names = {path.name for path in files}
    assert {"sentencepiece.bpe.model", "tokenizer.json", "tokenizer_config.json"} < names
    text = f"{TEXT} newtok"
    for missing in ("", "sentencepiece.bpe.model", "tokenizer.json"):
        (tmp_path / "both" / missing).unlink() if missing else None
        again = AutoTokenizer.from_pretrained(tmp_path / "both")
        assert isinstance(again, XLMRobertaTokenizerFast)
        assert again(text) == changed(text)
        assert again.special.roles["mask_token"].lstrip
        again.save_pretrained(tmp_path / "both")
        if missing == "sentencepiece.bpe.model":
            assert not (tmp_path / "both" / missing).exists()
            changed.save_vocabulary(tmp_path / "both")


def test_a_converted_tokenizer_may_stand_alone(
    tokenizer: XLMRobertaTokenizer, tmp_path: Path
) -> None:
    changed = pickle.loads(pickle.dumps(tokenizer))
    changed.add_tokens("newtok")
    backend = pickle.loads(pickle.dumps(changed.backend_tokenizer))
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    backend.save(str(tmp_path / "tokenizer.json"))
    again = XLMRobertaTokenizer.from_pretrained(tmp_path, mask_token="<mask>")
    assert again(f"{TEXT} newtok").input_ids == changed(f"{TEXT} newtok").input_ids
    (row,) = again.backend_tokenizer.encode_batch([(TEXT, "newtok")])
    assert row.ids == again(TEXT, "newtok").input_ids


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{}", r"tokenizer\.json: expected a tokenizer of the"),
        ("tokenizer.json", b"\xff", r"tokenizer\.json: expected a tokenizer of the"),
        ("sentencepiece.bpe.model", b"no", r"bpe\.model: expected a sentencepiece model"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        XLMRobertaTokenizer.from_pretrained(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"sentencepiece\.bpe\.model"):
        XLMRobertaTokenizer.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="expected one of the files sentencepiece"):
        XLMRobertaTokenizer()


def test_only_unigram_models_are_read(tmp_path: Path) -> None:
    path = spm_models.train(tmp_path / "m", model_type="bpe", vocab_size=150)
    with pytest.raises(UserError, match="expected a sentencepiece model of type 1"):
        XLMRobertaTokenizer(path)


def test_settings_of_transformers_are_kept(folder: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = {"tokenizer_class": "XLMRobertaTokenizer", "sp_model_kwargs": {}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    model = (folder / "sentencepiece.bpe.model").read_bytes()
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model)
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    assert config.items() <= saved.items()
