"""What no table has, and what says one thing twice, is refused before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import InputError
from paddlenlp_ext.models.auto import FAMILIES
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding
from tests.models.test_contract import CLASSES, batch_for, build, first
from tests.tiny import V, square_mask, tensors

HEAD = "ForSequenceClassification"
LONGEST = 19


def with_one(values: np.ndarray, wrong: int) -> np.ndarray:
    """The same numbers with a wrong one somewhere in the middle."""
    changed = values.copy()
    changed[1, 2] = wrong
    return changed


def refused(model: Model, name: str, wrong: int, inputs: dict[str, Any]) -> None:
    batch = {**inputs, name: with_one(inputs[name], wrong)}
    with pytest.raises(InputError, match=f"`{name}` hold {wrong}, ") as caught:
        model(**tensors(batch))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", ["Model", HEAD])
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_that_no_table_has_are_refused(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    inputs = batch_for(model, task)
    for wrong in (-1, -2, -V, V, V + 9):
        refused(model, "input_ids", wrong, inputs)
    if "token_type_ids" in inputs:
        for wrong in (-1, -2, model.config.type_vocab_size, 60):
            refused(model, "token_type_ids", wrong, inputs)
    embeddings = (model if task == "Model" else model.backbone).embeddings
    first = getattr(embeddings, "first_position_id", 0)
    inputs["position_ids"] = np.tile(np.arange(7) + first, (3, 1))
    model(**tensors(inputs))
    refused(model, "position_ids", -1, inputs)
    refused(model, "position_ids", -5, inputs)
    refused(model, "position_ids", LONGEST, inputs)


def test_tasks_that_no_table_has_are_refused() -> None:
    model = build("ernie", "Model")
    inputs = batch_for(model, "Model")
    inputs["task_type_ids"] = np.ones_like(inputs["input_ids"])
    for wrong in (-1, -2, 5):
        refused(model, "task_type_ids", wrong, inputs)


def test_a_trimmed_table_refuses_what_the_whole_one_does() -> None:
    model = build("bert", "Model")
    table = model.embeddings.word_embeddings.weight.numpy()
    model.embeddings.word_embeddings = TrimmedEmbedding(table, np.arange(V))
    inputs = batch_for(model, "Model")
    model(**tensors(inputs))
    for wrong in (-1, -2, V):
        refused(model, "input_ids", wrong, inputs)


@pytest.mark.parametrize(("family", "task"), CLASSES)
def test_ids_or_vectors_and_not_both(family: str, task: str) -> None:
    model = build(family, task)
    model.eval()
    batch = tensors(batch_for(model, task))
    words = model.get_input_embeddings()(batch["input_ids"])
    with pytest.raises(InputError, match="`input_ids` or `inputs_embeds`, one of the two"):
        model(**batch, inputs_embeds=words)
    model(
        **{name: value for name, value in batch.items() if name != "input_ids"}, inputs_embeds=words
    )
    with pytest.raises(InputError, match="`input_ids` or `inputs_embeds`, one of the two"):
        model(attention_mask=paddle.ones([3, 7], "int64"))


@pytest.mark.parametrize("task", ["Model", "ForTokenClassification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_masks_as_callers_of_both_libraries_make_them(family: str, task: str) -> None:
    """transformers and PaddleNLP add a float mask of four axes, and read one of two as 1 and 0."""
    model = build(family, task)
    model.eval()
    batch = batch_for(model, task)
    mask = batch.pop("attention_mask")
    inputs, rows = tensors(batch), square_mask()
    added = (1 - mask[:, None, None]).astype("float32")
    for expected, same in (
        (mask, [mask.astype("float32"), mask[:, None, None], mask[:, None, None] == 1]),
        (
            mask,
            [added * -1e4, added * paddle.finfo(paddle.float32).min, np.where(added, -np.inf, 0)],
        ),
        (rows, [rows[:, None], (1 - rows[:, None]) * np.float32(-1e9)]),
    ):
        wanted = first(model(**inputs, attention_mask=paddle.to_tensor(expected)))
        for given in same:
            got = first(model(**inputs, attention_mask=paddle.to_tensor(given)))
            np.testing.assert_array_equal(got, wanted)
    assert np.abs(first(model(**inputs)) - wanted).max() > 1e-6
    for wrong in (
        added[:, 0, 0] * -1e4,  # both would read it the wrong way round
        mask[:, None, None].astype("float32"),  # both would add it
        rows.astype("float32"),  # on which they do not agree
        added * -0.5,
        np.repeat(mask[:, None, None], 4, 1),
    ):
        with pytest.raises(InputError, match=r"`attention_mask` \[.*: expected") as caught:
            model(**inputs, attention_mask=paddle.to_tensor(wrong))
        assert "\n" not in str(caught.value)
