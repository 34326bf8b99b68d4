"""Models against PaddleNLP 2.8.1: its folders load here, ours there, with the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.ernie import UIE
from tests.parity.paddlenlp_reference import Job, assert_same_answers, needs_paddlenlp, run
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, arrays

pytestmark = needs_paddlenlp

TASKS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)
SUPPORTED = {
    "bert": (*TASKS, "ForPreTraining"),
    "convbert": TASKS,
    "electra": TASKS,
    "ernie": (*TASKS, "ForPreTraining"),
}
OTHER_SIZES: dict[str, dict[str, Any]] = {"ernie": {"task_id": 2}, "convbert": {"num_groups": 1}}
# Without a pooler, ours reads the last position, as transformers' does.
READ_OTHERWISE = {("convbert", "ForMultipleChoice")}


def batch_for(model: Model, task: str) -> dict[str, np.ndarray]:
    batch = arrays(pad=model.config.pad_token_id)
    if not hasattr(model.config, "type_vocab_size"):
        del batch["token_type_ids"]
    if task != "ForMultipleChoice":
        return batch
    return {
        name: np.stack([np.roll(rows, turn, 0) for turn in range(CHOICES)], 1)
        for name, rows in batch.items()
    }


def ours_at_random(family: str, task: str, **changes: Any) -> Model:
    return at_random(model_class(family, task), SIZES | FAMILY_SIZES[family] | changes)


def at_random(cls: type[Model], sizes: dict[str, Any]) -> Model:
    paddle.seed(5)
    model = cls(cls.config_class.from_dict(sizes))
    for parameter in model.parameters():
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.1)
    # Some of PaddleNLP's models answer zeros for the padding token, whatever its row holds.
    words = model.get_input_embeddings().weight
    rows = paddle.arange(words.shape[0]) != model.config.pad_token_id
    words.set_value(words * rows.astype("float32").unsqueeze(1))
    return model


@pytest.mark.parametrize("family", SUPPORTED)
def test_both_ways(family: str, tmp_path: Path) -> None:
    sizes = SIZES | FAMILY_SIZES[family] | OTHER_SIZES.get(family, {}) | {"num_choices": CHOICES}
    jobs, models = [], []
    for task in SUPPORTED[family]:
        model = ours_at_random(family, task)
        model.save_pretrained(tmp_path / f"ours_{task}")
        name, batch = model.foreign_class_name("paddle"), batch_for(model, task)
        models.append(model)
        jobs += [
            Job(name, tmp_path / f"theirs_{task}", batch, config=sizes),
            Job(name, tmp_path / f"ours_{task}", batch, overrides={"num_choices": CHOICES}),
        ]
    found = run(jobs, tmp_path)
    for index, (task, ours) in enumerate(zip(SUPPORTED[family], models, strict=True)):
        theirs = type(ours).from_pretrained(tmp_path / f"theirs_{task}")
        assert not theirs.load_report.missing
        assert all("pooler" in name for name in theirs.load_report.unexpected)
        batch = batch_for(ours, task)
        assert_same_answers(theirs, batch, found[2 * index], 2e-6)
        if (family, task) not in READ_OTHERWISE:
            assert_same_answers(ours, batch, found[2 * index + 1], 2e-6)


def test_convbert_without_a_convolution(tmp_path: Path) -> None:
    """PaddleNLP builds plain attention for one head; its folder says so by what it lacks."""
    sizes = SIZES | FAMILY_SIZES["convbert"] | {"num_attention_heads": 1}
    ours = ours_at_random("convbert", "Model", num_attention_heads=1, one_head_convolution=False)
    ours.save_pretrained(tmp_path / "ours")
    batch = batch_for(ours, "Model")
    jobs = [
        Job("ConvBertModel", tmp_path / "theirs", batch, config=sizes),
        Job("ConvBertModel", tmp_path / "ours", batch),
    ]
    found = run(jobs, tmp_path)
    assert_same_answers(type(ours).from_pretrained(tmp_path / "theirs"), batch, found[0], 2e-6)
    assert_same_answers(ours, batch, found[1], 2e-6)


@pytest.mark.parametrize(
    ("family", "parts"), [("convbert", ["generator"]), ("electra", ["generator", "discriminator"])]
)
def test_joint_pretraining(family: str, parts: list[str], tmp_path: Path) -> None:
    """Both nets load both ways, and answer the same where PaddleNLP's can be run."""
    cls = model_class(family, "ForPreTraining")
    name, batch = cls.foreign_class_name("paddle"), arrays()
    ours = ours_at_random(family, "ForPreTraining")
    ours.save_pretrained(tmp_path / "ours")
    jobs = [Job(name, tmp_path / "theirs", batch, SIZES | FAMILY_SIZES[family], part="generator")]
    jobs += [Job(name, tmp_path / "theirs", batch, part=part) for part in parts]
    jobs += [Job(name, tmp_path / "ours", batch, part=part) for part in parts]
    found = run(jobs, tmp_path)[1:]
    theirs = cls.from_pretrained(tmp_path / "theirs")
    assert all("pooler" in name for name in theirs.load_report.unexpected)
    for index, part in enumerate(parts):
        assert_same_answers(getattr(theirs, part), batch, found[index], 2e-6)
        assert_same_answers(getattr(ours, part), batch, found[len(parts) + index], 2e-6)


def test_extraction(tmp_path: Path) -> None:
    """`UIE` answers the same probabilities, in either library's folder."""
    sizes = SIZES | FAMILY_SIZES["ernie"] | OTHER_SIZES["ernie"]
    ours = at_random(UIE, SIZES | FAMILY_SIZES["ernie"])
    ours.save_pretrained(tmp_path / "ours")
    batch = batch_for(ours, "UIE")
    jobs = [
        Job("UIE", tmp_path / "theirs", batch, config=sizes),
        Job("UIE", tmp_path / "ours", batch),
    ]
    found = run(jobs, tmp_path)
    theirs = UIE.from_pretrained(tmp_path / "theirs")
    assert not theirs.load_report.missing
    assert not theirs.load_report.unexpected
    assert_same_answers(theirs, batch, found[0], 2e-6)
    assert_same_answers(ours, batch, found[1], 2e-6)
