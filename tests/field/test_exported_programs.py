"""An exported program computes what the model does: every head of every family, any length."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.inference.export import export_logits
from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertForPreTraining
from paddlenlp_ext.models.convbert import ConvBertDiscriminator
from paddlenlp_ext.models.electra import ElectraDiscriminator
from paddlenlp_ext.models.ernie import UIE, ErnieForPreTraining
from paddlenlp_ext.models.ernie_m import UIEM
from tests.models.test_contract import CLASSES, batch_for, build
from tests.tiny import tensors

DECODERS = [family for family, task in CLASSES if task == "ForCausalLM"]
SHAPES = ((2, 7), (1, 1), (3, 17))  # the last one is as long as XLM-RoBERTa has positions for


def filled(model: Model) -> Model:
    """Give a model weights so large that differences show."""
    random = np.random.default_rng(0)
    model.eval()
    for parameter in model.parameters():
        parameter.set_value(random.normal(0, 0.3, parameter.shape).astype("float32"))
    return model


@pytest.mark.parametrize("family", DECODERS)
def test_an_exported_decoder_sees_no_later_token(family, tmp_path):
    model = filled(build(family, "ForCausalLM"))
    program = paddle.jit.load(str(export_logits(model, tmp_path)))
    random = np.random.default_rng(1)
    for batch, length in SHAPES:
        ids = random.integers(4, 53, (batch, length))
        types, mask = np.zeros_like(ids), np.ones_like(ids)
        mask[1:, :2] = 0  # padding in front, as generation has it

        def scores(ids, of, types=types, mask=mask):
            return of(*(paddle.to_tensor(values) for values in (ids, types, mask))).numpy()

        def as_model(ids, types, mask):
            return model(ids, types, attention_mask=mask).logits

        before = scores(ids, program)
        np.testing.assert_allclose(before, scores(ids, as_model), atol=1e-5, rtol=0)
        changed = ids.copy()
        changed[:, -1] = ids[:, -1] % 40 + 5
        after = scores(changed, program)
        seen = (mask == 1) & (np.arange(length) < length - 1)
        np.testing.assert_array_equal(after[seen], before[seen])
        assert (after[:, -1] != before[:, -1]).any()


# The heads of pretraining besides the classes that all families share.
MORE = [
    ("bert", BertForPreTraining),
    ("ernie", ErnieForPreTraining),
    ("ernie", UIE),
    ("ernie_m", UIEM),
    ("electra", ElectraDiscriminator),
    ("convbert", ConvBertDiscriminator),
]
EVERY = [(family, model_class(family, task)) for family, task in CLASSES] + MORE


@pytest.mark.parametrize(("family", "cls"), EVERY, ids=[cls.__name__ for _, cls in EVERY])
def test_programs_compute_what_models_do(family, cls, tmp_path):
    task = "ForMultipleChoice" if cls.__name__.endswith("MultipleChoice") else ""
    model = filled(cls(build(family, "Model", num_hidden_layers=1, num_labels=3).config))
    ours = paddle.jit.load(str(export_logits(model, tmp_path)))
    static = cls(model.config)
    static.set_state_dict(model.state_dict())
    static.eval()
    names = ["input_ids", "token_type_ids"][: 1 + hasattr(model.config, "type_vocab_size")]
    axes = [None, None, None] if task else [None, None]
    specs = [InputSpec(axes, "int64", name) for name in names]  # as PaddleNLP's scripts export
    path = str(tmp_path / "static")
    paddle.jit.save(paddle.jit.to_static(static, input_spec=specs), path)
    for program, given in ((ours, None), (paddle.jit.load(path), names)):
        for batch, length in ((3, 11), (1, 5), (2, 17)):
            inputs = tensors(batch_for(model, task, batch=batch, length=length))
            inputs = {name: inputs[name] for name in given or inputs}
            found = program(*inputs.values())
            found = found if isinstance(found, (list, tuple)) else [found]
            expected = model(**inputs).to_tuple()
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["electra", "convbert"])
def test_two_models_at_once_are_no_program(family, tmp_path):
    with pytest.raises(UserError, match="export its discriminator or its"):
        export_logits(build(family, "ForPreTraining"), tmp_path / "two")
    assert not (tmp_path / "two").exists()
