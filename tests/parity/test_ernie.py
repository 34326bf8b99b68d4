"""ERNIE against transformers: every task class, both directions, with and without tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.models import ernie
from tests.parity.reference import (
    assert_same,
    assert_same_gradients,
    assert_same_layers,
    assert_transformers_loads,
    each_choice,
    randomize,
    reload,
)
from tests.tiny import FAMILY_SIZES, SIZES, arrays, square_mask

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

TINY = SIZES | FAMILY_SIZES["ernie"]
CLASSES = (
    "ErnieModel",
    "ErnieForPreTraining",
    "ErnieForMaskedLM",
    "ErnieForCausalLM",
    "ErnieForNextSentencePrediction",
    "ErnieForSequenceClassification",
    "ErnieForTokenClassification",
    "ErnieForQuestionAnswering",
    "ErnieForMultipleChoice",
)


def build(name: str, **sizes: Any) -> tuple[Any, Any]:
    """Our class, and a random model of transformers."""
    sizes = TINY | {"is_decoder": name == "ErnieForCausalLM"} | sizes
    reference = getattr(transformers, name)(transformers.ErnieConfig(**sizes))
    return getattr(ernie, name), randomize(reference)


def inputs(name: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return each_choice(batch) if name == "ErnieForMultipleChoice" else batch


@pytest.mark.parametrize("tasks", [True, False])
@pytest.mark.parametrize("name", CLASSES)
def test_tiny(name: str, tasks: bool, tmp_path: Path) -> None:
    ours, reference = build(name, use_task_id=tasks)
    model = reload(reference, ours, tmp_path / "theirs")
    assert not model.load_report.missing
    assert not model.load_report.unexpected
    batch = inputs(name, arrays())
    assert_same(reference, model, batch, 2e-6)
    assert_transformers_loads(model, type(reference), tmp_path / "ours", batch, 2e-6)


def test_square_masks(tmp_path: Path) -> None:
    ours, reference = build("ErnieModel")
    model = reload(reference, ours, tmp_path)
    assert_same(reference, model, arrays() | {"attention_mask": square_mask()}, 2e-6)


def test_tasks_of_tokens(tmp_path: Path) -> None:
    ours, reference = build("ErnieForTokenClassification")
    model = reload(reference, ours, tmp_path)
    tasks = {"task_type_ids": np.random.default_rng(4).integers(0, 5, (3, 7))}
    assert_same(reference, model, arrays() | tasks, 2e-6)


def test_every_layer(tmp_path: Path) -> None:
    ours, reference = build("ErnieModel")
    model = reload(reference, ours, tmp_path)
    assert_same_layers(reference, model, arrays(), 2e-6)


def test_losses(tmp_path: Path) -> None:
    batch = arrays()
    of_tokens = np.where(batch["attention_mask"] == 1, arrays(seed=9)["input_ids"] % 2, -100)
    labels = {
        "ErnieForMaskedLM": {"labels": of_tokens},
        "ErnieForCausalLM": {"labels": of_tokens},
        "ErnieForPreTraining": {
            "labels": of_tokens,
            "next_sentence_label": np.array([1, 0, 1]),
        },
        "ErnieForNextSentencePrediction": {"labels": np.array([1, 0, 1])},
        "ErnieForTokenClassification": {"labels": of_tokens},
        "ErnieForSequenceClassification": {"labels": np.array([1, 0, 1])},
        "ErnieForMultipleChoice": {"labels": np.array([4, 0, 2])},
        "ErnieForQuestionAnswering": {
            "start_positions": np.array([1, 0, 99]),
            "end_positions": np.array([3, 2, 1]),
        },
    }
    for name, given in labels.items():
        ours, reference = build(name)
        model = reload(reference, ours, tmp_path / name)
        assert_same(reference, model, inputs(name, batch) | given, 2e-6)


def test_gradients(tmp_path: Path) -> None:
    ours, reference = build("ErnieForSequenceClassification")
    model = reload(reference, ours, tmp_path)
    assert_same_gradients(reference, model, arrays() | {"labels": np.array([1, 0, 1])})


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("preset", ["ernie-1.0-base-zh", "ernie-3.0-medium-zh"])
def test_published_sizes(preset: str, name: str, tmp_path: Path) -> None:
    """A new model's weights are spread about as widely as a trained one's."""
    torch.manual_seed(0)
    config = transformers.ErnieConfig.from_dict(ernie.PRESETS[preset].to_dict())
    config.is_decoder = name == "ErnieForCausalLM"
    reference = getattr(transformers, name)(config).eval()
    model = reload(reference, getattr(ernie, name), tmp_path)
    batch = arrays(length=37)
    batch["token_type_ids"] %= config.type_vocab_size
    assert_same(reference, model, inputs(name, batch), 1e-5)
