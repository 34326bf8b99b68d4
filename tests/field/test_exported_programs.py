"""An exported program computes what the model does: every head of every family, any length."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlenlp_ext.inference.export import export_logits
from paddlenlp_ext.models.base import Model
from tests.models.test_contract import CLASSES, build

DECODERS = [family for family, task in CLASSES if task == "ForCausalLM"]
SHAPES = ((2, 7), (1, 1), (3, 19))  # the last one is as long as there are positions


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
