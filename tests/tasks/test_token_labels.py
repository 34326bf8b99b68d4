"""Sentences with tags: files as they are, what cannot be used, and the rows that a model reads."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.prediction_files import path_of, tag_writer, write_all
from paddlenlp_ext.tasks.token_labels import (
    TaggedSentence,
    make_token_rows,
    read_sentences,
    tag_metric,
    tag_names,
    tags_of,
)
from paddlenlp_ext.tokenizers.bert import BertTokenizer

DATA = Path(__file__).parents[2] / "data" / "tags"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c", "##d", "e", ","]


@pytest.fixture
def tokenizer(tmp_path: Path) -> BertTokenizer:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return BertTokenizer(tmp_path / "vocab.txt")


def read(tmp_path: Path, content: str | bytes, name: str = "train.conll", **options):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_sentences([path], **options)


def test_columns_in_every_form(tmp_path):
    plain = "-DOCSTART- -X- O\n\nEU NNP B-ORG\n# NN O\nx NN O\n\n\n\nY NN B-PER"
    forms = [plain, plain.replace("\n", "\r\n"), b"\xef\xbb\xbf" + plain.encode()]
    forms += [gzip.compress(plain.encode()), plain.replace(" ", "\t")]
    for form in forms:
        sentences, bad = read(tmp_path, form)
        assert [one.words for one in sentences] == [("EU", "#", "x"), ("Y",)]
        assert [one.tags for one in sentences] == [("B-ORG", "O", "O"), ("B-PER",)]
        assert [one.source for one in sentences] == ["train.conll:3", "train.conll:9"]
        assert bad == []
    (one, _), _ = read(tmp_path, plain, label_column="2", text_column="3")
    assert (one.words, one.tags) == (("B-ORG", "O", "O"), ("NNP", "NN", "NN"))


def test_the_line_of_a_document_is_no_word(tmp_path):
    text = "a O\n-DOCSTART-\nb O\nc B-x\n\n-DOCSTART- -X-\n\nd O\n"
    sentences, _ = read(tmp_path, text)
    assert [one.words for one in sentences] == [("a",), ("b", "c"), ("d",)]
    at = [one.belongs_to[0].rpartition(":")[2] for one in sentences]
    assert at == ["", "2", "6"]


@pytest.mark.parametrize(
    "text",
    [
        "# id 5239d808 domain=en\nb _ _ B-x\n# _ _ O\n\n# id 7 domain=en\nd _ _ O\n",
        "# text = a\tb\nb B-x\n# O\n\n# x\td=e\nd O\n",
        "# id 5 c\nb\tB-x\n#\tO\n# about it\n\n# id\t7\nd\tO\n",
    ],
)
def test_comments_above_sentences_are_no_words(text, tmp_path):
    sentences, _ = read(tmp_path, text)
    assert [one.words for one in sentences] == [("b", "#"), ("d",)]


@pytest.mark.parametrize("text", ["# O\nb B-x\n", "# my corpus, from\n\n# O\nb B-x\n\n"])
def test_a_word_that_begins_a_sentence_may_be_a_number_sign(text, tmp_path):
    (one,), _ = read(tmp_path, text)
    assert (one.words, one.tags) == (("#", "b"), ("O", "B-x"))


def test_tags_have_no_spaces_around_them(tmp_path):
    rows = '{"words": ["a", "b"], "tags": ["O", " B-x "]}'
    for text, name in (("a\tO\nb\tB-x \n", "x.conll"), (rows, "x.jsonl")):
        (one,), _ = read(tmp_path, text, name)
        assert one.tags == ("O", "B-x")


def test_conllu_and_json_lines(tmp_path):
    (german, *_), _ = read_sentences([DATA / "dev.de.conllu"])
    assert german.words == ("Die", "grüne", "Tür", "war", "geschlossen", ".")
    assert german.tags == ("DET", "ADJ", "NOUN", "AUX", "VERB", "PUNCT")
    sentences, _ = read_sentences([DATA / "dev.de.conllu"], label_column="ID", text_column="lemma")
    assert sentences[1].words[2:4] == ("in", "dem")  # what "im" is made of, and not "im"
    assert sentences[1].tags[2:4] == ("3", "4")
    rows = (
        '{"tokens": ["a", "b"], "ner_tags": ["O", "B-x"]}\n\n{"tokens": ["c"], "ner_tags": ["O"]}'
    )
    sentences, _ = read(tmp_path, rows, "x.jsonl")
    assert [one.tags for one in sentences] == [("O", "B-x"), ("O",)]
    (one,), _ = read(tmp_path, '{"w": ["a"]}', "x.jsonl", text_column="w", is_labelled=False)
    assert one == TaggedSentence(("a",), (), "x.jsonl:1")
    listed = '[{"words": ["a"],\n "tags": ["O"]}, {"words": ["b"], "tags": ["O"]}]'
    sentences, _ = read(tmp_path, listed, "x.json")
    assert [one.source for one in sentences] == ["x.json:1", "x.json:2"]
    sentences, _ = read(tmp_path, '{"words": ["a"], "tags": null}', "x.jsonl", is_labelled=False)
    assert sentences[0].tags == ()


def test_words_alone_are_enough_to_be_tagged(tmp_path):
    sentences, _ = read(tmp_path, "a\nb\n\nc\n", is_labelled=False)
    assert [(one.words, one.tags) for one in sentences] == [(("a", "b"), ()), (("c",), ())]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.conll", "a O\nb B-x x\n", r"t\.conll:2: expected 2 columns"),
        ("t.conll", "a\tO\n\nb\t\n", r"t\.conll:3: expected a tag in column 2, got none"),
        ("t.conll", "a\tO\n\tO\n", r"t\.conll:2: expected a word in column 1, got none"),
        ("t.conll", "a\nb\n", r"t\.conll:1: expected a tag"),
        ("t.conll", "ab\0 O\n", r"t\.conll:1: expected text, got a NUL"),
        ("t.conll", b"a O\n\xff O\n", r"t\.conll:2: expected UTF-8, got byte 0xff"),
        ("t.conll", b"\xff\xfea\0 \0O\0", r"t\.conll:1: expected text in UTF-8, got UTF-16"),
        ("t.conll", "\n\n", r"t\.conll: expected sentences"),
        ("t.conll", "a O\rb B-x\r", r"t\.conll:1: expected LF or CR LF .*, got CR; save the file"),
        ("t.conll", "a O\r\n\r\nb O\r\r\n", r"t\.conll:3: expected LF or CR LF"),
        ("t.conll.gz", gzip.compress(b"a O\n", mtime=0)[:-9], r"expected a whole gzip file"),
        ("t.conllu", "1\ta\ta\tX\n", r"t\.conllu:1: expected 10 columns"),
        ("t.jsonl", "{", r"t\.jsonl:1: expected an object of JSON"),
        ("t.jsonl", "[1]", r"t\.jsonl:1: expected an object of JSON, got \[1\]"),
        ("t.jsonl", '{"words": ["a"]}', r"t\.jsonl:1: expected 'tags'"),
        ("t.jsonl", '{"words": ["a"], "tags": [1]}', r"t\.jsonl:1: expected a list of texts"),
        ("t.jsonl", '{"words": ["a"], "tags": ["O", "O"]}', "expected 1 tags, one a word, got 2"),
        ("t.jsonl", '{"words": [], "tags": []}', r"t\.jsonl:1: expected words"),
        ("t.jsonl", '{"words": ["a\\ud800"], "tags": ["O"]}', "got half a character"),
        (
            "t.json",
            '[{"words": ["a"], "tags": ["O"]},\n3]',
            r"t\.json:2: expected an object of JSON",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content, name)


def test_settings_that_are_no_column(tmp_path):
    with pytest.raises(DataError, match=r"`label_column` '3': expected a number from 1 to 2"):
        read(tmp_path, "a O\n", label_column="3")
    with pytest.raises(DataError, match="or one of ID, FORM"):
        read_sentences([DATA / "dev.en.conllu"], text_column="WORD")


def test_a_sentence_that_cannot_be_used_is_left_out_as_a_whole(tmp_path):
    sentences, bad = read(tmp_path, "a O\nb\n\nc O\n", on_bad_row="skip")
    assert [one.words for one in sentences] == [("c",)]
    assert [one.source for one in bad] == ["train.conll:2"]


def test_names_of_tags():
    rows = [TaggedSentence(("a", "b"), tags, f"t:{n}") for n, tags in enumerate(["OX", "XY"])]
    assert tag_names(rows) == ("O", "X", "Y")  # no entities: the O is a tag as others
    rows.append(TaggedSentence(("a", "b"), ("B-x", "Y"), "t:9"))
    with pytest.raises(DataError, match=re.escape("t:0: expected tags as B-")):
        tag_names(rows)


def sentence(text: str, tags: str) -> TaggedSentence:
    return TaggedSentence(tuple(text.split()), tuple(tags.split()), "t:1")


def test_the_first_piece_of_a_word_has_its_tag(tokenizer):
    made = make_token_rows([sentence("acd bc", "X Y")], ("X", "Y"), tokenizer, 16)
    (row,) = made.features
    assert [PIECES[number] for number in row.input_ids] == [
        "[CLS]", "a", "##c", "##d", "b", "##c", "[SEP]",
    ]  # fmt: skip
    assert row.label.tolist() == [IGNORED, 0, IGNORED, IGNORED, 1, IGNORED, IGNORED]
    options = {"label_all_tokens": True}
    (row,) = make_token_rows([sentence("acd bc", "X Y")], "XY", tokenizer, 16, **options).features
    assert row.label.tolist() == [IGNORED, 0, 0, 0, 1, 1, IGNORED]


def test_long_sentences_have_several_rows_and_words_without_pieces_count_as_outside(tokenizer):
    tags = ("B-x", "I-x", "O")
    # The second word is a character that the tokenizer drops; the fifth is cut by a row's end.
    long = sentence("a \x7f e b acdcd e", "B-x I-x O O B-x O")
    data = [sentence("e", "O"), long, sentence("b a", "B-x I-x")]
    made = make_token_rows(data, tags, tokenizer, 6)
    assert (made.split, made.lost) == (1, 1)
    assert [row.sentence for row in made.rows] == [0, 1, 1, 1, 2]
    assert all(len(one) <= 6 for one in made.features)
    words = [word for row in made.rows if row.sentence == 1 for word in row.words]
    assert words == [0, 2, 3, 4, 5]
    perfect = [np.eye(3)[np.maximum(one.label, 0)] for one in made.features]
    found = tags_of(perfect, made.rows, data, tags)
    assert found == [["O"], ["B-x", "O", "O", "O", "B-x", "O"], ["B-x", "I-x"]]
    scores = tag_metric(made.rows, data, tags, strict=False)(perfect, None)
    assert scores["acc"] == 8 / 9  # the lost word counts, as tagged O
    assert scores["f1"] == pytest.approx(2 / 3)
    assert [*scores] == ["f1", "precision", "recall", "acc"]
    assert scores.classes == {"x": (pytest.approx(2 / 3),) * 3 + (3,)}


def test_tags_that_training_did_not_have_are_not_learned_and_count(tokenizer):
    data = [sentence("a b", "X Z")]
    made = make_token_rows(data, ("X", "Y"), tokenizer, 8)
    assert made.features[0].label.tolist() == [IGNORED, 0, IGNORED, IGNORED]
    scores = tag_metric(made.rows, data, ("X", "Y"), strict=False)([np.eye(2)[[0, 0, 0, 0]]], None)
    assert scores == {"acc": 0.5}
    assert scores.classes == {"X": (0.5, 1.0, pytest.approx(2 / 3), 1), "Z": (0.0, 0.0, 0.0, 1)}


def test_predictions_can_be_read_again(tmp_path):
    odd = TaggedSentence(("a\tb", "c\nd\r\ne"), ("X", "Y"), "t.jsonl:1")
    write_all(tag_writer(tmp_path, "odd"), [(odd, odd.tags)])
    (one,), _ = read_sentences([path_of(tmp_path, "odd")])
    assert (one.words, one.tags) == (("a b", "c d e"), ("X", "Y"))
    data = [sentence("a b", "X Y"), sentence("c", "X")]
    table = path_of(tmp_path / "new", "de")
    write_all(tag_writer(tmp_path / "new", "de"), [(one, one.tags) for one in data])
    assert table.name == "predictions_de.tsv"
    for path in (table, table.with_suffix(".jsonl")):
        sentences, _ = read_sentences([path])
        assert [(one.words, one.tags) for one in sentences] == [(o.words, o.tags) for o in data]
