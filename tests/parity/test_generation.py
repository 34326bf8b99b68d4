"""Decoding against transformers: cross-attention, the cache, and generated tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from tests.parity.families import Row, rows
from tests.parity.reference import (
    assert_same,
    assert_transformers_loads,
    loaded_pair,
    random_pair,
    reference_outputs,
)
from tests.tiny import arrays, tensors

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")

NEVER = -1  # an end token that no model predicts
PROMPTS = arrays()["input_ids"] % 50 + 3
each_decoder = pytest.mark.parametrize("row", rows("ForCausalLM", every_form=False))


def generated(reference: Any, **options: Any) -> np.ndarray:
    """Let transformers continue the prompts."""
    given = {"attention_mask": torch.ones(PROMPTS.shape, dtype=torch.int64), "pad_token_id": 0}
    if hasattr(reference, "roberta"):
        # Without positions it counts them as its weights were trained; those that `generate` gives
        # begin at the first row of the table, where padding's is the second.
        forward = type(reference).forward
        reference.forward = lambda input_ids=None, attention_mask=None, **more: forward(
            reference, input_ids, attention_mask, **more
        )
    with torch.no_grad():
        return reference.generate(torch.tensor(PROMPTS), **(given | options)).numpy()


@pytest.mark.parametrize("masked", [True, False])
@each_decoder
def test_memory_and_cache(row: Row, masked: bool, tmp_path: Path) -> None:
    """Cross-attention equals the reference's; step by step equals all at once."""
    pair = random_pair(row, tmp_path / "theirs", add_cross_attention=True)
    mask = arrays()["attention_mask"] if masked else np.ones_like(PROMPTS)
    mask[1, :2] = not masked  # padding in front too
    batch = {
        "input_ids": arrays()["input_ids"] if masked else PROMPTS,
        "encoder_hidden_states": np.random.default_rng(0).normal(size=(3, 5, 24)).astype("float32"),
        "encoder_attention_mask": np.array([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]),
    }
    if masked:
        batch["attention_mask"] = mask
    assert_same(*pair, batch, 2e-6)
    assert_transformers_loads(pair, tmp_path / "ours", batch, 2e-6)
    given = tensors(batch)
    whole = pair.ours(**given).logits.numpy()
    cache, steps = None, []
    for at in range(whole.shape[1]):
        step = given | {"input_ids": given["input_ids"][:, at : at + 1]}
        if masked:
            step["attention_mask"] = given["attention_mask"][:, : at + 1]
        output = pair.ours(**step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        steps.append(output.logits.numpy())
    real = mask == 1
    np.testing.assert_allclose(np.concatenate(steps, 1)[real], whole[real], atol=1e-6, rtol=0)


@each_decoder
def test_greedy_generation(row: Row, tmp_path: Path) -> None:
    reference, model = random_pair(row, tmp_path)
    expected = generated(reference, max_new_tokens=9, do_sample=False, eos_token_id=NEVER)
    got = model.generate(paddle.to_tensor(PROMPTS), max_new_tokens=9)
    np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("row", rows("RemBertForCausalLM"))  # whose config has such a token
def test_generation_ends_with_the_configs_token(row: Row, tmp_path: Path) -> None:
    """Unless the caller names another, a token that the config names ends a sequence."""
    reference, _ = random_pair(row, tmp_path / "first")
    options = {"max_new_tokens": 9, "do_sample": False}
    endless = generated(reference, eos_token_id=NEVER, **options)
    end = int(endless[0, 10])  # predicted at the fourth step, if not before
    reference.config.eos_token_id = reference.generation_config.eos_token_id = end
    expected = generated(reference, **options)
    _, model = loaded_pair(row.name, reference, tmp_path)
    assert model.config.eos_token_id == end
    start = paddle.to_tensor(PROMPTS)
    np.testing.assert_array_equal(model.generate(start, max_new_tokens=9).numpy(), expected)
    assert (expected[0, 11:] == 0).all()
    got = model.generate(start, max_new_tokens=9, eos_token_id=NEVER).numpy()
    np.testing.assert_array_equal(got, endless)


@pytest.mark.parametrize(
    ("options", "fit"),
    [
        ({"top_p": 0.0}, True),  # the best token is always a candidate
        ({"top_k": 1}, True),
        ({"temperature": 0.0}, False),
        ({"top_p": -0.1}, False),
        ({"top_k": -1}, False),
    ],
)
@each_decoder
def test_options_of_drawing(row: Row, options: dict[str, Any], fit: bool, tmp_path: Path) -> None:
    """What transformers refuses is refused; where one candidate is left, it is the same."""
    reference, model = random_pair(row, tmp_path)
    options = {"max_new_tokens": 5, "do_sample": True, "eos_token_id": NEVER, **options}
    start = paddle.to_tensor(PROMPTS)
    if fit:
        expected = generated(reference, **options)
        np.testing.assert_array_equal(model.generate(start, **options).numpy(), expected)
    else:
        with pytest.raises(ValueError, match=r"temperature|top_p|top_k"):
            generated(reference, **options)
        with pytest.raises(UserError, match=r"temperature|top_p|top_k"):
            model.generate(start, **options)


@each_decoder
def test_greedy_generation_behind_padding(row: Row, tmp_path: Path) -> None:
    """Padding in front shifts nothing (transformers, which would count it, is given positions)."""
    reference, model = random_pair(row, tmp_path)
    mask = np.ones([3, 7], dtype="int64")
    mask[1, :3] = 0
    ids = np.where(mask == 1, PROMPTS, 0)
    got = model.generate(paddle.to_tensor(ids), paddle.to_tensor(mask), max_new_tokens=9)
    for _ in range(9):
        places = (mask.cumsum(1) - 1).clip(0) + model.backbone.first_position_id
        batch = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        best = reference_outputs(reference, batch)["logits"][:, -1:].argmax(-1)
        ids, mask = np.concatenate([ids, best], 1), np.concatenate([mask, best * 0 + 1], 1)
    np.testing.assert_array_equal(got.numpy(), ids)
