"""Run a model of transformers and ours on the same weights and inputs, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
import pytest

import paddlenlp_ext.transformers
from tests.parity.families import Row
from tests.tiny import CHOICES, arrays, tensors

torch = pytest.importorskip("torch")  # also skips the test modules that import this one
transformers = pytest.importorskip("transformers")


class Pair(NamedTuple):
    """A model of transformers, and ours with the same weights."""

    reference: torch.nn.Module
    ours: paddle.nn.Layer


class Probabilities(torch.nn.Module):
    """What transformers' information extraction would return, did it use its sigmoid."""

    def __init__(self, extractor: torch.nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, **inputs: torch.Tensor) -> dict[str, Any]:
        output = self.extractor(**inputs)
        probabilities = {
            "start_prob": torch.sigmoid(output.start_logits),
            "end_prob": torch.sigmoid(output.end_logits),
        }
        return probabilities if output.loss is None else {"loss": output.loss} | probabilities


def random_pair(row: Row, folder: Path, **changes: Any) -> Pair:
    """Make a tiny random model of transformers, and load it from the folder that it saves."""
    theirs = getattr(transformers, row.theirs)
    config = theirs.config_class(**(row.sizes | changes))
    return loaded_pair(row.name, randomize(theirs(config)), folder)


def loaded_pair(name: str, reference: torch.nn.Module, folder: Path) -> Pair:
    """Load our class of that name from the folder that transformers saves, with nothing left."""
    model = reload(reference, getattr(paddlenlp_ext.transformers, name), folder)
    assert not model.load_report.missing
    assert not model.load_report.unexpected
    return Pair(reference, model)


def randomize(model: torch.nn.Module, seed: int = 11, std: float = 0.1) -> torch.nn.Module:
    """Give every parameter random numbers, biases and LayerNorms too, and switch dropout off.

    Weights near zero would hide errors, so they are larger than a new model's.
    """
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "norm" in name.lower() and name.endswith("weight")
            torch.nn.init.normal_(parameter, mean=1.0 if norm else 0.0, std=std)
    return model.eval()


def reload(reference: torch.nn.Module, cls: Any, folder: Path) -> paddle.nn.Layer:
    """Load our model from the folder that transformers saves."""
    reference.save_pretrained(folder)
    return cls.from_pretrained(folder)


def inputs(ours: paddle.nn.Layer, **options: Any) -> dict[str, np.ndarray]:
    """Make a batch for a model; options as those of `tests.tiny.arrays`."""
    batch = arrays(pad=ours.config.pad_token_id, **options)
    types = getattr(ours.config, "type_vocab_size", 0)
    if types:
        batch["token_type_ids"] %= types
    else:
        del batch["token_type_ids"]
    return each_choice(batch) if type(ours).__name__.endswith("ForMultipleChoice") else batch


def each_choice(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Take the same texts in other orders as choices: [B, L] to [B, C, L]."""
    return {
        name: np.stack([np.roll(rows, turn, 0) for turn in range(CHOICES)], 1)
        for name, rows in batch.items()
    }


def labels(name: str) -> dict[str, np.ndarray]:
    """Make what a class needs for its loss, for the texts of `inputs`; nothing for a bare model."""
    real = arrays()["attention_mask"] == 1
    yes_or_no = arrays(seed=9)["input_ids"] % 2
    words = np.where(real & (arrays(seed=4)["input_ids"] % 3 > 0), arrays()["input_ids"], -100)
    texts = np.array([1, 0, 1])
    of_class = {
        "ForSequenceClassification": {"labels": texts},
        "ForNextSentencePrediction": {"labels": texts},
        "ForTokenClassification": {"labels": np.where(real, yes_or_no, -100)},
        "Discriminator": {"labels": yes_or_no},  # those of padding count nowhere
        "ForQuestionAnswering": {
            "start_positions": np.array([1, 0, 99]),
            "end_positions": np.array([3, 2, 1]),
        },
        "ForMultipleChoice": {"labels": np.array([4, 0, 2])},
        "ForMaskedLM": {"labels": words},
        "ForCausalLM": {"labels": words},
        "ForPreTraining": {"labels": words, "next_sentence_label": texts},
        "UIEM": {
            "start_positions": yes_or_no.astype("float32"),
            "end_positions": arrays(seed=8)["input_ids"].astype("float32") % 2,
        },
    }
    return next((given for end, given in of_class.items() if name.endswith(end)), {})


def reference_outputs(reference: torch.nn.Module, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the tensors that transformers returns, by name, as arrays."""
    with torch.no_grad():
        output = reference(**{name: torch.tensor(value) for name, value in batch.items()})
    return {
        name: value.numpy() for name, value in output.items() if isinstance(value, torch.Tensor)
    }


def assert_same(
    reference: torch.nn.Module,
    ours: paddle.nn.Layer,
    batch: dict[str, np.ndarray],
    tolerance: float,
) -> None:
    """Compare every tensor that transformers returns with ours of the same name, in its order."""
    if type(reference).__name__ == "ErnieMForInformationExtraction":
        reference = Probabilities(reference)
    expected = reference_outputs(reference, batch)
    with paddle.no_grad():
        output = ours(**tensors(batch))
    assert expected
    assert [name for name in output if name in expected] == list(expected)
    for name, value in expected.items():
        got = getattr(output, name).numpy()
        assert got.shape == value.shape, name
        difference = float(np.abs(got - value).max())
        assert difference <= tolerance, f"{name}: {difference:.2e}"


def assert_transformers_loads(
    pair: Pair, folder: Path, batch: dict[str, np.ndarray], tolerance: float
) -> None:
    """Our folder loads in transformers with nothing missing or left over, and computes the same."""
    pair.ours.save_pretrained(folder, format="huggingface")
    reference, info = type(pair.reference).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info  # names missing, unexpected, of another shape, …
    assert_same(reference.eval(), pair.ours, batch, tolerance)


def assert_same_layers(
    reference: torch.nn.Module,
    ours: paddle.nn.Layer,
    batch: dict[str, np.ndarray],
    tolerance: float,
) -> None:
    """Compare the hidden states and the attention weights of every layer."""
    usual = reference.config._attn_implementation
    reference.set_attn_implementation("eager")
    options = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        expected = reference(**{k: torch.tensor(v) for k, v in batch.items()}, **options)
    reference.set_attn_implementation(usual)
    with paddle.no_grad():
        got = ours(**tensors(batch), **options)
    for name in ("hidden_states", "attentions"):
        assert getattr(expected, name)
        for layer, (one, other) in enumerate(
            zip(getattr(got, name), getattr(expected, name), strict=True)
        ):
            np.testing.assert_allclose(
                one.numpy(), other.numpy(), atol=tolerance, rtol=0, err_msg=f"{name} {layer}"
            )


def assert_same_gradients(
    reference: torch.nn.Module, ours: paddle.nn.Layer, batch: dict[str, np.ndarray]
) -> None:
    """Compare the gradient of every parameter that is not frozen; `batch` has labels."""
    # ConvBERT's convolution reads padding, so its row learns; so in the original, while
    # transformers keeps that row as it is.
    for layer in reference.modules():
        if isinstance(layer, torch.nn.Embedding):  # of words, and XLM-R's of positions
            layer.padding_idx = None
    reference.zero_grad()
    ours.clear_gradients()
    reference(**{name: torch.tensor(value) for name, value in batch.items()}).loss.backward()
    ours(**tensors(batch)).loss.backward()
    theirs = dict(reference.named_parameters())
    table = ours.names["huggingface"]
    names = table.to_theirs(name for name, _ in ours.named_parameters())
    transposed = ours.linear_weights()
    for name, parameter in ours.named_parameters():
        # Of a pooler that the head does not read there is none.
        if parameter.stop_gradient or theirs[names[name]].grad is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        expected = theirs[names[name]].grad.numpy()
        expected = expected.T if name in transposed else expected
        expected = expected[:, 0] if table.is_column(name) else expected
        np.testing.assert_allclose(
            parameter.grad.numpy(), expected, rtol=1e-4, atol=1e-5, err_msg=name
        )
