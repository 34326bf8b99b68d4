"""Information extraction by a schema: with made-up probabilities, and with models at random."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.inference.export import export_logits
from paddlenlp_ext.inference.extraction import ExtractionOptions, InformationExtraction
from paddlenlp_ext.inference.pipelines import pipeline
from paddlenlp_ext.inference.runners import Loaded
from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.models.ernie import UIE, ErnieConfig
from paddlenlp_ext.models.ernie_m import UIEM, ErnieMConfig
from paddlenlp_ext.tasks.cross_lingual import XNLI, read_languages
from paddlenlp_ext.tokenizers.bert import ErnieTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from tests.scripts import multilingual

SENTENCES = {
    language: [text for row in rows for text in (row.text_a, row.text_b)]
    for language, rows in read_languages(XNLI, "test", multilingual.DATA).items()
}
ODD = [
    *("", " ", "\n\t", "\x00", "\ud800", "a\udfffb", "\ufeff", "\u200d", "\u202eabc", "\ufffd"),
    *(
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "e\u0301\u0323\u0327" * 40,
        "ﷺ㎏½ⅸ",
        "𝔘𝔫𝔦",
        "กำ",
        "İıßſ",
        "\U0010ffff",
        "\u3000ａ",
    ),
    *("[SEP] [CLS] [PAD]", "[MASK]" * 9, "▁▁ ▁", "的" * 300, "." * 300, "a" * 999, "[a,b]"),
]


@pytest.fixture(scope="module", params=["ernie", "ernie_m"])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model at random with a vocabulary of all languages."""
    folder = tmp_path_factory.mktemp(request.param)
    paddle.seed(5)
    if request.param == "ernie_m":
        multilingual.ernie_m(folder)
        size = len(ErnieMTokenizer.from_pretrained(folder))
        model: Any = UIEM(ErnieMConfig(vocab_size=size, **multilingual.SIZES))
    else:
        characters = {c for texts in SENTENCES.values() for text in texts for c in text.lower()}
        characters |= set("的情感倾向正负时间选手,[]")
        words = sorted({*characters, *(f"##{character}" for character in characters)} - {" "})
        words = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *words]
        (folder / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
        ErnieTokenizer.from_pretrained(folder).save_pretrained(folder)
        model = UIE(ErnieConfig(vocab_size=len(words), **multilingual.SIZES))
    for head in (model.linear_start, model.linear_end):  # some tokens
        head.weight.set_value(paddle.randn(head.weight.shape) * 0.5)
        head.bias.set_value(paddle.full(head.bias.shape, -2.0))
    model.save_pretrained(folder)
    return folder


def texts(count: int) -> list[str]:
    """Texts of all languages in turn, of a word to several windows, odd ones among them."""
    random = np.random.default_rng(4)
    languages = list(SENTENCES.values())
    made: list[str] = list(ODD)
    while len(made) < count:
        sentences = languages[len(made) % len(languages)]
        text = " ".join(random.choice(sentences, random.choice([1, 1, 1, 5])))
        kind = random.integers(4)
        if kind == 0:  # cut anywhere
            text = text[random.integers(len(text)) :][: random.integers(1, 200)]
        elif kind == 1:
            place = random.integers(len(text))
            text = text[:place] + ODD[random.integers(len(ODD))] + text[place:]
        made.append(text)
    return made


def answers_of(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for answers in found.values():
        for answer in answers:
            yield answer
            yield from answers_of(answer.get("relations", {}))


SCHEMA = ["时间", {"选手": ["情感倾向[正,负]"]}]


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_any_text_can_be_asked(folder: Path, count: int) -> None:
    extract = pipeline("information-extraction", folder, schema=SCHEMA, batch_size=64)
    asked = texts(count)
    found = extract(asked)
    assert len(found) == count
    kinds = set()
    for text, one in zip(asked, found, strict=True):
        assert set(one) <= {"时间", "选手"}
        for answer in answers_of(one):
            kinds.add(tuple(answer))
            assert 0.0 < answer["probability"] <= 1.0
            if "start" in answer:
                assert text[answer["start"] : answer["end"]] == answer["text"]
                assert answer["text"] == answer["text"].strip() != ""
        for answers in one.values():  # in order, and apart
            ends = [place for answer in answers for place in (answer["start"], answer["end"])]
            assert ends == sorted(ends)
    json.dumps(found)
    assert ("text", "start", "end", "probability", "relations") in kinds
    assert ("text", "start", "end", "probability") in kinds


def test_a_batch_has_the_answers_of_its_texts(folder: Path) -> None:
    asked = texts(60)
    extract = pipeline("information-extraction", folder, schema=SCHEMA)
    whole = extract(asked)
    lazy = extract(iter(asked))
    assert next(lazy) == whole[0]
    extract.batch_size = 3
    for text, one in zip(asked, whole, strict=True):
        alone = list(answers_of(extract(text)))
        for got, expected in zip(alone, answers_of(one), strict=True):
            assert got["probability"] == pytest.approx(expected["probability"], abs=1e-5)
            for part in ("text", "start", "end"):
                assert got.get(part) == expected.get(part)


def test_an_exported_program_has_the_same_answers(folder: Path, tmp_path: Path) -> None:
    of_model = pipeline("information-extraction", folder, schema=SCHEMA)
    export_logits(of_model.loaded.model, tmp_path)
    for file in folder.iterdir():
        if not file.name.startswith("model"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    of_program = pipeline("information-extraction", tmp_path, schema=SCHEMA)
    assert of_program.loaded.model is None
    for pipe in (of_model, of_program):  # PaddleNLP's, which UIE-M was trained with
        assert getattr(pipe.tokenizer, "drop_lone_space", True)
    asked = texts(40)
    places = [
        [[(a["text"], a.get("start")) for a in answers_of(one)] for one in pipe(asked)]
        for pipe in (of_model, of_program)
    ]
    assert places[0] == places[1]
    assert any(places[0])


# Made-up probabilities.

CHARACTERS = "谷爱凌获得金牌。2022北京冬奥会在二月举行，由中国组织！的时间选手项目"
CHARACTERS += "味道不错很差服务观点词情感倾向正负评价维度[],()"


@pytest.fixture
def tokenizer(tmp_path: Path) -> ErnieTokenizer:
    """One token a character."""
    characters = dict.fromkeys(CHARACTERS)
    words = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *characters]
    words += [f"##{character}" for character in characters]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    return ErnieTokenizer.from_pretrained(tmp_path)


def extraction(scores: Any, tokenizer: Any, schema: Any, **settings: Any) -> InformationExtraction:
    """The pipeline with made-up probabilities."""
    of_ernie_m = isinstance(tokenizer, ErnieMTokenizer)
    config = ErnieMConfig() if of_ernie_m else ErnieConfig(max_position_embeddings=2048)
    return InformationExtraction(
        Loaded(scores, config, tokenizer, "made up"), schema=schema, **settings
    )


class Knowing:
    """Finds what it was told to find by a prompt, with the probabilities 0.9 and 0.8."""

    def __init__(self, tokenizer: ErnieTokenizer, known: Mapping[str, list[str]]) -> None:
        self.tokenizer = tokenizer
        self.known = known
        self.prompts: list[str] = []  # of each row

    def __call__(self, columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        ids, mask, types = columns.values()
        assert ids.shape == mask.shape == types.shape
        start, end = np.zeros(ids.shape), np.zeros(ids.shape)
        for row, numbers in enumerate(ids):
            tokens = self.tokenizer.convert_ids_to_tokens(numbers)
            letters = "".join(t.removeprefix("##") if len(t) < 4 else "\n" for t in tokens)
            prompt = letters[1 : letters.index("\n", 1)]
            self.prompts.append(prompt)
            assert mask[row].tolist() == [int(token != "[PAD]") for token in tokens]
            assert types[row, len(prompt) + 1] == 0
            assert types[row, len(prompt) + 2] == 1
            for answer in self.known.get(prompt, []):
                place = letters.find(answer, len(prompt))
                place = letters.find(answer) if place < 0 else place
                if place >= 0:
                    start[row, place], end[row, place + len(answer) - 1] = 0.9, 0.8
        return start, end


def test_a_nested_schema(tokenizer: ErnieTokenizer) -> None:
    text = "北京：味道不错，服务很差。"
    known = Knowing(
        tokenizer,
        {
            "评价维度": ["味道", "服务"],
            "味道的观点词": ["不错"],
            "服务的观点词": ["很差"],
            "味道的情感倾向[正,负]": ["正"],
            "服务的情感倾向[正,负]": ["负"],
            "不错的时间": ["北京"],
        },
    )
    schema = ["时间", {"评价维度": [{"观点词": "时间"}, "情感倾向［正，负］"]}]
    extract = extraction(known, tokenizer, schema)

    def answer(words: str, **more: Any) -> dict[str, Any]:
        place = text.index(words)
        where = {"start": place, "end": place + len(words)}
        return {"text": words, **where, "probability": pytest.approx(0.72), **more}

    def feeling(words: str) -> dict[str, Any]:
        return {"情感倾向［正，负］": [{"text": words, "probability": pytest.approx(0.72)}]}

    good = answer("不错", relations={"时间": [answer("北京")]})
    assert extract([text, "冬奥会"]) == [
        {
            "评价维度": [
                answer("味道", relations={"观点词": [good], **feeling("正")}),
                answer("服务", relations={"观点词": [answer("很差")], **feeling("负")}),
            ]
        },
        {},
    ]
    assert sorted(known.prompts) == sorted(
        # Nothing is asked of what was not found, nor twice.
        ["时间", "时间", "评价维度", "评价维度", "不错的时间", "很差的时间"]
        + [
            f"{subject}的{name}"
            for subject in ("味道", "服务")
            for name in ("观点词", "情感倾向[正,负]")
        ]
    )
    extract.set_schema("项目")
    assert extract(text) == {}
    assert extract(text, schema="评价维度", position_prob=0.81) == {}  # the probability to end: 0.8


@pytest.mark.parametrize("max_length", [16, 23, 64, 512])
def test_places_in_long_texts_are_exact(tokenizer: ErnieTokenizer, max_length: int) -> None:
    sentences = ["谷爱凌获得金牌。", "  ", "北京冬奥会在二月举行！\n", "由中国组织，很不错。"]
    text = "".join(sentences[n % 4] for n in np.random.default_rng(2).integers(0, 99, 60))
    known = Knowing(tokenizer, {"选手": ["谷爱凌"], "项目": ["冬奥会"], "[正,负]": ["负"]})
    schema = ["选手", "项目", "[正,负]"]
    found = extraction(known, tokenizer, schema, max_length=max_length)(text)
    # It finds the first one of a window only: in windows of a sentence, all.
    assert found["[正,负]"] == [{"text": "负", "probability": pytest.approx(0.72)}]
    for name, words in (("选手", "谷爱凌"), ("项目", "冬奥会")):
        assert {text[one["start"] : one["end"]] for one in found[name]} == {words}
        places = [one["start"] for one in found[name]]
        assert places == sorted(set(places))
        if max_length == 16:
            assert len(places) == text.count(words)
    assert len(found["选手"]) < text.count("谷爱凌") or max_length < 64


def test_a_prompt_that_is_too_long_loses_its_middle(tokenizer: ErnieTokenizer) -> None:
    known = Knowing(tokenizer, {})
    extract = extraction(known, tokenizer, "谷" * 50 + "项目", max_length=23)
    assert extract("很差。不错") == {}
    assert known.prompts == ["谷" * 8 + "项目"]


def test_what_is_found_across_special_tokens_or_in_a_plain_prompt_is_no_answer(
    tokenizer: ErnieTokenizer,
) -> None:
    pairs: list[tuple[int, int]]

    def scores(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        start, end = (np.zeros(columns["input_ids"].shape) for _ in range(2))
        for first, last in pairs:
            start[:, first] = end[:, last] = 1.0
        return start, end

    extract = extraction(scores, tokenizer, "时间")
    for place in ((0, 0), (3, 3), (7, 7), (1, 2), (2, 4), (6, 7), (0, 7)):
        pairs = [place]
        assert extract("谷 爱凌") == {}  # [CLS]时间[SEP]谷爱凌[SEP]
    pairs = [(4, 5), (6, 6)]
    assert extract("谷 爱凌") == {
        "时间": [
            {"text": "谷 爱", "start": 0, "end": 3, "probability": 1.0},
            {"text": "凌", "start": 3, "end": 4, "probability": 1.0},
        ]
    }
    extract.set_schema("时间[正]")  # what is in a text counts where no option was chosen
    pairs = [(7, 8)]
    assert extract("谷 爱凌")["时间[正]"][0]["text"] == "谷 爱"


@pytest.mark.parametrize(
    ("schema", "language", "english"),
    [
        ({"person": "age"}, None, True),
        ({"person": "年龄"}, None, False),
        ({"person": "age"}, "ch", False),
        ({"person": "年龄"}, "en", True),
    ],
)
def test_the_language_of_prompts(
    tokenizer: ErnieTokenizer, schema: Any, language: str | None, english: bool
) -> None:
    known = Knowing(tokenizer, {})
    extract = extraction(known, tokenizer, schema, schema_lang=language)
    assert ExtractionOptions(**extract.defaults).english == english


def test_ernie_m_has_no_types_and_does_not_attend_to_its_first_token(tmp_path: Path) -> None:
    tokenizer = ErnieMTokenizer.from_pretrained(multilingual.ernie_m(tmp_path))
    seen: list[dict[str, np.ndarray]] = []

    def scores(columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        seen.append(columns)
        return (np.zeros(columns["input_ids"].shape),) * 2

    for settings, first in (({}, 0), ({"attend_to_cls": True}, 1)):
        extract = extraction(scores, tokenizer, "time", **settings)
        extract(["Now and then.", "Now."])
        columns = seen.pop()
        assert list(columns) == ["input_ids", "attention_mask"]
        expected: Any = tokenizer(["time"] * 2, ["Now and then.", "Now."], padding=True)
        assert columns["input_ids"].tolist() == expected["input_ids"]
        expected["attention_mask"] = (columns["input_ids"] != tokenizer.pad_token_id).astype(int)
        expected["attention_mask"][:, 0] = first
        np.testing.assert_array_equal(columns["attention_mask"], expected["attention_mask"])


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"schema_lang": "fr"}, "`schema_lang` 'fr': expected 'ch' or 'en'"),
        ({"position_prob": 1.0}, "`position_prob` 1.0: expected"),
        ({"position_prob": float("nan")}, "`position_prob` nan: expected"),
        ({"batch_size": 0}, "`batch_size` 0: expected"),
        ({"max_length": 4}, "`max_length` 4 leaves no room"),
    ],
)
def test_wrong_settings_are_named(
    tokenizer: ErnieTokenizer, settings: dict[str, Any], part: str
) -> None:
    with pytest.raises(UserError, match=part):
        extraction(Knowing(tokenizer, {}), tokenizer, "时间", **settings)


def test_what_is_no_text_is_named(tokenizer: ErnieTokenizer) -> None:
    extract = extraction(Knowing(tokenizer, {}), tokenizer, "时间")
    with pytest.raises(UserError, match="expected a text, got 3"):
        extract(["时间", 3])  # type: ignore[list-item]


def test_another_family_is_named(tmp_path: Path) -> None:
    BertModel(BertConfig(vocab_size=9, **multilingual.SIZES)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="bert has no class BertForExtraction"):
        pipeline("information-extraction", tmp_path, schema="时间")
