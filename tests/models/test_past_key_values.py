"""Keys and values in front of an encoder's tokens, as prefix tuning has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import Tensor

from paddlenlp_ext.errors import InputError, UserError
from paddlenlp_ext.models.auto import FAMILIES
from paddlenlp_ext.models.base import Model
from tests.models.test_contract import HEADS, batch_for, build, first, labels_for
from tests.tiny import SIZES, B, L, tensors

FIRST = 3  # tokens that are encoded first
LAYERS, HEADS_OF_ONE = SIZES["num_hidden_layers"], SIZES["num_attention_heads"]
WIDTH = SIZES["hidden_size"] // HEADS_OF_ONE
PREFIXED = [family for family in FAMILIES if family != "convbert"]


def prefix(tokens: int = 5, rows: int = B) -> tuple[tuple[Tensor, ...], ...]:
    paddle.seed(9)
    shape = [rows, HEADS_OF_ONE, tokens, WIDTH]
    return tuple(tuple(paddle.randn(shape) for _ in range(2)) for _ in range(LAYERS))


def model_and_batch(family: str, task: str = "Model") -> tuple[Model, dict[str, Any]]:
    model = build(family, task)
    model.eval()
    return model, batch_for(model, task)


def parts(batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {name: rows[:, :FIRST] for name, rows in batch.items()},
        {name: rows[:, FIRST:] for name, rows in batch.items()},
    )


@pytest.mark.parametrize("family", PREFIXED)
def test_two_parts_are_the_whole(family: str) -> None:
    """Where in the whole text, too, the first part cannot attend to the second."""
    model, batch = model_and_batch(family)
    mask = batch["attention_mask"]
    rows = np.repeat(mask[:, None], L, 1)
    rows[:, :FIRST, FIRST:] = 0
    asked = {"output_hidden_states": True, "output_attentions": True}
    whole = model(**tensors(batch | {"attention_mask": rows}), **asked)
    before, after = (tensors(part) for part in parts(batch))
    begun = model(**before, use_cache=True)
    assert len(begun.past_key_values) == LAYERS
    for layer in begun.past_key_values:
        assert [part.shape for part in layer] == [[B, HEADS_OF_ONE, FIRST, WIDTH]] * 2
    for given in (mask, mask[:, FIRST:], rows[:, FIRST:], rows[:, FIRST:, FIRST:]):
        after["attention_mask"] = paddle.to_tensor(given)
        got = model(**after, past_key_values=begun.past_key_values, use_cache=True, **asked)
        states = whole.last_hidden_state[:, FIRST:]
        np.testing.assert_allclose(got.last_hidden_state.numpy(), states.numpy(), atol=1e-5)
        for one, other in zip(got.hidden_states, whole.hidden_states, strict=True):
            np.testing.assert_allclose(one.numpy(), other[:, FIRST:].numpy(), atol=1e-5)
        for one, other in zip(got.attentions, whole.attentions, strict=True):
            np.testing.assert_allclose(one.numpy(), other[:, :, FIRST:].numpy(), atol=1e-5)
        assert got.past_key_values[0][0].shape == [B, HEADS_OF_ONE, L, WIDTH]
    del after["attention_mask"]  # found from the ids
    got = model(**after, past_key_values=begun.past_key_values)
    assert got.past_key_values is None
    np.testing.assert_allclose(got.last_hidden_state.numpy(), states.numpy(), atol=1e-5)


@pytest.mark.parametrize("family", PREFIXED)
def test_a_cache_that_nothing_follows_changes_nothing(family: str) -> None:
    model, batch = model_and_batch(family)
    plain, kept = model(**tensors(batch)), model(**tensors(batch), use_cache=True)
    np.testing.assert_allclose(first(kept), first(plain), atol=1e-5)
    assert list(kept) == [*list(plain), "past_key_values"]


@pytest.mark.parametrize("family", ["bert", "rembert", "electra", "ernie", "xlm-roberta"])
def test_a_decoder_takes_pairs_too(family: str) -> None:
    model, batch = model_and_batch(family, "ForCausalLM")
    before, after = (tensors(part) for part in parts(batch))
    cache = model(**before, use_cache=True).past_key_values
    pairs = [[part.transpose([0, 2, 1, 3]) for part in layer[0]] for layer in cache.key_values]
    after["attention_mask"] = paddle.to_tensor(batch["attention_mask"])
    expected = first(model(**after, past_key_values=cache))
    got = first(model(**after, past_key_values=pairs))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "task"), [row for row in HEADS if row[0] != "convbert" and row[1] != "ForCausalLM"]
)
def test_a_prefix_is_trained_while_the_model_is_not(family: str, task: str) -> None:
    model, batch = model_and_batch(family, task)
    for parameter in model.parameters():
        parameter.stop_gradient = True
    model.train()
    model.enable_recompute()
    past = prefix()
    plain = model(**tensors(batch), labels=labels_for(model, task)).loss
    for part in (part for layer in past for part in layer):
        part.stop_gradient = False
    loss = model(**tensors(batch), labels=labels_for(model, task), past_key_values=past).loss
    assert abs(float(loss) - float(plain)) > 1e-6
    loss.backward()
    for key, value in past[:-1]:
        assert float(key.grad.abs().min()) > 0
        assert float(value.grad.abs().min()) > 0


def test_choices_have_the_prefix_of_their_row() -> None:
    model, batch = model_and_batch("bert", "ForMultipleChoice")
    past = prefix()
    scores = first(model(**tensors(batch), past_key_values=past))
    for row in range(B):
        alone = {name: values[row : row + 1] for name, values in batch.items()}
        own = [[part[row : row + 1] for part in layer] for layer in past]
        got = first(model(**tensors(alone), past_key_values=own))
        np.testing.assert_allclose(got[0], scores[row], atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    model, batch = model_and_batch("bert", "ForTokenClassification")
    said = r"`past_key_values`: expected of each of 3 layers a key and a value, \[3, 4, P, 6\] each"
    for wrong in (
        [],
        prefix()[:2],
        [layer[:1] for layer in prefix()],
        prefix(rows=B + 1),
        [[part.transpose([0, 2, 1, 3]) for part in layer] for layer in prefix()],
        [*prefix()[:2], *prefix(2)[2:]],
    ):
        with pytest.raises(InputError, match=said):
            model(**tensors(batch), past_key_values=wrong)
    convbert, batch = model_and_batch("convbert", "ForTokenClassification")
    with pytest.raises(
        UserError, match="ConvBertForTokenClassification takes no `past_key_values`"
    ):
        convbert(**tensors(batch), past_key_values=prefix())
