"""Every class of every family against transformers, tiny, in both directions: one suite of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.parity.families import FAMILIES, Row, rows
from tests.parity.reference import (
    Pair,
    assert_same,
    assert_same_gradients,
    assert_same_layers,
    assert_transformers_loads,
    inputs,
    labels,
    random_pair,
)
from tests.tiny import square_mask

pytestmark = pytest.mark.parity

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return the two models of a row, which its tests share and leave as they are."""
    return random_pair(request.param, tmp_path_factory.mktemp("theirs"))


def each(rows: list[Any]) -> Any:
    """Run a test for the models of each row."""
    return pytest.mark.parametrize("pair", rows, indirect=True)


def rows_with_square_masks() -> list[Any]:
    return [
        row
        for row in rows()
        if FAMILIES[row.values[0].family].square_masks
        and not row.values[0].name.endswith("ForMultipleChoice")
    ]


@each(rows())
def test_outputs(pair: Pair) -> None:
    assert_same(*pair, inputs(pair.ours), TOLERANCE)


@each(rows_with_square_masks())
def test_outputs_with_square_masks(pair: Pair) -> None:
    assert_same(*pair, inputs(pair.ours) | {"attention_mask": square_mask()}, TOLERANCE)


@each(rows())
def test_transformers_loads_ours(pair: Pair, tmp_path: Path) -> None:
    assert_transformers_loads(pair, tmp_path, inputs(pair.ours), TOLERANCE)


@each([row for row in rows() if labels(row.values[0].name)])
def test_losses(pair: Pair) -> None:
    assert_same(*pair, inputs(pair.ours) | labels(type(pair.ours).__name__), TOLERANCE)


@each(rows("Model"))
def test_every_layer(pair: Pair) -> None:
    """The first state is the projected embedding; ConvBERT's attentions are of half the heads."""
    assert_same_layers(*pair, inputs(pair.ours), TOLERANCE)


@each([row for row in rows() if labels(row.values[0].name)])
def test_gradients(pair: Pair) -> None:
    """Training starts from the same gradients."""
    assert_same_gradients(*pair, inputs(pair.ours) | labels(type(pair.ours).__name__))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("trained", ["q_proj.weight", "word_embeddings.weight", "bias"])
@each([row for row in rows(every_form=False) if labels(row.values[0].name)])
def test_gradients_of_a_part(pair: Pair, trained: str, compiled: bool) -> None:
    """All else is frozen, LayerNorms too."""
    pair.ours.clear_gradients()  # which leaves those of what is frozen
    pair.ours.compile_layers(compiled)
    try:
        for name, parameter in pair.ours.named_parameters():
            parameter.stop_gradient = not name.endswith(trained)
        assert_same_gradients(*pair, inputs(pair.ours) | labels(type(pair.ours).__name__))
    finally:
        pair.ours.compile_layers(True)
        for parameter in pair.ours.parameters():
            parameter.stop_gradient = False


@pytest.mark.parametrize(
    "targets",
    [
        np.array([2, 0, 1]),
        np.array([0.3, -1.0, 2.5], "float32"),
        np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], "float32"),
    ],
    ids=["classes", "scores", "several-at-once"],
)
@pytest.mark.parametrize("row", rows("ForSequenceClassification", every_form=False))
def test_losses_by_kind_of_label(row: Row, targets: np.ndarray, tmp_path: Path) -> None:
    width = targets.shape[-1] if targets.dtype == np.int64 or targets.ndim == 2 else 1
    pair = random_pair(row, tmp_path, num_labels=width)
    assert_same(*pair, inputs(pair.ours) | {"labels": targets}, TOLERANCE)


@each(
    rows(
        "ForSequenceClassification",
        "ForMultipleChoice",
        "ForNextSentencePrediction",
        "ForPreTraining",
        every_form=False,
    )
)
def test_labels_of_texts_may_be_left_out(pair: Pair) -> None:
    """What is -100 weakens neither the loss nor the gradient of the others."""
    given = labels(type(pair.ours).__name__)
    texts = "next_sentence_label" if "next_sentence_label" in given else "labels"
    batch = inputs(pair.ours) | given | {texts: np.array([1, -100, 0])}
    assert_same(*pair, batch, TOLERANCE)
    assert_same_gradients(*pair, batch)


@each(rows("ForQuestionAnswering", every_form=False))
def test_places_of_answers_outside_of_the_text(pair: Pair) -> None:
    """Below 0 they are the first token, and beyond the text they count nowhere."""
    places = {"start_positions": np.array([-1, 2, 7]), "end_positions": np.array([-100, 8, 5])}
    assert_same(*pair, inputs(pair.ours) | places, TOLERANCE)
    assert_same_gradients(*pair, inputs(pair.ours) | places)


@pytest.mark.parametrize("row", rows("ErnieForTokenClassification"))
def test_tasks_of_tokens(row: Row, tmp_path: Path) -> None:
    pair = random_pair(row, tmp_path)
    tasks = {"task_type_ids": np.random.default_rng(4).integers(0, 5, (3, 7))}
    assert_same(*pair, inputs(pair.ours) | tasks, TOLERANCE)


@pytest.mark.parametrize("row", rows("ErnieMModel"))
def test_given_positions_are_shifted_and_left_alone(row: Row, tmp_path: Path) -> None:
    pair = random_pair(row, tmp_path)
    places = np.array([[3, 1, 4, 1, 5, 9, 2]] * 3)
    assert_same(*pair, inputs(pair.ours) | {"position_ids": places}, TOLERANCE)
    given = paddle.to_tensor(places)
    pair.ours(paddle.to_tensor(inputs(pair.ours)["input_ids"]), given)
    np.testing.assert_array_equal(given.numpy(), places)


@pytest.mark.parametrize("row", rows("ErnieMModel"))
def test_mask_is_found_by_the_padding_token(row: Row, tmp_path: Path) -> None:
    """As in transformers; the first token here is 0, which the original takes for padding."""
    pair = random_pair(row, tmp_path)
    batch = inputs(pair.ours)
    del batch["attention_mask"]
    batch["input_ids"][:, 0] = 0
    assert_same(*pair, batch, TOLERANCE)
