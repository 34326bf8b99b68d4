"""ConvBERT against transformers: every task class, both directions, at equal padded length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.models import convbert
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

TINY = SIZES | FAMILY_SIZES["convbert"] | {"pad_token_id": 0}  # transformers' default is 1
CLASSES = (
    "ConvBertModel",
    "ConvBertForMaskedLM",
    "ConvBertForSequenceClassification",
    "ConvBertForTokenClassification",
    "ConvBertForQuestionAnswering",
    "ConvBertForMultipleChoice",
)
FORMS = {
    "as-it-is": {},
    "wide-kernel": {"conv_kernel_size": 9, "num_hidden_layers": 2},
    "kernel-longer-than-the-text": {"conv_kernel_size": 17, "num_hidden_layers": 2},
    "two-groups": {"num_groups": 2, "intermediate_size": 38, "conv_kernel_size": 5},
    "three-groups": {"num_groups": 3, "intermediate_size": 39, "head_ratio": 1},
    "fewer-heads": {"head_ratio": 4, "embedding_size": 24},
    "one-head": {"num_attention_heads": 1, "hidden_act": "relu"},
}


def build(name: str, **sizes: Any) -> tuple[Any, Any]:
    """Our class, and a random model of transformers."""
    reference = getattr(transformers, name)(transformers.ConvBertConfig(**(TINY | sizes)))
    return getattr(convbert, name), randomize(reference)


def inputs(name: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return each_choice(batch) if name == "ConvBertForMultipleChoice" else batch


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CLASSES)
def test_tiny(name: str, form: str, tmp_path: Path) -> None:
    ours, reference = build(name, **FORMS[form])
    model = reload(reference, ours, tmp_path / "theirs")
    assert not model.load_report.missing
    assert not model.load_report.unexpected
    batch = inputs(name, arrays())
    assert_same(reference, model, batch, 2e-6)
    assert_transformers_loads(model, type(reference), tmp_path / "ours", batch, 2e-6)


def test_square_masks(tmp_path: Path) -> None:
    ours, reference = build("ConvBertModel")
    model = reload(reference, ours, tmp_path)
    assert_same(reference, model, arrays() | {"attention_mask": square_mask()}, 2e-6)


def test_every_layer(tmp_path: Path) -> None:
    """The first hidden state is the projected embedding; the attentions are of half the heads."""
    ours, reference = build("ConvBertModel")
    model = reload(reference, ours, tmp_path)
    assert_same_layers(reference, model, arrays(), 2e-6)


def test_losses(tmp_path: Path) -> None:
    batch = arrays()
    of_tokens = np.where(batch["attention_mask"] == 1, arrays(seed=9)["input_ids"] % 2, -100)
    labels = {
        "ConvBertForMaskedLM": {"labels": of_tokens},
        "ConvBertForTokenClassification": {"labels": of_tokens},
        "ConvBertForSequenceClassification": {"labels": np.array([1, 0, 1])},
        "ConvBertForMultipleChoice": {"labels": np.array([4, 0, 2])},
        "ConvBertForQuestionAnswering": {
            "start_positions": np.array([1, 0, 99]),
            "end_positions": np.array([3, 2, 1]),
        },
    }
    for name, given in labels.items():
        ours, reference = build(name)
        model = reload(reference, ours, tmp_path / name)
        assert_same(reference, model, inputs(name, batch) | given, 2e-6)


@pytest.mark.parametrize("form", ["wide-kernel", "two-groups", "one-head"])
@pytest.mark.parametrize("name", ["ConvBertForSequenceClassification", "ConvBertForMaskedLM"])
def test_gradients(name: str, form: str, tmp_path: Path) -> None:
    ours, reference = build(name, **FORMS[form])
    model = reload(reference, ours, tmp_path)
    # The convolution reads padding, so its row learns; so in the original, while transformers
    # keeps that row as it is.
    reference.get_input_embeddings().padding_idx = None
    batch = arrays()
    labels = np.array([1, 0, 1])
    if name == "ConvBertForMaskedLM":
        labels = np.where(batch["attention_mask"] == 1, batch["input_ids"], -100)
    assert_same_gradients(reference, model, batch | {"labels": labels})


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("preset", convbert.MODELS)
def test_published_sizes(preset: str, name: str, tmp_path: Path) -> None:
    """A new model's weights are spread about as widely as a trained one's."""
    torch.manual_seed(0)
    config = transformers.ConvBertConfig.from_dict(convbert.PRESETS[preset].to_dict())
    reference = getattr(transformers, name)(config).eval()
    model = reload(reference, getattr(convbert, name), tmp_path)
    assert model.config == convbert.PRESETS[preset]
    batch = arrays(length=37)
    batch["token_type_ids"] %= TYPES - 1
    assert_same(reference, model, inputs(name, batch), 1e-5)


def test_parameter_counts() -> None:
    counts = {
        "convbert-base": 105_680_520,
        "convbert-medium-small": 17_475_888,
        "convbert-small": 13_143_768,
    }
    for preset, count in counts.items():
        config = transformers.ConvBertConfig.from_dict(convbert.PRESETS[preset].to_dict())
        with torch.device("meta"):
            reference = transformers.ConvBertModel(config)
        assert sum(parameter.numel() for parameter in reference.parameters()) == count
