"""What only ERNIE has: an embedding of the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.ernie import (
    UIE,
    ErnieConfig,
    ErnieForMultipleChoice,
    ErnieForTokenClassification,
    ErnieModel,
)
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, arrays, tensors

TINY = SIZES | FAMILY_SIZES["ernie"]
TASKS = np.random.default_rng(3).integers(0, 5, (3, 7))


def build(cls: type[Model], **sizes: Any) -> Any:
    paddle.seed(1)
    model = cls(ErnieConfig(**(TINY | sizes)))
    model.eval()
    return model


def test_the_task_of_the_config_is_that_of_every_token() -> None:
    model, batch = build(ErnieModel, task_id=2), tensors(arrays())
    implied = model(**batch).last_hidden_state
    for task, same in [(2, True), (0, False)]:
        given = paddle.full([3, 7], task, "int64")
        answer = model(**batch, task_type_ids=given).last_hidden_state
        assert np.allclose(answer.numpy(), implied.numpy(), atol=1e-6) is same


def test_tokens_of_several_tasks() -> None:
    """The task's embedding is added like any other, so its word vectors may carry it."""
    model = build(ErnieForTokenClassification)
    batch = tensors(arrays())
    got = model(**batch, task_type_ids=paddle.to_tensor(TASKS)).logits
    words = model.get_input_embeddings()(batch.pop("input_ids"))
    tasks = model.backbone.embeddings.task_type_embeddings
    words = words + tasks(paddle.to_tensor(TASKS)) - tasks.weight[0]
    expected = model(**batch, inputs_embeds=words).logits
    np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-6)


def test_choices_have_tasks_too() -> None:
    model, batch = build(ErnieForMultipleChoice), arrays()
    batch["task_type_ids"] = TASKS
    choices = {name: np.repeat(rows[:, None], CHOICES, 1) for name, rows in batch.items()}
    scores = model(**tensors(choices)).logits.numpy()
    np.testing.assert_allclose(scores, np.repeat(scores[:, :1], CHOICES, 1), atol=1e-6)
    choices["task_type_ids"][:, 1] = (TASKS + 1) % 5
    changed = np.abs(model(**tensors(choices)).logits.numpy() - scores) > 1e-5
    np.testing.assert_array_equal(changed.all(0), np.arange(CHOICES) == 1)


def test_a_model_without_tasks_pays_no_attention_to_them() -> None:
    model = build(ErnieModel, use_task_id=False)
    assert not any("task" in name for name, _ in model.named_parameters())
    given = model(**tensors(arrays() | {"task_type_ids": TASKS})).last_hidden_state
    expected = model(**tensors(arrays())).last_hidden_state
    np.testing.assert_array_equal(given.numpy(), expected.numpy())


@pytest.mark.parametrize("layout", ["paddle", "huggingface"])
def test_extraction(layout: Any, tmp_path: Path) -> None:
    """Probabilities as PaddleNLP's script takes them, and a loss of its own labels."""
    model, batch = build(UIE), tensors(arrays())
    model.save_pretrained(tmp_path, format=layout)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["UIE"]
    loaded = UIE.from_pretrained(tmp_path)
    assert not loaded.load_report.missing
    assert not loaded.load_report.unexpected
    start_prob, end_prob = loaded(**batch).to_tuple()
    states = model.backbone(**batch).last_hidden_state
    for got, layer in ((start_prob, model.linear_start), (end_prob, model.linear_end)):
        logits = layer(states).numpy()[:, :, 0]
        np.testing.assert_allclose(got.numpy(), 1 / (1 + np.exp(-logits)), atol=1e-6)
    starts, ends = np.random.default_rng(0).integers(0, 2, (2, 3, 7)).astype("float32")
    truths = {"start_positions": paddle.to_tensor(starts), "end_positions": paddle.to_tensor(ends)}
    expected = 0.0
    for prob, truth in ((start_prob.numpy(), starts), (end_prob.numpy(), ends)):
        expected -= np.mean(truth * np.log(prob) + (1 - truth) * np.log(1 - prob)) / 2
    assert abs(float(loaded(**batch, **truths).loss) - expected) < 1e-5


def test_extraction_has_paddlenlp_s_presets() -> None:
    sizes = {"base": 12, "medium": 6, "mini": 6, "micro": 4, "nano": 4}
    for size, layers in sizes.items():
        for name in (f"uie-{size}", f"uie-senta-{size}"):
            assert UIE.read_config(name).num_hidden_layers == layers
    assert UIE.read_config("uie-base-en").vocab_size == 30522
