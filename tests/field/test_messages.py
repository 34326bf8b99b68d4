"""A message is one line, printable and short, whatever a file of others holds."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import (
    LONGEST,
    DataError,
    TooLongError,
    UserError,
    WeightsError,
    one_line,
    shown,
)
from paddlenlp_ext.models.auto import AutoModel
from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.weights.files import read_weights
from paddlenlp_ext.weights.formats.safe_tensors import write_safetensors
from tests.tiny import FAMILY_SIZES, SIZES

# Of each kind one: a new line and a clear screen, a text that runs backwards, half a character, NUL
ODD = {
    "line": "x\nerror: all is well\x1b[2J",
    "backwards": "a\u202e\u2066b",
    "surrogate": "\ud800",
    "separators": "a\u2028b\x85c\x00\r",
    "long": "x" * 3_000_000,
    "long and odd": "\x1b" * 500_000,
}


def sizes() -> dict[str, Any]:
    return {"model_type": "bert", **SIZES, **FAMILY_SIZES["bert"]}


def config_of(name: str) -> Callable[[Path, str], object]:
    """Put the text into a field of a config."""

    def read(folder: Path, text: str) -> object:
        (folder / "config.json").write_text(json.dumps({**sizes(), name: text}))
        return BertConfig.from_pretrained(folder)

    return read


def auto(read: Callable[[Path], object], name: str, **values: object) -> Any:
    def read_folder(folder: Path, text: str) -> object:
        (folder / name).write_text(json.dumps({**values, next(iter(values)): text}))
        return read(folder)

    return read_folder


def index(folder: Path, text: str) -> object:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": text}}))
    return read_weights(folder)


def names_in_index(folder: Path, text: str) -> object:
    write_safetensors(folder / "a.safetensors", {"a": np.zeros(1, "f4")})
    listed = {f"{text}{n}": "a.safetensors" for n in range(3)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    return read_weights(folder)


def labels(folder: Path, text: str) -> object:
    (folder / "config.json").write_text(json.dumps({**sizes(), "id2label": {text: "a"}}))
    return BertConfig.from_pretrained(folder)


def twice(folder: Path, text: str) -> object:
    (folder / "config.json").write_text(f"{{{json.dumps(text)}: 1, {json.dumps(text)}: 2}}")
    return BertConfig.from_pretrained(folder)


def nested(folder: Path, text: str) -> object:
    value: object = text
    for _ in range(400):
        value = [value]
    (folder / "config.json").write_text(json.dumps({**sizes(), "hidden_act": value}))
    return BertConfig.from_pretrained(folder)


PLACES: dict[str, Callable[[Path, str], object]] = {
    **{name: config_of(name) for name in ("model_type", "hidden_act", "vocab_size", "num_labels")},
    "position_embedding_type": config_of("position_embedding_type"),
    "architectures": config_of("architectures"),
    "family": auto(AutoModel.from_pretrained, "config.json", model_type=""),
    "tokenizer's family": auto(AutoTokenizer.from_pretrained, "config.json", model_type=""),
    "class": auto(AutoTokenizer.from_pretrained, "tokenizer_config.json", tokenizer_class=""),
    "shard": index,
    "names in an index": names_in_index,
    "labels": labels,
    "twice": twice,
    "nested": nested,
}


def check(message: str) -> None:
    assert message.isprintable()
    assert len(message) <= LONGEST
    message.encode()


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", PLACES)
def test_foreign_values_are_quoted_and_cut(place: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        PLACES[place](tmp_path, text)
    check(str(caught.value))
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize("name", ["model_type", "position_embedding_type", "hidden_act"])
def test_what_a_config_says_stands_in_quotes(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'x\\nerror: all is well\\x1b\[2J'"):
        config_of(name)(tmp_path, ODD["line"])


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("kind", [UserError, DataError, WeightsError, TooLongError])
def test_no_message_breaks_a_line_whatever_it_is_made_of(kind: type[UserError], text: str) -> None:
    error = kind(f"a/file: {text}; take another file")
    check(str(error))
    assert str(error).startswith("a/file: ")
    assert str(error).endswith("; take another file")  # the cure is not cut off
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # between processes


def test_names_of_tensors_are_logged_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = BertModel(BertConfig(**SIZES, **FAMILY_SIZES["bert"]))
    model.save_pretrained(tmp_path, format="huggingface")
    file = tmp_path / "model.safetensors"
    odd = {f"{text[:400]}{n}.weight": np.zeros(1, "f4") for text in ODD.values() for n in range(99)}
    odd = {name: array for name, array in odd.items() if "\ud800" not in name}
    write_safetensors(file, {**read_weights(file), **odd, "1" * 500: np.zeros(1, "f4")})
    with caplog.at_level(logging.INFO):
        BertModel.from_pretrained(tmp_path)
    (line,) = [
        record.getMessage()
        for record in caplog.records
        if "not in the model" in record.msg % record.args
    ]
    assert line.isprintable()
    assert len(line) < 20_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("lower", "'lower'"),
        ("it's", '"it\'s"'),
        ("a\nb", r"'a\nb'"),
        ("x" * 80, f"'{'x' * 80}'"),
        ("x" * 81, f"'{'x' * 79}…'"),
        ([1, "a"], "[1, 'a']"),
        ({"a": None}, "{'a': None}"),
    ],
)
def test_ordinary_values_are_shown_as_they_are(value: object, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize("text", ["", "a: 中文 é; give another", "x" * 300])
def test_ordinary_messages_stay_as_they_are(text: str) -> None:
    assert one_line(text) == text == str(UserError(text))


def test_too_little_memory_for_a_model_is_no_matter_of_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BertModel(BertConfig(**SIZES, **FAMILY_SIZES["bert"])).save_pretrained(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise MemoryError("a library's own words")

    monkeypatch.setattr(BertModel, "__init__", full)
    with pytest.raises(UserError, match=r"too little memory for a model .* take a smaller one"):
        BertModel.from_pretrained(tmp_path)
