"""ERNIE-M: positions, masks, arguments, a config that the weights correct, extraction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.ernie_m import (
    PRESETS,
    UIEM,
    ErnieMConfig,
    ErnieMForMaskedLM,
    ErnieMForMultipleChoice,
    ErnieMForSequenceClassification,
    ErnieMModel,
)
from paddlenlp_ext.weights.folders import read_model
from tests.tiny import FAMILY_SIZES, SIZES, arrays

PAD = 1
PLACES = paddle.to_tensor([[3, 1, 4, 1, 5, 9, 2]] * 3)


def config(**changes: Any) -> ErnieMConfig:
    return ErnieMConfig.from_dict(SIZES | FAMILY_SIZES["ernie_m"]).replace(**changes)


def at_random(model: Any) -> Any:
    paddle.seed(2)
    for parameter in model.parameters():
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.3)
    model.eval()
    return model


def ids_and_mask() -> tuple[paddle.Tensor, paddle.Tensor]:
    batch = arrays(pad=PAD)
    return paddle.to_tensor(batch["input_ids"]), paddle.to_tensor(batch["attention_mask"])


@pytest.mark.parametrize(
    ("preset", "parameters"), [("ernie-m-base", 278_042_880), ("ernie-m-large", 559_889_408)]
)
def test_published_size(preset: str, parameters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ErnieMModel, "initialize_weights", lambda self: None)
    with paddle.LazyGuard():  # no memory is taken
        model = ErnieMModel(PRESETS[preset])
    assert sum(int(np.prod(parameter.shape)) for parameter in model.parameters()) == parameters
    assert model.embeddings.max_length == 512


def test_positions_begin_at_the_third_row() -> None:
    model = at_random(ErnieMModel(config()))
    ids, _ = ids_and_mask()
    before = model(ids).last_hidden_state.numpy()
    np.testing.assert_array_equal(
        model(ids, paddle.arange(7).unsqueeze(0)).last_hidden_state.numpy(), before
    )
    table = model.embeddings.position_embeddings.weight
    rows = table.numpy()
    rows[[0, 1, 9, 18]] = 100.0
    table.set_value(rows)
    np.testing.assert_array_equal(model(ids).last_hidden_state.numpy(), before)
    rows[8] = 100.0  # that of the seventh token
    table.set_value(rows)
    assert np.abs(model(ids).last_hidden_state.numpy() - before).max() > 0.1


def test_given_positions_are_left_alone() -> None:
    model = at_random(ErnieMModel(config()))
    ids, mask = ids_and_mask()
    places = PLACES.clone()
    first = model(ids, places, mask).last_hidden_state.numpy()
    np.testing.assert_array_equal(places.numpy(), PLACES.numpy())
    np.testing.assert_array_equal(model(ids, places, mask).last_hidden_state.numpy(), first)


def test_two_positions_fewer_than_rows() -> None:
    model = ErnieMModel(config())
    assert model(paddle.full([1, 17], 5, "int64")).last_hidden_state.shape == [1, 17, 24]
    with pytest.raises(ValueError, match="18 tokens is longer than the model's 17 positions"):
        model(paddle.full([1, 18], 5, "int64"))


def test_default_masks() -> None:
    """All but the padding token; on demand, as the original does, all but token 0."""
    ids, mask = ids_and_mask()
    ids[:, 2] = 0
    model = at_random(ErnieMModel(config()))
    expected = model(ids, attention_mask=mask).last_hidden_state.numpy()
    np.testing.assert_array_equal(model(ids).last_hidden_state.numpy(), expected)
    other = ErnieMModel(config(paddlenlp_default_mask=True))
    other.set_state_dict(model.state_dict())
    other.eval()
    without_zero = (ids != 0).astype("int64")
    expected = model(ids, attention_mask=without_zero).last_hidden_state.numpy()
    np.testing.assert_array_equal(other(ids).last_hidden_state.numpy(), expected)
    # A given mask is taken either way.
    expected = model(ids, attention_mask=mask).last_hidden_state.numpy()
    got = other(ids, attention_mask=mask).last_hidden_state.numpy()
    np.testing.assert_array_equal(got, expected)


def test_arguments_have_paddlenlps_order() -> None:
    ids, mask = ids_and_mask()
    model = at_random(ErnieMForSequenceClassification(config()))
    labels = paddle.to_tensor([1, 0, 1])
    named = model(input_ids=ids, position_ids=PLACES, attention_mask=mask, labels=labels)
    placed = model(ids, PLACES, mask, labels)
    np.testing.assert_array_equal(placed.logits.numpy(), named.logits.numpy())
    assert float(placed.loss) == float(named.loss)
    choose = at_random(ErnieMForMultipleChoice(config()))
    choices = [paddle.stack([each] * 2, axis=1) for each in (ids, PLACES, mask)]
    scores = choose(*choices).logits.numpy()
    assert scores.shape == (3, 2)
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("cls", [ErnieMModel, ErnieMForSequenceClassification, UIEM])
def test_there_are_no_token_types(cls: Any) -> None:
    ids, _ = ids_and_mask()
    with pytest.raises(TypeError, match="token_type_ids"):
        cls(config())(ids, token_type_ids=ids)


@pytest.mark.parametrize("layout", ["paddle", "huggingface"])
@pytest.mark.parametrize("cls", [ErnieMModel, ErnieMForSequenceClassification])
def test_feed_forward_width_comes_from_the_weights(cls: Any, layout: Any, tmp_path: Path) -> None:
    """As PaddleNLP saves ernie-m-large: its config.json says 3072, and its weights have 4096."""
    model = at_random(cls(config(intermediate_size=96)))
    model.save_pretrained(tmp_path, format=layout)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"intermediate_size": 37}))
    loaded = cls.from_pretrained(tmp_path)
    assert loaded.config.intermediate_size == 96
    ids, _ = ids_and_mask()
    np.testing.assert_array_equal(loaded(ids)[0].numpy(), model(ids)[0].numpy())
    with pytest.raises(UserError, match="of another shape"):
        cls.from_pretrained(tmp_path, intermediate_size=37)


def test_older_folder_of_paddlenlp(tmp_path: Path) -> None:
    """Its config is nested, and does not name the feed-forward width at all."""
    model = at_random(ErnieMForSequenceClassification(config(intermediate_size=96, num_labels=3)))
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    inner = {name: size for name, size in SIZES.items() if name != "intermediate_size"}
    old = {
        "init_args": [inner | {"pad_token_id": 1, "init_class": "ErnieMModel"}],
        "num_classes": 3,
        "init_class": "ErnieMForSequenceClassification",
    }
    (tmp_path / "model_config.json").write_text(json.dumps(old))
    loaded = ErnieMForSequenceClassification.from_pretrained(tmp_path)
    ids, _ = ids_and_mask()
    np.testing.assert_array_equal(loaded(ids).logits.numpy(), model(ids).logits.numpy())


def test_language_model_scores_by_the_word_table() -> None:
    model = at_random(ErnieMForMaskedLM(config()))
    ids, mask = ids_and_mask()
    states = model.backbone(ids, attention_mask=mask).last_hidden_state
    inner = F.gelu(model.lm_head.dense(states))
    norm = model.lm_head.layer_norm
    inner = F.layer_norm(inner, [24], norm.weight, norm.bias, epsilon=1e-5).numpy()
    words = model.backbone.embeddings.word_embeddings.weight.numpy()
    expected = inner @ words.T + model.lm_head.bias.numpy()
    np.testing.assert_allclose(
        model(ids, attention_mask=mask).logits.numpy(), expected, atol=1e-5, rtol=1e-5
    )


def test_there_is_no_decoder() -> None:
    with pytest.raises(UserError, match="encoder only"):
        config(is_decoder=True)


def test_dropout_of_activations() -> None:
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    ids, _ = ids_and_mask()
    for share, differs in ((0.0, False), (0.5, True)):
        model = at_random(ErnieMModel(config(act_dropout=share, **still)))
        evaluated = model(ids).last_hidden_state.numpy()
        model.train()
        trained = model(ids).last_hidden_state.numpy()
        assert bool(np.abs(trained - evaluated).max() > 0.01) == differs


@pytest.mark.parametrize("layout", ["paddle", "huggingface"])
def test_extraction(layout: Any, tmp_path: Path) -> None:
    model = at_random(UIEM(config()))
    model.save_pretrained(tmp_path, format=layout)
    named = json.loads((tmp_path / "config.json").read_text())["architectures"]
    assert named == ["UIEM" if layout == "paddle" else "ErnieMForInformationExtraction"]
    assert {"linear_start.weight", "linear_end.bias"} < read_model(str(tmp_path))[0].keys()
    loaded = UIEM.from_pretrained(tmp_path)
    assert not loaded.load_report.missing
    assert not loaded.load_report.unexpected
    ids, mask = ids_and_mask()
    start_prob, end_prob = loaded(ids, attention_mask=mask).to_tuple()
    states = model.backbone(ids, attention_mask=mask).last_hidden_state
    for got, layer in ((start_prob, model.linear_start), (end_prob, model.linear_end)):
        logits = layer(states).numpy()[:, :, 0]
        np.testing.assert_allclose(got.numpy(), 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_extraction_loss() -> None:
    model = at_random(UIEM(config()))
    ids, mask = ids_and_mask()
    random = np.random.default_rng(0)
    starts, ends = random.integers(0, 2, (2, 3, 7)).astype("float32")
    labels = {
        "start_positions": paddle.to_tensor(starts),
        "end_positions": paddle.to_tensor(ends),
    }
    output = model(ids, attention_mask=mask, **labels)
    expected = 0.0
    for prob, truth in ((output.start_prob.numpy(), starts), (output.end_prob.numpy(), ends)):
        expected -= np.mean(truth * np.log(prob) + (1 - truth) * np.log(1 - prob)) / 2
    assert abs(float(output.loss) - expected) < 1e-5
    both = paddle.to_tensor(np.stack([starts, ends], -1).astype("int64"))
    assert abs(float(model(ids, None, mask, labels=both).loss) - expected) < 1e-5
    output.loss.backward()
    still = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert still == {"backbone.pooler.dense.weight", "backbone.pooler.dense.bias"}
