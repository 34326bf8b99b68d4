"""ELECTRA against transformers: every task class, both directions, decoding, published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.models import electra
from tests.parity.reference import (
    assert_same,
    assert_same_gradients,
    assert_same_layers,
    assert_transformers_loads,
    each_choice,
    randomize,
    reload,
)
from tests.tiny import FAMILY_SIZES, SIZES, TYPES, arrays, square_mask

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

TINY = SIZES | FAMILY_SIZES["electra"]
# Ours to theirs.
CLASSES = {
    "ElectraModel": "ElectraModel",
    "ElectraForMaskedLM": "ElectraForMaskedLM",
    "ElectraForCausalLM": "ElectraForCausalLM",
    "ElectraDiscriminator": "ElectraForPreTraining",
    "ElectraForSequenceClassification": "ElectraForSequenceClassification",
    "ElectraForTokenClassification": "ElectraForTokenClassification",
    "ElectraForQuestionAnswering": "ElectraForQuestionAnswering",
    "ElectraForMultipleChoice": "ElectraForMultipleChoice",
}


def build(name: str, **sizes: Any) -> tuple[Any, Any]:
    """Our class, and a random model of transformers."""
    sizes = TINY | {"is_decoder": name == "ElectraForCausalLM"} | sizes
    reference = getattr(transformers, CLASSES[name])(transformers.ElectraConfig(**sizes))
    return getattr(electra, name), randomize(reference)


def inputs(name: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return each_choice(batch) if name == "ElectraForMultipleChoice" else batch


@pytest.mark.parametrize("width", [11, 24])
@pytest.mark.parametrize("name", CLASSES)
def test_tiny(name: str, width: int, tmp_path: Path) -> None:
    ours, reference = build(name, embedding_size=width)
    model = reload(reference, ours, tmp_path / "theirs")
    assert not model.load_report.missing
    assert not model.load_report.unexpected
    batch = inputs(name, arrays())
    assert_same(reference, model, batch, 2e-6)
    assert_transformers_loads(model, type(reference), tmp_path / "ours", batch, 2e-6)


def test_square_masks(tmp_path: Path) -> None:
    ours, reference = build("ElectraModel")
    model = reload(reference, ours, tmp_path)
    assert_same(reference, model, arrays() | {"attention_mask": square_mask()}, 2e-6)


def test_every_layer(tmp_path: Path) -> None:
    """The first hidden state is the projected embedding."""
    ours, reference = build("ElectraModel")
    model = reload(reference, ours, tmp_path)
    assert_same_layers(reference, model, arrays(), 2e-6)


def test_losses(tmp_path: Path) -> None:
    batch = arrays()
    of_tokens = np.where(batch["attention_mask"] == 1, arrays(seed=9)["input_ids"] % 2, -100)
    labels = {
        "ElectraForMaskedLM": {"labels": of_tokens},
        "ElectraForCausalLM": {"labels": of_tokens},
        "ElectraDiscriminator": {"labels": of_tokens.clip(0)},  # those of padding count nowhere
        "ElectraForTokenClassification": {"labels": of_tokens},
        "ElectraForSequenceClassification": {"labels": np.array([1, 0, 1])},
        "ElectraForMultipleChoice": {"labels": np.array([4, 0, 2])},
        "ElectraForQuestionAnswering": {
            "start_positions": np.array([1, 0, 99]),
            "end_positions": np.array([3, 2, 1]),
        },
    }
    for name, given in labels.items():
        ours, reference = build(name)
        model = reload(reference, ours, tmp_path / name)
        assert_same(reference, model, inputs(name, batch) | given, 2e-6)


@pytest.mark.parametrize("name", ["ElectraForMultipleChoice", "ElectraDiscriminator"])
def test_gradients(name: str, tmp_path: Path) -> None:
    ours, reference = build(name)
    model = reload(reference, ours, tmp_path)
    labels = arrays(seed=9)["input_ids"] % 2
    if name == "ElectraForMultipleChoice":
        labels = np.array([4, 0, 2])
    assert_same_gradients(reference, model, inputs(name, arrays()) | {"labels": labels})


def test_other_choices_of_a_summary(tmp_path: Path) -> None:
    ours, reference = build("ElectraForMultipleChoice", summary_activation=None, hidden_act="relu")
    model = reload(reference, ours, tmp_path)
    assert_same(reference, model, each_choice(arrays()), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("preset", ["electra-small", "electra-base"])
def test_published_sizes(preset: str, name: str, tmp_path: Path) -> None:
    """A new model's weights are spread about as widely as a trained one's."""
    torch.manual_seed(0)
    config = transformers.ElectraConfig.from_dict(electra.PRESETS[preset].to_dict())
    config.is_decoder = name == "ElectraForCausalLM"
    reference = getattr(transformers, CLASSES[name])(config).eval()
    model = reload(reference, getattr(electra, name), tmp_path)
    batch = arrays(length=37)
    batch["token_type_ids"] %= TYPES - 1
    assert_same(reference, model, inputs(name, batch), 1e-5)
