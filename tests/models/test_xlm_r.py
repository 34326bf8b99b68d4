"""What only XLM-RoBERTa has: positions counted over tokens, from the row after padding's."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import TooLongError, UserError
from paddlenlp_ext.models.xlm_r import (
    PRESETS,
    XLMRobertaConfig,
    XLMRobertaForCausalLM,
    XLMRobertaForMaskedLM,
    XLMRobertaModel,
)
from tests.tiny import FAMILY_SIZES, SIZES, arrays, tensors

PAD = 1
LONGEST = SIZES["max_position_embeddings"] - PAD - 1


def build(cls: type = XLMRobertaModel, **changes: Any) -> Any:
    paddle.seed(1)
    config = XLMRobertaConfig.from_dict(SIZES | FAMILY_SIZES["xlm-roberta"])
    model = cls(config.replace(**changes))
    model.eval()
    return model


def test_positions_are_those_of_tokens_wherever_padding_stands() -> None:
    model = build()
    ids = paddle.to_tensor([[5, 6, PAD, 7], [PAD, 5, 6, 7]])
    rows = paddle.to_tensor([[2, 3, PAD, 4], [PAD, 2, 3, 4]])
    counted = model(ids).last_hidden_state.numpy()
    given = model(ids, position_ids=rows).last_hidden_state.numpy()
    np.testing.assert_array_equal(counted, given)
    shifted = model(ids, position_ids=rows + 1).last_hidden_state.numpy()
    assert np.abs(shifted - counted).max() > 1e-3
    real = ids.numpy() != PAD
    np.testing.assert_allclose(counted[0][real[0]], counted[1][real[1]], atol=1e-6)


def test_the_table_serves_texts_of_two_tokens_less() -> None:
    model = build(XLMRobertaForCausalLM)
    ids = paddle.full([1, LONGEST], 5, "int64")
    model(ids)
    longer = paddle.full([1, LONGEST + 1], 5, "int64")
    for inputs in ({"input_ids": longer}, {"inputs_embeds": model.get_input_embeddings()(longer)}):
        with pytest.raises(TooLongError, match=f"{LONGEST + 1} tokens is longer .* {LONGEST} pos"):
            model(**inputs)
    assert model.generate(ids[:, :-2], max_new_tokens=3).shape == [1, LONGEST + 1]
    with pytest.raises(UserError, match=f"the model has {LONGEST} positions"):
        model.generate(ids[:, :-2], max_new_tokens=4)


def test_published_models_take_512_tokens() -> None:
    for name, config in PRESETS.items():
        assert config.max_position_embeddings == 512 + config.pad_token_id + 1, name
        assert config.layer_norm_eps == 1e-5


def test_the_head_of_masked_tokens_is_gelu_whatever_the_config_says() -> None:
    model = build(XLMRobertaForMaskedLM, hidden_act="relu", num_hidden_layers=1)
    batch = tensors(arrays(pad=PAD))
    head = model.lm_head
    states = head.dense(model.backbone(**batch).last_hidden_state)
    scores = head.layer_norm(paddle.nn.functional.gelu(states))
    expected = scores @ model.get_input_embeddings().weight.t() + head.bias
    np.testing.assert_allclose(model(**batch).logits.numpy(), expected.numpy(), atol=1e-6)


def test_a_table_without_a_row_for_a_token_is_refused() -> None:
    with pytest.raises(UserError, match="max_position_embeddings 2 must be above pad_token_id 1"):
        XLMRobertaConfig(max_position_embeddings=2)


def test_folders_of_paddlenlp_s_roberta_are_read(tmp_path: Any) -> None:
    """Its classes of that name are this architecture; AutoModel is for XLM-R alone."""
    model = build()
    model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    text = config.read_text()
    assert '"RobertaModel"' in text
    config.write_text(text.replace('"xlm-roberta"', '"roberta"'))
    batch = tensors(arrays(pad=PAD))
    again = XLMRobertaModel.from_pretrained(tmp_path)
    np.testing.assert_array_equal(
        again(**batch).last_hidden_state.numpy(), model(**batch).last_hidden_state.numpy()
    )
