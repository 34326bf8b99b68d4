"""Weight files that PyTorch and transformers write, read without them; and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.weights.files import format_of, read_weights
from paddlenlp_ext.weights.formats.safe_tensors import write_safetensors
from paddlenlp_ext.weights.formats.torch_files import read_torch

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 53,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
}


def numbers(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_same(found: dict[str, np.ndarray], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == numbers(tensor).dtype, name
        assert found[name].shape == tuple(tensor.shape), name
        np.testing.assert_array_equal(found[name], numbers(tensor))


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_save(zipped: bool, tmp_path: Path) -> None:
    base = torch.randn(24)
    state = {
        "parameter": torch.nn.Parameter(torch.randn(3, 5)),
        "transposed": torch.randn(3, 5).t(),
        "view": base[2:8].view(2, 3),
        "stepped": base[1::5],
        "again": base[2:8].view(2, 3),
        "half": torch.randn(3).half(),
        "bfloat16": torch.randn(2, 7).bfloat16(),
        "double": torch.randn(3).double(),
        "ids": torch.arange(9).view(1, 9),
        "ids expanded": torch.arange(9).expand((1, -1)),
        "small": torch.arange(5, dtype=torch.int8),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "switch": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "nothing": torch.zeros(0, 3),
    }
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert_same(read_torch(path), state)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    torch.save(layers.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert_same(read_torch(path), layers.state_dict())


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("shard", ["10GB", "20KB"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_transformers_folders(safe: bool, shard: str, dtype: str, tmp_path: Path) -> None:
    model = transformers.BertForPreTraining(transformers.BertConfig(**SIZES))
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(tmp_path, safe_serialization=safe, max_shard_size=shard)
    assert (len([*tmp_path.glob("*.index.json")]) == 1) is (shard == "20KB")
    expected = model.state_dict()
    if safe:  # without what is tied
        del expected["cls.predictions.decoder.weight"], expected["cls.predictions.decoder.bias"]
    assert_same(read_weights(tmp_path), expected)
    assert format_of(tmp_path) == "huggingface"


def test_transformers_reads_our_safetensors(tmp_path: Path) -> None:
    config = transformers.BertConfig(**SIZES)
    model = transformers.BertModel(config)
    tensors = {name: numbers(tensor) for name, tensor in model.state_dict().items()}
    # As export gives them: views that are not contiguous.
    tensors = {name: np.asfortranarray(array) for name, array in tensors.items()}
    write_safetensors(tmp_path / "model.safetensors", tensors, {"format": "pt"})
    config.save_pretrained(tmp_path)
    loaded, report = transformers.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    for name, tensor in loaded.state_dict().items():
        np.testing.assert_array_equal(numbers(tensor), tensors[name])
