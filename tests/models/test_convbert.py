"""What only ConvBERT has: forms of its attention, padding in the convolution, poolers or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.convbert import (
    PRESETS,
    ConvBertConfig,
    ConvBertForMultipleChoice,
    ConvBertForPreTraining,
    ConvBertForSequenceClassification,
    ConvBertForTokenClassification,
    ConvBertModel,
)
from paddlenlp_ext.weights.files import read_weights
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, arrays, tensors

TINY = SIZES | FAMILY_SIZES["convbert"]


def build(cls: type[Model], **sizes: Any) -> Any:
    paddle.seed(1)
    model = cls(ConvBertConfig(**(TINY | sizes)))
    for parameter in model.parameters():
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.1)
    model.eval()
    return model


def states(model: ConvBertModel, batch: dict[str, np.ndarray]) -> np.ndarray:
    with paddle.no_grad():
        return model(**tensors(batch)).last_hidden_state.numpy()


@pytest.mark.parametrize("given", ["mask", "square mask", "padding only"])
@pytest.mark.parametrize("masked", [False, True])
def test_padding_is_read_unless_masked(given: str, masked: bool) -> None:
    model = build(ConvBertModel, mask_convolution=masked)
    batch = arrays()
    if given == "square mask":
        batch["attention_mask"] = np.repeat(batch["attention_mask"][:, None], 7, axis=1)
    if given == "padding only":
        del batch["attention_mask"]
    together = states(model, batch)
    for row, length in enumerate([7, 5, 4]):
        alone = {name: values[row : row + 1, :length] for name, values in batch.items()}
        if given == "square mask":
            alone["attention_mask"] = alone["attention_mask"][:, :, :length]
        same = np.allclose(together[row, :length], states(model, alone)[0], atol=1e-6)
        assert same is (masked or length == 7)


def test_heads_are_divided_by_the_ratio() -> None:
    for heads, ratio, expected in [(4, 1, 4), (4, 2, 2), (4, 4, 1), (1, 2, 1), (3, 4, 1)]:
        model = build(ConvBertModel, num_attention_heads=heads, head_ratio=ratio)
        output = model(**tensors(arrays()), output_attentions=True)
        assert [weights.shape for weights in output.attentions] == [[3, expected, 7, 7]] * 3


def test_one_head_with_and_without_convolution(tmp_path: Path) -> None:
    """Which it is, is told from the weights, since PaddleNLP's config does not say it."""
    for convolution in (True, False):
        model = build(ConvBertModel, num_attention_heads=1, one_head_convolution=convolution)
        assert convolution is any("conv" in name for name, _ in model.named_parameters())
        folder = tmp_path / str(convolution)
        model.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        del config["one_head_convolution"]
        (folder / "config.json").write_text(json.dumps(config))
        loaded = ConvBertModel.from_pretrained(folder)
        assert loaded.config.one_head_convolution is convolution
        np.testing.assert_array_equal(states(loaded, arrays()), states(model, arrays()))


def test_multiple_choice_reads_the_last_position() -> None:
    model = build(ConvBertForMultipleChoice)
    batch = {
        name: np.stack([np.roll(rows, i, 0) for i in range(CHOICES)], 1)
        for name, rows in arrays().items()
    }
    flat = {name: rows.reshape(-1, 7) for name, rows in batch.items()}
    last = paddle.to_tensor(states(model.backbone, flat)[:, -1])
    expected = model.classifier(last).reshape([3, CHOICES])
    np.testing.assert_allclose(model(**tensors(batch)).logits.numpy(), expected.numpy(), atol=1e-6)


def test_with_pool_act_there_is_a_pooler_and_classifiers_read_it() -> None:
    """PaddleNLP's form since 2.5."""
    model = build(ConvBertForSequenceClassification, pool_act="tanh")
    encoded = model.backbone(**tensors(arrays()))
    expected = model.classifier(encoded.pooler_output)
    np.testing.assert_allclose(
        model(**tensors(arrays())).logits.numpy(), expected.numpy(), atol=1e-6
    )
    assert build(ConvBertForTokenClassification, pool_act="tanh").backbone.pooler is None


def test_original_form_is_saved_with_a_pooler_that_changes_nothing(tmp_path: Path) -> None:
    """PaddleNLP, which draws a missing pooler at random, then classifies as we do."""
    model = build(ConvBertForSequenceClassification)
    model.save_pretrained(tmp_path)
    written = read_weights(tmp_path)
    np.testing.assert_array_equal(written["convbert.pooler.dense.weight"], np.eye(24))
    np.testing.assert_array_equal(written["convbert.pooler.dense.bias"], np.zeros(24))
    assert json.loads((tmp_path / "config.json").read_text())["pool_act"] is None
    loaded = ConvBertForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.backbone.pooler is None
    assert not loaded.load_report.unexpected
    model.save_pretrained(tmp_path, format="huggingface")
    assert not any("pooler" in name for name in read_weights(tmp_path))


def test_pooler_that_the_weights_do_not_hold_is_not_made_up(tmp_path: Path) -> None:
    """The published weights are older than the pooler in PaddleNLP's config."""
    model = build(ConvBertForSequenceClassification)
    model.save_pretrained(tmp_path, format="huggingface")
    config = json.loads((tmp_path / "config.json").read_text()) | {"pool_act": "tanh"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = ConvBertForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.config.pool_act is None
    np.testing.assert_array_equal(
        loaded(**tensors(arrays())).logits.numpy(), model(**tensors(arrays())).logits.numpy()
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"conv_kernel_size": 4}, "conv_kernel_size must be odd, not 4"),
        ({"num_groups": 5}, "num_groups 5 must divide hidden_size 24"),
        ({"num_groups": 2}, "num_groups 2 must divide .* intermediate_size 37"),
        ({"num_attention_heads": 24, "head_ratio": 1}, "hidden_size 24 must be a multiple of 48"),
        ({"is_decoder": True}, "looks ahead"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^there: .*{message}"):
        ConvBertConfig.from_dict(TINY | sizes, origin="there")


def test_generators_of_the_joint_pretraining_are_the_published_ones() -> None:
    for name, config in ConvBertForPreTraining.presets.items():
        joint = config.replace(generator=None)
        assert joint == PRESETS[f"{name}-discriminator"]
        assert joint.replace(**config.generator) == PRESETS[f"{name}-generator"]
