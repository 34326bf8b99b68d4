"""Numbers in files are what their formats have; what Python's parsers take besides is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.models.bert import BertConfig
from paddlenlp_ext.tasks.glue import glue_task
from paddlenlp_ext.tasks.rows import _label, read_examples
from paddlenlp_ext.tokenizers import saving

ODD = [
    "0_1",
    "１",
    "٢",
    "𝟑",
    " 2 ",
    "2\u00a0",
    "0x1",
    "1_0.5",
    "infinity",
    "+",
    ".",
    "1e",
    "",
    "1.0.0",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_numerals_are_no_scores(text: str, tmp_path: Path) -> None:
    task = glue_task("STS-B")
    with pytest.raises(ValueError, match="expected a number as score"):
        _label(text, task)
    head = "a\tb\tc\td\te\tf\tg\tsentence1\tsentence2\tscore\n"
    (tmp_path / "train.tsv").write_text(head + "x\t" * 7 + f"A.\tB.\t{text}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.tsv:2: expected a"):
        read_examples(task, "train", tmp_path)


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("3.800", 3.8), ("0", 0), (".5", 0.5), ("5.", 5), ("1e-1", 0.1)]
)
def test_ordinary_numerals_are_scores(text: str, value: float) -> None:
    assert _label(text, glue_task("STS-B")) == value


@pytest.mark.parametrize("key", ["0_1", "１", "٢", " 1 ", "+1", "1.0", "", "9" * 5_000])
def test_odd_numerals_are_no_numbers_of_labels(key: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a", key: "b"}}))
    with pytest.raises(UserError, match=r"config\.json: id2label must have whole numbers"):
        BertConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("number", [1.5, 1.0, True, None, [1], "1_0", 2**61 - 1])
def test_numbers_of_labels_are_whole(number: object, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"label2id": {"a": 0, "b": number}}))
    with pytest.raises(UserError, match=r"config\.json: label2id must have whole numbers"):
        BertConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("key", ["0_1", "１", "٢", " 1 "])
def test_odd_numerals_are_no_ids_of_tokens(key: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"added_tokens_decoder": {key: {"content": "[Q]"}}}))
    with pytest.raises(UserError, match="must have an id and a token"):
        saving.listed_tokens(path, saving.read_json(path)["added_tokens_decoder"])
