"""Checkpoints whose model with a head called its bare model `encoder` are continued."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file, save_file

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.models.auto import base_class, model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.training.optimization import adamw
from paddlenlp_ext.training.run_state import OPTIMIZER, STATE, restore_state, write_state
from tests.tiny import FAMILY_SIZES, SIZES, arrays, tensors


def model(family: str, task: str) -> Model:
    paddle.seed(2)
    config = base_class(family).config_class.from_dict(SIZES | FAMILY_SIZES[family])
    return model_class(family, task)(config)


def former(name: str) -> str:
    kind, _, parameter = name.rpartition("/")
    parts = ["encoder" if part == "backbone" else part for part in parameter.split(".")]
    return f"{kind}/{'.'.join(parts)}".lstrip("/")


def age(folder: Path, model: Model) -> None:
    """Make of a state what was written before."""
    state = load_file(folder / OPTIMIZER)
    save_file({former(name): array for name, array in state.items()}, folder / OPTIMIZER)
    digest = hashlib.sha256()
    for name, parameter in sorted((former(n), p.numpy()) for n, p in model.named_parameters()):
        digest.update(name.encode() + parameter.tobytes())
    values = json.loads((folder / STATE).read_text()) | {"weights_sha256": digest.hexdigest()}
    (folder / STATE).write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("family", "task"),
    [("rembert", "ForSequenceClassification"), ("electra", "ForPreTraining"), ("bert", "Model")],
)
def test_a_state_under_former_names_is_restored(family: str, task: str, tmp_path: Path) -> None:
    trained = model(family, task)
    optimizer = adamw(trained, 0.01)
    batch = tensors(arrays())
    if task == "ForPreTraining":
        batch["generator_labels"] = batch["input_ids"]
    output = trained(**batch)
    sum(value.astype("float32").sum() for value in output.values()).backward()
    optimizer.step()
    write_state(tmp_path, trained, optimizer, None)
    expected = load_file(tmp_path / OPTIMIZER)
    age(tmp_path, trained)
    again = adamw(trained, 0.01)
    restore_state(tmp_path, trained, again, None)
    write_state(tmp_path, trained, again, None)
    restored = load_file(tmp_path / OPTIMIZER)
    assert restored.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(restored[name], array, err_msg=name)


def test_weights_under_former_names_are_compared(tmp_path: Path) -> None:
    trained = model("bert", "ForSequenceClassification")
    write_state(tmp_path, trained, adamw(trained, 0.01), None)
    age(tmp_path, trained)
    trained.classifier.bias.set_value(trained.classifier.bias + 1)
    with pytest.raises(WeightsError, match="weights are not those"):
        restore_state(tmp_path, trained, adamw(trained, 0.01), None)
