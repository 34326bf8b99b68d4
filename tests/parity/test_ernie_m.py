"""ERNIE-M against transformers: every task class, both directions, the published size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models import ernie_m
from tests.parity.reference import (
    assert_same,
    assert_same_gradients,
    assert_same_layers,
    each_choice,
    randomize,
    reload,
)
from tests.tiny import FAMILY_SIZES, SIZES, arrays

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

TINY = SIZES | FAMILY_SIZES["ernie_m"]
# Ours to theirs; neither library has our ErnieMForMaskedLM.
CLASSES = {
    "ErnieMModel": "ErnieMModel",
    "ErnieMForSequenceClassification": "ErnieMForSequenceClassification",
    "ErnieMForTokenClassification": "ErnieMForTokenClassification",
    "ErnieMForQuestionAnswering": "ErnieMForQuestionAnswering",
    "ErnieMForMultipleChoice": "ErnieMForMultipleChoice",
    "UIEM": "ErnieMForInformationExtraction",
}


class Probabilities(torch.nn.Module):
    """What transformers' information extraction would answer, did it use its sigmoid."""

    def __init__(self, extractor: torch.nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, **inputs: torch.Tensor) -> dict[str, Any]:
        output = self.extractor(**inputs)
        answer = {
            "start_prob": torch.sigmoid(output.start_logits),
            "end_prob": torch.sigmoid(output.end_logits),
        }
        return answer if output.loss is None else answer | {"loss": output.loss}


def build(name: str, **sizes: Any) -> tuple[Any, Any]:
    """Our class, and a random model of transformers."""
    config = transformers.ErnieMConfig(**(TINY | sizes))
    return getattr(ernie_m, name), randomize(getattr(transformers, CLASSES[name])(config))


def answering(name: str, reference: torch.nn.Module) -> torch.nn.Module:
    return Probabilities(reference) if name == "UIEM" else reference


def inputs(name: str, **options: Any) -> dict[str, np.ndarray]:
    batch = arrays(pad=1, **options)
    del batch["token_type_ids"]
    return each_choice(batch) if name == "ErnieMForMultipleChoice" else batch


@pytest.mark.parametrize("name", CLASSES)
def test_tiny(name: str, tmp_path: Path) -> None:
    ours, reference = build(name)
    model = reload(reference, ours, tmp_path / "theirs")
    assert not model.load_report.missing
    assert not model.load_report.unexpected
    assert_same(answering(name, reference), model, inputs(name), 2e-6)
    model.save_pretrained(tmp_path / "ours", format="huggingface")
    again, info = type(reference).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info  # names missing, unexpected, of another shape, …
    assert_same(answering(name, again.eval()), model, inputs(name), 2e-6)


def test_given_positions_are_shifted_and_left_alone(tmp_path: Path) -> None:
    ours, reference = build("ErnieMModel")
    model = reload(reference, ours, tmp_path)
    places = np.array([[3, 1, 4, 1, 5, 9, 2]] * 3)
    assert_same(reference, model, inputs("ErnieMModel") | {"position_ids": places}, 2e-6)
    given = paddle.to_tensor(places)
    model(paddle.to_tensor(inputs("ErnieMModel")["input_ids"]), given)
    np.testing.assert_array_equal(given.numpy(), places)


def test_mask_is_found_by_the_padding_token(tmp_path: Path) -> None:
    """As in transformers; the first token here is 0, which the original takes for padding."""
    ours, reference = build("ErnieMModel")
    model = reload(reference, ours, tmp_path)
    batch = inputs("ErnieMModel")
    del batch["attention_mask"]
    batch["input_ids"][:, 0] = 0
    assert_same(reference, model, batch, 2e-6)


def test_every_layer(tmp_path: Path) -> None:
    ours, reference = build("ErnieMModel")
    model = reload(reference, ours, tmp_path)
    assert_same_layers(reference, model, inputs("ErnieMModel"), 2e-6)


def test_losses(tmp_path: Path) -> None:
    mask = inputs("")["attention_mask"]
    random = np.random.default_rng(1)
    labels = {
        "ErnieMForSequenceClassification": {"labels": np.array([1, 0, 1])},
        "ErnieMForTokenClassification": {
            "labels": np.where(mask == 1, arrays(9)["input_ids"] % 2, -100)
        },
        "ErnieMForMultipleChoice": {"labels": np.array([4, 0, 2])},
        "ErnieMForQuestionAnswering": {
            "start_positions": np.array([1, 0, 99]),
            "end_positions": np.array([3, 2, 1]),
        },
        "UIEM": {
            "start_positions": random.integers(0, 2, (3, 7)).astype("float32"),
            "end_positions": random.integers(0, 2, (3, 7)).astype("float32"),
        },
    }
    for name, given in labels.items():
        ours, reference = build(name)
        model = reload(reference, ours, tmp_path / name)
        assert_same(answering(name, reference), model, inputs(name) | given, 2e-6)


def test_gradients(tmp_path: Path) -> None:
    ours, reference = build("ErnieMForSequenceClassification")
    model = reload(reference, ours, tmp_path)
    batch = inputs("ErnieMForSequenceClassification") | {"labels": np.array([1, 0, 1])}
    assert_same_gradients(reference, model, batch)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_base_size(name: str, tmp_path: Path) -> None:
    """The published shape; the vocabulary, which changes no sum, is whole in one class only."""
    vocabulary = {} if name == "ErnieMModel" else {"vocab_size": 1999}
    torch.manual_seed(0)
    config = transformers.ErnieMConfig(**vocabulary)
    reference = getattr(transformers, CLASSES[name])(config).eval()
    model = reload(reference, getattr(ernie_m, name), tmp_path)
    if name == "ErnieMModel":
        assert sum(parameter.size for parameter in model.parameters()) == 278_042_880
    assert_same(answering(name, reference), model, inputs(name, length=37), 1e-5)
