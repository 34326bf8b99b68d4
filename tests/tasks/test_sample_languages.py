"""The sample files of XNLI and PAWS-X have the official layouts, fifteen languages and balance."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from paddlenlp_ext.tasks.cross_lingual import (
    PAWS_X,
    PAWS_X_LANGUAGES,
    XNLI,
    XNLI_LANGUAGES,
    read_languages,
)

DATA = Path(__file__).parents[2] / "data"
SPLITS = [(task, split) for task in (XNLI, PAWS_X) for split in ("train", "dev", "test")]
COLUMNS = "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse "
COLUMNS += "sentence2_parse sentence1 sentence2 promptID pairID genre label1 label2 label3 label4 "
COLUMNS += "label5 sentence1_tokenized sentence2_tokenized match"
SCRIPTS = {"ar": "ARABIC", "ur": "ARABIC", "bg": "CYRILLIC", "ru": "CYRILLIC", "el": "GREEK"}
SCRIPTS |= {"hi": "DEVANAGARI", "th": "THAI", "zh": "CJK", "ko": "HANGUL", "ja": "HIRAGANA"}


def table(path):
    data = path.read_bytes()
    assert data.endswith(b"\n")
    assert b"\r" not in data
    return [line.split("\t") for line in data.decode().removesuffix("\n").split("\n")]


def texts(examples):
    return [(one.text_a, one.text_b) for one in examples]


@pytest.mark.parametrize(("task", "split"), SPLITS)
def test_sample_data_have_all_languages_with_balanced_labels(task, split):
    examples = read_languages(task, split, DATA)
    assert tuple(examples) == task.languages
    assert examples.bad_rows == []
    for language, rows in examples.items():
        expected = {"train": 60 if language == "en" else 12}.get(split, 24)
        labels = Counter(one.label for one in rows)
        assert labels == dict.fromkeys(range(task.num_labels), expected // task.num_labels)
        assert len(set(texts(rows))) == expected


@pytest.mark.parametrize("task", [XNLI, PAWS_X])
def test_no_sample_pair_is_in_two_splits(task):
    pairs = [
        {pair for rows in read_languages(task, split, DATA).values() for pair in texts(rows)}
        for split in task.splits
    ]
    assert sum(map(len, pairs)) == len(set.union(*pairs))


@pytest.mark.parametrize(("task", "split"), SPLITS)
def test_sample_languages_are_translations_of_the_english_rows(task, split):
    examples = read_languages(task, split, DATA)
    english = examples["en"]
    for language, rows in examples.items():
        assert [one.label for one in rows] == [one.label for one in english[: len(rows)]]
        if language == "en":
            continue
        assert not set(texts(rows)) & set(texts(english))
        for text in (text for pair in texts(rows) for text in pair):
            scripts = [unicodedata.name(char).split()[0] for char in text if char.isalpha()]
            own = sum(script == SCRIPTS.get(language, "LATIN") for script in scripts)
            if language == "ja":  # its sentences mix three scripts
                assert own > 0
            else:
                assert own >= 0.6 * len(scripts), text


def test_sample_files_of_xnli_have_the_official_columns():
    for split in ("dev", "test"):
        header, *rows = table(DATA / "xnli/XNLI-1.0" / f"xnli.{split}.tsv")
        assert header == COLUMNS.split(" ")
        for row in rows:
            fields = dict(zip(header, row, strict=True))
            votes = Counter(fields[f"label{number}"] for number in range(1, 6))
            assert votes.most_common(1)[0][0] == fields["gold_label"] == fields["label1"]
            for name in ("sentence1", "sentence2"):
                bare = fields[name].replace(" ", "")
                assert fields[f"{name}_tokenized"].replace(" ", "") == bare
        assert [row[0] for row in rows] == [code for code in XNLI_LANGUAGES for _ in range(24)]
    for code in XNLI_LANGUAGES:
        header, *rows = table(DATA / f"xnli/XNLI-MT-1.0/multinli/multinli.train.{code}.tsv")
        assert header == ["premise", "hypo", "label"]
        assert {row[2] for row in rows} == {"contradictory", "entailment", "neutral"}


def test_sample_files_of_paws_x_have_the_official_columns_and_much_overlap():
    for code in PAWS_X_LANGUAGES:
        train = "train" if code == "en" else "translated_train"
        ids = []
        for name in (train, "dev_2k", "test_2k"):
            header, *rows = table(DATA / f"pawsx/x-final/{code}/{name}.tsv")
            assert header == ["id", "sentence1", "sentence2", "label"]
            ids += [int(row[0]) for row in rows]
        assert len(set(ids)) == len(ids)
    english = [one for split in PAWS_X.splits for one in read_languages(PAWS_X, split, DATA)["en"]]
    for one in english:
        first, second = (set(text.lower().split()) for text in (one.text_a, one.text_b))
        assert len(first & second) >= 0.5 * len(first | second), one
