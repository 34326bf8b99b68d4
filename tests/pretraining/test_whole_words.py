"""Words are those of the text, whatever pieces a tokenizer makes of it."""

from __future__ import annotations

import sys

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.pretraining.whole_words import (
    RUN,
    Segmenter,
    WordFinder,
    icu_version,
    words_by_icu,
)
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer
from paddlenlp_ext.tokenizers.xlm_r import XLMRobertaTokenizer
from tests.tokenizers import spm_models

CHINESE = ["清水寺", "在", "京都"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("words")
    letters = "清水寺在京都狐狸ok2024"
    lines = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        "##k",
        "##0",
        ",",
        ".",
        "สวัส",
        "##ดีชาว",
        "##โลก",
    ]
    (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    rembert = spm_models.train(folder / "sentencepiece.model", **spm_models.REMBERT)
    number = {"user_defined_symbols": ["▁92000"]}  # of which the tokenizer drops the space
    ernie_m = spm_models.ernie_m_folder(folder / "ernie_m", **number)
    return {
        "rembert": RemBertTokenizer(rembert),
        "ernie_m": ErnieMTokenizer.from_pretrained(ernie_m),
        "xlm_r": XLMRobertaTokenizer(spm_models.train(folder / "spm.model")),
        "bert": BertTokenizer(folder / "vocab.txt", do_lower_case=False),
    }


def segmenter(text: str) -> list[str]:
    """Cuts into the words of `CHINESE`, and single characters."""
    words = []
    while text:
        words.append(next((word for word in CHINESE if text.startswith(word)), text[0]))
        text = text[len(words[-1]) :]
    return words


def words_of(tokenizer: Tokenizer, text: str, cut: Segmenter | None = None) -> list[str]:
    """The words of a text, without spaces, as the flags of its tokens put it together."""
    [tokens], _ = WordFinder.of(tokenizer, cut).tokenize([text])
    assert tokens.ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    words: list[str] = []
    last = 0
    for (start, stop), continues in zip(offsets["offset_mapping"], tokens.continues, strict=True):
        part = text[max(start, last) : stop].strip()
        last = stop
        if continues:
            words[-1] += part
        else:
            words.append(part)
    return words


@pytest.mark.parametrize("family", ["rembert", "ernie_m", "xlm_r"])
def test_spaces_part_words(tokenizers: dict[str, Tokenizer], family: str) -> None:
    """Numbers too, of which ERNIE-M's pieces do not say that they begin."""
    text = "In 92000,  the cat\u3000fox jumps."
    assert words_of(tokenizers[family], text) == text.split()
    assert tokenizers["ernie_m"].tokenize("In 92000")[-2:] == ["n", "92000"]


@pytest.mark.parametrize("family", ["rembert", "ernie_m", "xlm_r", "bert"])
def test_a_segmenter_parts_scripts_without_spaces(
    tokenizers: dict[str, Tokenizer], family: str
) -> None:
    text = "ok 清水寺在京都ok"
    assert words_of(tokenizers[family], text, segmenter) == ["ok", *CHINESE, "ok"]


@pytest.mark.parametrize("family", ["ernie_m", "bert"])
def test_tokens_stand_alone_without_a_segmenter(
    tokenizers: dict[str, Tokenizer], family: str
) -> None:
    """Unless someone has put spaces between the words."""
    clause = "清水寺在京都"
    assert words_of(tokenizers[family], clause) == [*clause]
    [_, _], script = WordFinder.of(tokenizers[family]).tokenize([clause, "ok"])
    assert script.unparted == len(clause)
    assert words_of(tokenizers[family], " ".join(CHINESE)) == CHINESE


def test_a_token_across_words_joins_them(tokenizers: dict[str, Tokenizer]) -> None:
    """The vocabulary has a piece with the end of one word and the whole next one."""
    tokenizer, words = tokenizers["bert"], ["สวัสดี", "ชาว", "โลก"]
    text = "".join(words)
    assert tokenizer.tokenize(text) == ["สวัส", "##ดีชาว", "##โลก"]
    assert words_of(tokenizer, text, lambda run: words) == ["สวัสดีชาว", "โลก"]
    assert words_of(tokenizer, text) == ["สวัส", "ดีชาว", "โลก"]


def test_wordpiece_keeps_its_own_marks(tokenizers: dict[str, Tokenizer]) -> None:
    assert words_of(tokenizers["bert"], "ok, 20.") == ["ok", ",", "20", "."]


def test_icu_knows_words_of_every_such_script() -> None:
    pytest.importorskip("icu4py")
    cut = words_by_icu
    assert float(icu_version()) > 70
    assert cut("他们在京都") == ["他们", "在", "京都"]
    assert cut("\U00020000他们") == ["\U00020000", "他们"]  # beyond 16 bits
    assert cut("สวัสดีชาวโลก") == ["สวัสดี", "ชาว", "โลก"]
    for text in ("校長先生は生徒を叱った", "ພາສາລາວ", "ភាសាខ្មែរជាភាសា", "မြန်မာဘာသာစကား"):
        words = cut(text)
        assert "".join(words) == text
        assert 1 < len(words) < len(text)


def test_a_missing_segmenter_is_one_line_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icu4py", None)
    cure = r"`segment_words`: .* pip install 'paddlenlp-ext\[words\]'"
    with pytest.raises(UserError, match=cure):
        icu_version()


def test_nothing_is_cut_of_nothing(tokenizers: dict[str, Tokenizer]) -> None:
    finder = WordFinder.of(tokenizers["rembert"])
    assert finder.tokenize([])[0] == []
    empty, full = finder.tokenize(["", "fox"])[0]
    assert empty.ids == [] == empty.continues
    assert full.continues[0] is False


@pytest.mark.parametrize("family", ["rembert", "ernie_m", "xlm_r", "bert"])
def test_pieces_are_asked_only_where_they_know(
    tokenizers: dict[str, Tokenizer], family: str
) -> None:
    """The quick way, by pieces, gives what the text says."""
    finder = WordFinder.of(tokenizers[family])
    texts = [*spm_models.SENTENCES, "In 92000 the", "\u200bfox\u00a0jumps", "a  b", "", " (fox) "]
    texts = [text for text in texts if not RUN.search(text)]
    found, _ = finder.tokenize(texts)
    assert found == finder._by_text(texts, alone=False)
    assert any(tokens is not None for tokens in finder._by_pieces(texts))
