"""Parts that are not trained: which, in all families, and that the rest is trained as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertForSequenceClassification
from paddlenlp_ext.models.convbert import ConvBertForSequenceClassification
from paddlenlp_ext.models.electra import ElectraForSequenceClassification
from paddlenlp_ext.models.ernie import ErnieForSequenceClassification
from paddlenlp_ext.models.ernie_m import ErnieMForSequenceClassification
from paddlenlp_ext.models.rembert import RemBertForSequenceClassification
from paddlenlp_ext.models.xlm_r import XLMRobertaForSequenceClassification
from paddlenlp_ext.training.freezing import freeze

CLASSES = (
    BertForSequenceClassification,
    ConvBertForSequenceClassification,
    ElectraForSequenceClassification,
    ErnieForSequenceClassification,
    ErnieMForSequenceClassification,
    RemBertForSequenceClassification,
    XLMRobertaForSequenceClassification,
)
SIZES: dict[str, Any] = {
    "vocab_size": 23, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 5,
}  # fmt: skip
IDS = paddle.to_tensor(np.random.default_rng(0).integers(2, 23, (3, 7)))


def gradients(model: Model) -> dict[str, np.ndarray]:
    paddle.seed(3)
    model(input_ids=IDS).logits.square().sum().backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_not_frozen_is_trained_as_before(cls):
    """Paddle does not train a layer that it recomputes from inputs without a gradient."""
    trained = cls(cls.config_class(**SIZES))
    trained.train()
    whole = gradients(trained)
    for embeddings, layers, recompute in ((True, 0, True), (False, 2, True), (True, 2, False)):
        model = cls(cls.config_class(**SIZES))
        model.set_state_dict(trained.state_dict())
        model.train()
        freeze(model, embeddings=embeddings, layers=layers)
        frozen = {name for name, p in model.named_parameters() if p.stop_gradient}
        below = ["backbone.embeddings."] * embeddings
        below += [f"backbone.encoder.layers.{number}." for number in range(layers)]
        assert frozen == {n for n, _ in model.named_parameters() if n.startswith(tuple(below))}
        if recompute:
            model.enable_recompute()
        found = gradients(model)
        assert found.keys() == whole.keys() - frozen
        for name, gradient in found.items():
            np.testing.assert_allclose(gradient, whole[name], rtol=1e-4, atol=1e-7, err_msg=name)


def test_there_are_no_more_layers_than_a_model_has():
    model = CLASSES[0](CLASSES[0].config_class(**SIZES))
    freeze(model, embeddings=False, layers=3)
    with pytest.raises(UserError, match="`freeze_layers` 4: the model has 3 layers; give at most"):
        freeze(model, embeddings=False, layers=4)
