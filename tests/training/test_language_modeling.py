"""Masks of rows: whole words, the same in every batch; labels of the next token; losses of rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import resolve
from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.training.language_modeling import MaskedRows, NextTokens, class_for
from paddlenlp_ext.training.settings import RunSettings
from tests.scripts.multilingual import xlm_r

TEXTS = ["the kinematics of vehicles", "unbelievable surprises happen everywhere", "我们今天去公园"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return xlm_r(tmp_path_factory.mktemp("xlm_r"))


def settings(**changes: object) -> RunSettings:
    flags = {
        "model_name_or_path": "",
        "output_dir": "",
        "device": "cpu",
        "batch_size": 2,
        "learning_rate": 1.0,
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_steps": 1,
    }
    return RunSettings(**flags | changes)  # fmt: skip


def rows_of(ids: list[list[int]], width: int = 40) -> Rows:
    table = np.zeros((len(ids), width), np.int32)
    for row, one in zip(table, ids, strict=True):
        row[: len(one)] = one
    lengths = np.array([len(one) for one in ids], np.int32)
    return Rows(np.arange(5, 5 + len(ids)), {"input_ids": table, "length": lengths})


def test_words_are_masked_whole_and_clauses_are_not(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXTS)["input_ids"]
    rows = rows_of(ids)
    tensors = MaskedRows.of(tokenizer, settings(), probability=0.4, whole_words=True)
    alone = MaskedRows.of(tokenizer, settings(), probability=0.4, whole_words=False)
    broken = dict.fromkeys(("words", "alone", "clause"), 0)
    masked = np.zeros(3)
    for epoch in range(60):
        for name, make in {"words": tensors, "alone": alone}.items():
            batch = make(rows, epoch)
            length = batch["input_ids"].shape[1]
            chosen = np.zeros(batch["input_ids"].shape, bool)
            count = int((batch["labels"].numpy() != -100).sum())
            chosen.reshape(-1)[batch["masked_positions"].numpy()[:count]] = True
            assert chosen.sum() == count
            stood = rows.columns["input_ids"][:, :length][chosen]
            assert stood.tolist() == batch["labels"].tolist()[:count]
            if name == "words":
                masked += [chosen[row].sum() for row in range(3)]
            for row in range(3):
                tokens = tokenizer.convert_ids_to_tokens(ids[row])
                for at in range(2, len(tokens) - 1):
                    if not tokens[at].startswith("▁") and chosen[row, at] != chosen[row, at - 1]:
                        broken["clause" if name == "words" and row == 2 else name] += 1
    assert broken["words"] == 0
    assert broken["alone"] > 20
    assert broken["clause"] > 20
    share = masked / 60 / [len(one) - 2 for one in ids]
    np.testing.assert_allclose(share, 0.4, atol=0.12)


def test_masks_depend_on_seed_epoch_and_row_alone(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = rows_of(tokenizer(TEXTS)["input_ids"])

    def hidden(rows: Rows, epoch: int, **changes: int) -> list[list[int]]:
        make = MaskedRows.of(tokenizer, settings(**changes), probability=0.4, whole_words=True)
        ids = make(rows, epoch)["input_ids"].numpy()
        return [one[:n].tolist() for one, n in zip(ids, rows.columns["length"], strict=True)]

    assert hidden(rows.take(slice(2, 3)), 1) == hidden(rows, 1)[2:]
    assert hidden(rows, 1) != hidden(rows, 2)
    assert hidden(rows, 1) != hidden(rows, 1, seed=43)


def test_next_tokens() -> None:
    batch = NextTokens(pad_token_id=1, pad_to_multiple_of=8)(rows_of([[2, 7, 9, 3], [2, 3]]))
    ignored = [-100] * 4
    assert batch["input_ids"].tolist() == [[2, 7, 9, 3, 1, 1, 1, 1], [2, 3, 1, 1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[7, 9, 3, -100, *ignored], [3, -100, -100, -100, *ignored]]


def test_families_without_a_decoder_are_named(folder: Path, tmp_path: Path) -> None:
    assert class_for("causal", resolve(folder)).__name__ == "XLMRobertaForCausalLM"
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "ernie_m"}))
    assert class_for("masked", resolve(tmp_path)).__name__ == "ErnieMForMaskedLM"
    with pytest.raises(UserError, match=r"ernie_m has no ForCausalLM; .*: bert, rembert, electra"):
        class_for("causal", resolve(tmp_path))
