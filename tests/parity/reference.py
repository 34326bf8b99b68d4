"""Run a model of transformers and ours on the same weights and inputs, and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.tiny import CHOICES

torch = pytest.importorskip("torch")  # also skips the test modules that import this one


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


def reload(reference: torch.nn.Module, cls: Any, folder: Path, **changes: Any) -> paddle.nn.Layer:
    """Our model from the folder that transformers saves."""
    reference.save_pretrained(folder)
    return cls.from_pretrained(folder, **changes)


def reference_outputs(reference: torch.nn.Module, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    """Answers of transformers, by name, as arrays."""
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
    """Compare every tensor that transformers answers with ours of the same name."""
    expected = reference_outputs(reference, batch)
    with paddle.no_grad():
        output = ours(**{name: paddle.to_tensor(value) for name, value in batch.items()})
    assert expected
    for name, value in expected.items():
        got = getattr(output, name).numpy()
        assert got.shape == value.shape, name
        difference = float(np.abs(got - value).max())
        assert difference <= tolerance, f"{name}: {difference:.2e}"


def assert_transformers_loads(
    ours: paddle.nn.Layer,
    reference_class: Any,
    folder: Path,
    batch: dict[str, np.ndarray],
    tolerance: float,
) -> None:
    """Our folder loads in transformers with nothing missing or left over, and answers the same."""
    ours.save_pretrained(folder, format="huggingface")
    reference, info = reference_class.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"], info["missing_keys"]
    assert not info["unexpected_keys"], info["unexpected_keys"]
    assert not info["mismatched_keys"], info["mismatched_keys"]
    assert_same(reference.eval(), ours, batch, tolerance)


def each_choice(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same texts in other orders, as choices: [B, L] to [B, C, L]."""
    return {
        name: np.stack([np.roll(rows, turn, 0) for turn in range(CHOICES)], 1)
        for name, rows in batch.items()
    }


def assert_same_layers(
    reference: torch.nn.Module,
    ours: paddle.nn.Layer,
    batch: dict[str, np.ndarray],
    tolerance: float,
) -> None:
    """Compare the hidden states and the attention weights of every layer."""
    reference.set_attn_implementation("eager")
    options = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        expected = reference(**{k: torch.tensor(v) for k, v in batch.items()}, **options)
    with paddle.no_grad():
        got = ours(**{k: paddle.to_tensor(v) for k, v in batch.items()}, **options)
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
    """Compare the gradient of every parameter; `batch` has labels."""
    reference(**{name: torch.tensor(value) for name, value in batch.items()}).loss.backward()
    ours(**{name: paddle.to_tensor(value) for name, value in batch.items()}).loss.backward()
    theirs = dict(reference.named_parameters())
    table = ours.names["huggingface"]
    names = table.to_theirs(name for name, _ in ours.named_parameters())
    transposed = ours.linear_weights()
    for name, parameter in ours.named_parameters():
        expected = theirs[names[name]].grad.numpy()
        expected = expected.T if name in transposed else expected
        expected = expected[:, 0] if table.is_column(name) else expected
        np.testing.assert_allclose(
            parameter.grad.numpy(), expected, rtol=1e-4, atol=1e-5, err_msg=name
        )
