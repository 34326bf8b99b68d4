"""Tensors of masked rows: places and labels are right, the cap is hard, padding is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training.losses import IGNORED
from paddlenlp_ext.training.objectives import MaskedLM, MaskedTensors
from tests.pretraining.test_shards import arrays


def tensors(columns: dict[str, Any], predictions: int = 4, multiple: int = 1) -> dict[str, Any]:
    rows = Rows(np.arange(len(columns["input_ids"])), columns)
    return {
        name: tensor.numpy() for name, tensor in MaskedTensors(predictions, multiple)(rows).items()
    }


def labelled(found: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Row, place in the row and label of every masked token."""
    length = found["input_ids"].shape[1]
    real = found["labels"] != IGNORED
    positions = found["masked_positions"][real]
    return list(
        zip(
            (positions // length).tolist(),
            (positions % length).tolist(),
            found["labels"][real].tolist(),
            strict=True,
        )
    )


def expected(columns: dict[str, Any], predictions: int) -> list[tuple[int, int, int]]:
    return [
        (row, int(place), int(label))
        for row, (places, labels) in enumerate(
            zip(columns["masked_lm_positions"], columns["masked_lm_ids"], strict=True)
        )
        for place, label in list(zip(places, labels, strict=True))[:predictions]
        if place > 0
    ]


@pytest.mark.parametrize("predictions", [1, 2, 3, 4, 80])
def test_the_cap_is_hard(predictions):
    """Some rows fill their list, and lose nothing then; an old version lost all of them."""
    columns = arrays(31)
    assert (columns["masked_lm_positions"][:, -1] > 0).any()
    assert labelled(tensors(columns, predictions)) == expected(columns, predictions)


def test_the_list_ends_at_the_first_zero():
    columns = arrays(3)
    columns["masked_lm_positions"][:] = [[2, 3, 0, 0], [1, 0, 4, 0], [0, 3, 4, 1]]
    found = [(row, place) for row, place, _ in labelled(tensors(columns))]
    assert found == [(0, 2), (0, 3), (1, 1)]


def test_padding_is_cut_and_rounded():
    columns = arrays(9, length=40)
    columns["input_mask"] = (np.arange(40) < 13).astype("int8") * np.ones((9, 1), "int8")
    for multiple, length in ((1, 13), (8, 16), (64, 40)):
        found = tensors(columns, multiple=multiple)
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            assert found[name].shape == (9, length)
            assert found[name].dtype == np.int64
        np.testing.assert_array_equal(found["input_ids"], columns["input_ids"][:, :length])
        np.testing.assert_array_equal(found["token_type_ids"], columns["segment_ids"][:, :length])
        assert found["attention_mask"].sum() == 9 * 13
        assert len(found["labels"]) % multiple == 0
        assert labelled(found) == expected(columns, 4)


def test_no_rows_and_no_masked_tokens():
    none = tensors({name: values[:0] for name, values in arrays(4).items()})
    assert none["input_ids"].shape == (0, 0)
    assert none["labels"].tolist() == [IGNORED]
    columns = arrays(4) | {"masked_lm_positions": np.zeros((4, 4), "int32")}
    assert labelled(tensors(columns)) == []


def test_counts_are_of_labels_only():
    columns = arrays(7)
    columns["next_sentence_labels"][:2] = -1
    rows = Rows(np.arange(7), columns)
    batch = Batch(MaskedTensors(4, 8)(rows), rows.numbers)
    masked = len(expected(columns, 4))
    assert MaskedLM().count(batch) == [masked, 5]
    assert MaskedLM(pairs=False).count(batch) == [masked]
