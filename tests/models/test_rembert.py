"""RemBERT: decoupled embeddings, its own language-model table, decoding."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.rembert import (
    PRESETS,
    RemBertConfig,
    RemBertForCausalLM,
    RemBertForMaskedLM,
    RemBertForSequenceClassification,
    RemBertModel,
)
from paddlenlp_ext.weights.folders import read_model, write_model
from tests.tiny import FAMILY_SIZES, SIZES, V, arrays, tensors

END = 7


def config(**changes: Any) -> RemBertConfig:
    return RemBertConfig.from_dict(SIZES | FAMILY_SIZES["rembert"]).replace(**changes)


def at_random(model: Any) -> Any:
    paddle.seed(2)
    for parameter in model.parameters():
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.3)
    model.eval()
    return model


@pytest.mark.parametrize(
    ("cls", "parameters"), [(RemBertModel, 575_920_384), (RemBertForMaskedLM, 993_263_548)]
)
def test_published_size(cls: Any, parameters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cls, "initialize_weights", lambda self: None)
    monkeypatch.setattr(RemBertModel, "initialize_weights", lambda self: None)
    with paddle.LazyGuard():  # no memory is taken
        model = cls(PRESETS["rembert"])
    assert sum(int(np.prod(parameter.shape)) for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("width", [11, SIZES["hidden_size"]])
def test_first_hidden_state_is_projected_whatever_the_width(width: int) -> None:
    model = at_random(RemBertModel(config(input_embedding_size=width)))
    ids = paddle.to_tensor(arrays()["input_ids"])
    first = model(ids, output_hidden_states=True).hidden_states[0].numpy()
    weight, bias = model.encoder.projection.weight.numpy(), model.encoder.projection.bias.numpy()
    np.testing.assert_allclose(first, model.embeddings(ids).numpy() @ weight + bias, atol=1e-5)


@pytest.mark.parametrize("cls", [RemBertForMaskedLM, RemBertForCausalLM])
@pytest.mark.parametrize("layout", ["huggingface", "paddle"])
def test_head_that_the_weights_lack(
    cls: Any, layout: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the published weights do."""
    base = at_random(RemBertModel(config(vocab_size=501)))
    base.save_pretrained(tmp_path, format=layout)
    with caplog.at_level(logging.WARNING):
        model = cls.from_pretrained(tmp_path)
    (told,) = caplog.messages
    assert ": newly initialized, not in the checkpoint: lm_head.bias, lm_head.decoder" in told
    left = [f"pooler.dense.{name}" for name in ("bias", "weight")]
    assert told.endswith(
        f"; not used, not in the model: {', '.join(left)}"
    )  # which are not newly initialized
    assert len(model.load_report.missing) == 6
    head = model.lm_head
    assert abs(head.decoder.weight.numpy().std() - 0.02) < 0.002
    assert abs(head.dense.weight.numpy().std() - 0.02) < 0.002
    np.testing.assert_array_equal(head.layer_norm.weight.numpy(), 1.0)
    for bias in (head.bias, head.dense.bias, head.layer_norm.bias):
        np.testing.assert_array_equal(bias.numpy(), 0.0)
    for name, parameter in base.named_parameters():
        if not name.startswith("pooler."):
            kept = dict(model.backbone.named_parameters())[name]
            np.testing.assert_array_equal(kept.numpy(), parameter.numpy())


def rows_of_words(model: Any) -> list[Any]:
    """Both tables and the bias."""
    embeddings = model.backbone.embeddings.word_embeddings
    return [embeddings.weight, model.lm_head.decoder.weight, model.lm_head.bias]


@pytest.mark.parametrize("cls", [RemBertForMaskedLM, RemBertForCausalLM])
def test_resizing_moves_both_tables_and_the_bias(cls: Any, tmp_path: Path) -> None:
    model = at_random(cls(config()))
    batch = tensors(arrays())
    before = model(**batch).logits.numpy()
    tables = [one.numpy() for one in rows_of_words(model)]
    model.resize_token_embeddings(V + 4)
    for table, resized in zip(tables, rows_of_words(model), strict=True):
        np.testing.assert_array_equal(resized.numpy()[:V], table)
    assert model.backbone.embeddings.word_embeddings.weight.shape == [V + 4, 11]
    assert model.lm_head.decoder.weight.shape == [V + 4, 31]
    assert model.lm_head.bias.shape == [V + 4]
    grown = model(**batch).logits.numpy()
    np.testing.assert_allclose(grown[:, :, :V], before, rtol=1e-5, atol=2e-6)
    model.save_pretrained(tmp_path)
    loaded = cls.from_pretrained(tmp_path)
    assert loaded.config.vocab_size == V + 4
    np.testing.assert_array_equal(loaded(**batch).logits.numpy(), grown)


def test_dropout_before_the_classifier(tmp_path: Path) -> None:
    assert RemBertForSequenceClassification(config()).dropout.p == 0.1
    model = RemBertForSequenceClassification(config(classifier_dropout_prob=0.2))
    assert model.dropout.p == 0.2
    model.save_pretrained(tmp_path)
    loaded = RemBertForSequenceClassification.from_pretrained(tmp_path, dropout=0.3)
    assert loaded.dropout.p == 0.3
    values = loaded.config.to_dict()
    assert values["classifier_dropout_prob"] == 0.3  # the name that transformers reads
    assert RemBertConfig.from_dict(values).head_dropout == 0.3


def test_buffer_of_positions_is_paddlenlps_alone(tmp_path: Path) -> None:
    model = RemBertForSequenceClassification(config())
    for layout in ("paddle", "huggingface"):
        model.save_pretrained(tmp_path / layout, format=layout)
    theirs, _ = read_model(str(tmp_path / "paddle"))
    positions = theirs["rembert.embeddings.position_ids"]
    assert positions.dtype == np.int64
    np.testing.assert_array_equal(positions, np.arange(19)[None])
    assert {"dense.weight", "dense.bias"} < theirs.keys()
    model.backbone.save_pretrained(tmp_path / "bare")
    assert "embeddings.position_ids" in read_model(str(tmp_path / "bare"))[0]
    theirs, _ = read_model(str(tmp_path / "huggingface"))
    assert not any("position_ids" in name for name in theirs)
    assert {"classifier.weight", "classifier.bias"} < theirs.keys()


def test_paddlenlps_head_is_left_and_ours_begins_anew(tmp_path: Path) -> None:
    """Its scores hidden units; two of its names are also parts of ours, which must not mix."""
    source = RemBertForMaskedLM(config())
    source.save_pretrained(tmp_path)
    tensors_, _ = read_model(str(tmp_path))
    theirs = {name: array for name, array in tensors_.items() if name.startswith("rembert.")}
    for part in ("transform", "decoder"):
        theirs[f"cls.predictions.{part}.weight"] = np.ones([24, 24], "float32")
        theirs[f"cls.predictions.{part}.bias"] = np.ones([24], "float32")
    theirs["cls.predictions.layer_norm.weight"] = np.full([24], 2.0, "float32")
    theirs["cls.predictions.layer_norm.bias"] = np.full([24], 2.0, "float32")
    write_model(tmp_path, theirs, source.config.to_dict(), "paddle")
    loaded = RemBertForMaskedLM.from_pretrained(tmp_path)
    assert len(loaded.load_report.missing) == 6
    assert len(loaded.load_report.unexpected) == 6
    assert not loaded.load_report.mismatched
    np.testing.assert_array_equal(loaded.lm_head.layer_norm.weight.numpy(), 1.0)


@pytest.mark.parametrize("memory", [False, True])
def test_step_by_step_equals_all_at_once(memory: bool) -> None:
    model = at_random(RemBertForCausalLM(config(is_decoder=True, add_cross_attention=memory)))
    batch = tensors(arrays(pad=0))
    extra = {"encoder_hidden_states": paddle.randn([3, 5, 24])} if memory else {}
    whole = model(**batch, **extra).logits.numpy()
    cache, steps = None, []
    for at in range(7):
        output = model(
            batch["input_ids"][:, at : at + 1],
            batch["token_type_ids"][:, at : at + 1],
            attention_mask=batch["attention_mask"][:, : at + 1],
            past_key_values=cache,
            use_cache=True,
            **extra,
        )
        cache = output.past_key_values
        steps.append(output.logits.numpy())
    real = batch["attention_mask"].numpy() == 1
    assert np.abs(whole).max() > 1
    np.testing.assert_allclose(np.concatenate(steps, 1)[real], whole[real], atol=1e-5, rtol=0)


def test_later_tokens_are_not_seen() -> None:
    model = at_random(RemBertForCausalLM(config()))
    ids = arrays()["input_ids"]
    before = model(paddle.to_tensor(ids)).logits.numpy()
    ids[0, 5] = 50
    after = model(paddle.to_tensor(ids)).logits.numpy()
    np.testing.assert_array_equal(after[0, :5], before[0, :5])
    assert np.abs(after[0, 5:] - before[0, 5:]).min(axis=-1).max() > 0


def test_generation() -> None:
    model = at_random(RemBertForCausalLM(config()))
    start = paddle.to_tensor([[9, 21, 4, 17]])
    ids = start.numpy()
    for _ in range(6):
        best = model(paddle.to_tensor(ids)).logits.numpy()[:, -1:].argmax(-1)
        ids = np.concatenate([ids, best], 1)
    greedy = model.generate(start, max_new_tokens=6).numpy()
    np.testing.assert_array_equal(greedy, ids)
    # Padding in front shifts nothing; another row of the batch changes nothing.
    padded = paddle.to_tensor([[8, 9, 10, 11, 12, 13], [0, 0, 9, 21, 4, 17]])
    np.testing.assert_array_equal(model.generate(padded, max_new_tokens=6).numpy()[1, 2:], ids[0])
    # The best of one candidate is the best.
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"top_p": 0.0}):
        drawn = model.generate(start, max_new_tokens=6, do_sample=True, **narrow).numpy()
        np.testing.assert_array_equal(drawn, ids)


def test_the_end_token_ends_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([[11, 12], [13, END], [14, 15], [END, 16], [17, 18]])  # by step, for two rows

    def score(self: RemBertForCausalLM, states: paddle.Tensor) -> paddle.Tensor:
        chosen = paddle.nn.functional.one_hot(paddle.to_tensor(next(said)), V)
        return chosen.unsqueeze(1).expand([-1, states.shape[1], -1])

    monkeypatch.setattr(RemBertForCausalLM, "score", score)
    model = RemBertForCausalLM(config())
    start = paddle.to_tensor([[9, 21, 4], [5, 6, 8]])
    ids = model.generate(start, max_new_tokens=5, eos_token_id=END).numpy()
    expected = [[9, 21, 4, 11, 13, 14, END], [5, 6, 8, 12, END, 0, 0]]
    np.testing.assert_array_equal(ids, expected)


REFUSED = {
    "temperature": ({"temperature": 0.0}, "temperature=0.0: expected a number above 0; for the be"),
    "cold": ({"temperature": -1.0}, "temperature=-1.0: expected a number above 0"),
    "top_k": ({"top_k": -1}, "top_k=-1: expected a number of tokens, or 0 for all"),
    "top_p": ({"top_p": 1.5}, "top_p=1.5: expected a probability from 0 to 1"),
    "negative": ({"top_p": -0.1}, "top_p=-0.1: expected a probability"),
    "length": (
        {"max_new_tokens": 14},
        "max_new_tokens=14: the longest sequence has 7 tokens, and the model has 19 positions; "
        "expected at most 13 new tokens, or a shorter sequence",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_generation_that_cannot_be_is_refused_before_it_begins(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = at_random(RemBertForCausalLM(config()))
    monkeypatch.setattr(model, "forward", None)
    options, message = REFUSED[case]
    start = paddle.to_tensor(arrays()["input_ids"])
    with pytest.raises(UserError) as told:
        model.generate(start, do_sample=True, **{"max_new_tokens": 3, **options})
    assert str(told.value).startswith(message)


def test_all_positions_can_be_used_and_padding_takes_none() -> None:
    model = at_random(RemBertForCausalLM(config()))
    ids = paddle.to_tensor(arrays()["input_ids"][:1])
    assert model.generate(ids, max_new_tokens=13).shape == [1, 20]
    padded = paddle.concat([paddle.zeros([1, 4], "int64"), ids], axis=1)
    assert model.generate(padded, max_new_tokens=13).shape == [1, 24]
    with pytest.raises(UserError, match=r"has 20 tokens, .* at most 0 new tokens"):
        model.generate(paddle.full([1, 20], 5, "int64"), max_new_tokens=1)


def test_sampling_depends_on_the_seed_alone() -> None:
    model = at_random(RemBertForCausalLM(config()))
    start = paddle.to_tensor(arrays()["input_ids"][:1])
    drawn = []
    for seed in (1, 1, 2):
        paddle.seed(seed)
        drawn.append(model.generate(start, max_new_tokens=9, do_sample=True, temperature=3.0))
    np.testing.assert_array_equal(drawn[0].numpy(), drawn[1].numpy())
    assert (drawn[0].numpy() != drawn[2].numpy()).any()


def test_decoders_alone_take_memories() -> None:
    ids = paddle.to_tensor(arrays()["input_ids"])
    with pytest.raises(UserError, match="add_cross_attention=True"):
        RemBertForCausalLM(config())(ids, encoder_hidden_states=paddle.ones([3, 5, 24]))
    with pytest.raises(UserError, match="needs is_decoder"):
        config(add_cross_attention=True)
