"""Exported programs answer what the models do, for inputs of any size."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.inference.export import export_logits, export_onnx
from paddlenlp_ext.models.auto import FAMILIES
from tests.models.test_contract import batch_for, build

SHAPES = ((3, 11), (1, 5), (2, 17))


@pytest.fixture(autouse=True)
def _nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*command: Any, **_: Any) -> None:
        raise AssertionError(f"exporting has started {command}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ["ForSequenceClassification", "ForTokenClassification"])
def test_programs_answer_as_models(tmp_path, family, task):
    model = build(family, task, num_labels=3)
    model.eval()
    path = export_logits(model, tmp_path / "served")
    program = paddle.jit.load(str(path))
    for batch, length in SHAPES:
        inputs = batch_for(model, task, batch=batch, length=length)
        given = [paddle.to_tensor(values) for values in inputs.values()]
        expected = model(**dict(zip(inputs, given, strict=True))).logits.numpy()
        np.testing.assert_allclose(program(*given).numpy(), expected, atol=1e-5, rtol=0)


def test_a_program_has_no_types_where_there_is_one(tmp_path):
    model = build("xlm-roberta", "ForTokenClassification", type_vocab_size=1)
    model.eval()
    program = paddle.jit.load(str(export_logits(model, tmp_path)))
    for batch, length in SHAPES:
        inputs = batch_for(model, "ForTokenClassification", batch=batch, length=length)
        ids, mask = (paddle.to_tensor(inputs[name]) for name in ("input_ids", "attention_mask"))
        expected = model(ids, attention_mask=mask).logits.numpy()
        np.testing.assert_allclose(program(ids, mask).numpy(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_runtime_answers_as_models(tmp_path, family):
    pytest.importorskip("paddle2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = build(family, "ForSequenceClassification", num_labels=3)
    model.eval()
    path = export_onnx(model, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["inference.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, length in SHAPES:
        inputs = batch_for(model, "ForSequenceClassification", batch=batch, length=length)
        expected = model(**{n: paddle.to_tensor(v) for n, v in inputs.items()}).logits.numpy()
        (found,) = session.run(None, inputs)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_onnx_without_its_converter_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "paddle2onnx", None)
    with pytest.raises(UserError, match=r"pip install 'paddlenlp-ext\[export\]'"):
        export_onnx(build("bert", "ForSequenceClassification"), tmp_path / "served")
    assert not (tmp_path / "served").exists()


def test_paddle_inference_runs_it(tmp_path):
    from paddle.inference import Config, create_predictor

    model = build("bert", "ForSequenceClassification", num_labels=3)
    model.train()
    path = export_logits(model, tmp_path)
    assert model.training
    model.eval()
    config = Config(f"{path}.json", f"{path}.pdiparams")
    config.disable_glog_info()
    config.disable_mkldnn()  # whose layer norm refuses inputs of another length than the last
    predictor = create_predictor(config)
    assert predictor.get_input_names() == ["input_ids", "token_type_ids", "attention_mask"]
    for batch, length in SHAPES:
        inputs = batch_for(model, "ForSequenceClassification", batch=batch, length=length)
        for name, values in inputs.items():
            predictor.get_input_handle(name).copy_from_cpu(values)
        predictor.run()
        found = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
        expected = model(**{n: paddle.to_tensor(v) for n, v in inputs.items()}).logits.numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
