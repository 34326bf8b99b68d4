"""A vocabulary small enough to know by heart, and folders with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from paddlenlp_ext.tokenizers.bert import BertTokenizer

# The first fifteen lines are those of BERT's own tokenizer tests.
VOCABULARY = [
    *("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "want", "##want", "##ed", "wa", "un"),
    *("runn", "##ing", ",", "low", "lowest", "博", "推", "的", "人", "有", "##人", "##有"),
    *("ah", "zz", "hello", "hallo", "hällo", "HäLLo", "HaLLo", "!", "how", "are", "yo", "you"),
    *("?", "a", "b", "c", "##c"),
]

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    def make(lines: list[str] = VOCABULARY, name: str = "model", **config: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        if config:
            (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
        return folder

    return make


@pytest.fixture
def tokenizer(make_folder: MakeFolder) -> BertTokenizer:
    return BertTokenizer.from_pretrained(make_folder())
