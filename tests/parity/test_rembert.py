"""RemBERT against transformers: every task class, both directions, decoding, the published size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models import rembert
from tests.parity.reference import (
    assert_same,
    assert_same_gradients,
    assert_same_layers,
    assert_transformers_loads,
    each_choice,
    randomize,
    reference_outputs,
    reload,
)
from tests.tiny import FAMILY_SIZES, SIZES, arrays, square_mask

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

TINY = SIZES | FAMILY_SIZES["rembert"]
CLASSES = (
    "RemBertModel",
    "RemBertForMaskedLM",
    "RemBertForCausalLM",
    "RemBertForSequenceClassification",
    "RemBertForTokenClassification",
    "RemBertForQuestionAnswering",
    "RemBertForMultipleChoice",
)
HEADS = CLASSES[1:]
NEVER = -1  # an end token that no model can tell


def build(name: str, **sizes: Any) -> tuple[Any, Any]:
    """Our class, and a random model of transformers."""
    sizes = TINY | {"is_decoder": name == "RemBertForCausalLM"} | sizes
    reference = getattr(transformers, name)(transformers.RemBertConfig(**sizes))
    return getattr(rembert, name), randomize(reference)


def inputs(name: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return each_choice(batch) if name == "RemBertForMultipleChoice" else batch


@pytest.mark.parametrize("name", CLASSES)
def test_tiny(name: str, tmp_path: Path) -> None:
    ours, reference = build(name)
    model = reload(reference, ours, tmp_path / "theirs")
    assert not model.load_report.missing
    assert not model.load_report.unexpected
    batch = inputs(name, arrays())
    assert_same(reference, model, batch, 2e-6)
    assert_transformers_loads(model, type(reference), tmp_path / "ours", batch, 2e-6)


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "RemBertForMultipleChoice"])
def test_square_masks(name: str, tmp_path: Path) -> None:
    ours, reference = build(name)
    model = reload(reference, ours, tmp_path)
    assert_same(reference, model, arrays() | {"attention_mask": square_mask()}, 2e-6)


def test_every_layer(tmp_path: Path) -> None:
    """The first hidden state is the projected embedding, as wide as the encoder."""
    ours, reference = build("RemBertModel")
    model = reload(reference, ours, tmp_path)
    assert_same_layers(reference, model, arrays(), 2e-6)


def test_losses(tmp_path: Path) -> None:
    batch = arrays()
    of_tokens = np.where(batch["attention_mask"] == 1, arrays(seed=9)["input_ids"] % 2, -100)
    labels = {
        "RemBertForMaskedLM": {"labels": of_tokens},
        "RemBertForCausalLM": {"labels": of_tokens},
        "RemBertForTokenClassification": {"labels": of_tokens},
        "RemBertForSequenceClassification": {"labels": np.array([1, 0, 1])},
        "RemBertForMultipleChoice": {"labels": np.array([4, 0, 2])},
        "RemBertForQuestionAnswering": {
            "start_positions": np.array([1, 0, 99]),
            "end_positions": np.array([3, 2, 1]),
        },
    }
    for name in HEADS:
        ours, reference = build(name)
        model = reload(reference, ours, tmp_path / name)
        assert_same(reference, model, inputs(name, batch) | labels[name], 2e-6)


@pytest.mark.parametrize("name", ["RemBertForSequenceClassification", "RemBertForMaskedLM"])
def test_gradients(name: str, tmp_path: Path) -> None:
    ours, reference = build(name)
    model = reload(reference, ours, tmp_path)
    batch = arrays()
    labels = np.array([1, 0, 1])
    if name == "RemBertForMaskedLM":
        labels = np.where(batch["attention_mask"] == 1, batch["input_ids"], -100)
    assert_same_gradients(reference, model, batch | {"labels": labels})


def test_cache_and_memory(tmp_path: Path) -> None:
    """Cross-attention equals the reference's; step by step equals all at once."""
    ours, reference = build("RemBertForCausalLM", add_cross_attention=True)
    model = reload(reference, ours, tmp_path / "theirs")
    batch = {
        **arrays(),
        "encoder_hidden_states": np.random.default_rng(0).normal(size=(3, 5, 24)).astype("float32"),
        "encoder_attention_mask": np.array([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]),
    }
    del batch["token_type_ids"]
    batch["attention_mask"][1, :2] = 0  # padding in front too
    assert_same(reference, model, batch, 2e-6)
    assert_transformers_loads(model, type(reference), tmp_path / "ours", batch, 2e-6)
    given = {name: paddle.to_tensor(value) for name, value in batch.items()}
    whole = model(**given).logits.numpy()
    cache, steps = None, []
    for at in range(whole.shape[1]):
        step = given | {
            "input_ids": given["input_ids"][:, at : at + 1],
            "attention_mask": given["attention_mask"][:, : at + 1],
        }
        output = model(**step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        steps.append(output.logits.numpy())
    real = batch["attention_mask"] == 1
    np.testing.assert_allclose(np.concatenate(steps, 1)[real], whole[real], atol=1e-6, rtol=0)


def test_greedy_generation(tmp_path: Path) -> None:
    ours, reference = build("RemBertForCausalLM")
    model = reload(reference, ours, tmp_path)
    ids = arrays()["input_ids"] % 50 + 3
    with torch.no_grad():
        expected = reference.generate(
            torch.tensor(ids), attention_mask=torch.ones(ids.shape, dtype=torch.int64),
            max_new_tokens=9, do_sample=False, eos_token_id=NEVER, pad_token_id=0,
        )  # fmt: skip
    got = model.generate(paddle.to_tensor(ids), max_new_tokens=9)
    np.testing.assert_array_equal(got.numpy(), expected.numpy())


def test_generation_ends_with_the_configs_token(tmp_path: Path) -> None:
    """Without a word from the caller, a token that the config names ends a sequence."""
    ours, reference = build("RemBertForCausalLM")
    ids = torch.tensor(arrays()["input_ids"] % 50 + 3)
    rows = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 9, "do_sample": False}
    with torch.no_grad():
        endless = reference.generate(ids, eos_token_id=NEVER, pad_token_id=0, **rows)
        end = int(endless[0, 10])  # said at the fourth step, if not before
        reference.config.eos_token_id = reference.generation_config.eos_token_id = end
        expected = reference.generate(ids, **rows).numpy()
    model = reload(reference, ours, tmp_path)
    assert model.config.eos_token_id == end
    start = paddle.to_tensor(ids.numpy())
    np.testing.assert_array_equal(model.generate(start, max_new_tokens=9).numpy(), expected)
    assert (expected[0, 11:] == 0).all()
    got = model.generate(start, max_new_tokens=9, eos_token_id=NEVER).numpy()
    np.testing.assert_array_equal(got, endless.numpy())


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
def test_options_of_drawing(options: dict[str, Any], fit: bool, tmp_path: Path) -> None:
    """What transformers refuses is refused; where one candidate is left, it is the same."""
    ours, reference = build("RemBertForCausalLM")
    model = reload(reference, ours, tmp_path)
    ids = arrays()["input_ids"] % 50 + 3
    rows = {"max_new_tokens": 5, "do_sample": True, "eos_token_id": NEVER, **options}
    theirs = {"attention_mask": torch.ones(ids.shape, dtype=torch.int64), "pad_token_id": 0, **rows}
    if fit:
        with torch.no_grad():
            expected = reference.generate(torch.tensor(ids), **theirs)
        got = model.generate(paddle.to_tensor(ids), **rows)
        np.testing.assert_array_equal(got.numpy(), expected.numpy())
    else:
        with pytest.raises(ValueError, match=r"temperature|top_p|top_k"):
            reference.generate(torch.tensor(ids), **theirs)
        with pytest.raises(UserError, match=r"temperature|top_p|top_k"):
            model.generate(paddle.to_tensor(ids), **rows)


def test_greedy_generation_behind_padding(tmp_path: Path) -> None:
    """Padding in front shifts nothing (transformers would count it, so it is told not to)."""
    ours, reference = build("RemBertForCausalLM")
    model = reload(reference, ours, tmp_path)
    mask = np.ones([3, 7], dtype="int64")
    mask[1, :3] = 0
    ids = np.where(mask == 1, arrays()["input_ids"] % 50 + 3, 0)
    got = model.generate(paddle.to_tensor(ids), paddle.to_tensor(mask), max_new_tokens=9)
    for _ in range(9):
        places = (mask.cumsum(1) - 1).clip(0)
        batch = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        best = reference_outputs(reference, batch)["logits"][:, -1:].argmax(-1)
        ids, mask = np.concatenate([ids, best], 1), np.concatenate([mask, best * 0 + 1], 1)
    np.testing.assert_array_equal(got.numpy(), ids)


@pytest.mark.slow
def test_published_size(tmp_path: Path) -> None:
    """Every class at the published shape, all on one encoder: 14 GiB with the mapped files.

    A new model's weights are spread about as widely as a trained one's.
    """
    torch.manual_seed(0)
    config = transformers.RemBertConfig(use_cache=False)
    base = transformers.RemBertModel(config).eval()
    assert sum(parameter.numel() for parameter in base.parameters()) == 575_920_384
    base.save_pretrained(tmp_path)
    batch = arrays(batch=2, length=37)
    batch["token_type_ids"] %= config.type_vocab_size
    for name in CLASSES:
        base.config.is_decoder = name == "RemBertForCausalLM"
        reference, folder = base, tmp_path
        if name != "RemBertModel":
            reference, folder = put_head(base, name), tmp_path / name
            save_beside(base, reference, folder)
        model = getattr(rembert, name).from_pretrained(folder)
        assert not model.load_report.missing
        # As a decoder, transformers' own answer is 9e-6 off the one it gives in double precision.
        tolerance = 2e-5 if name == "RemBertForCausalLM" else 1e-5
        assert_same(reference, model, inputs(name, batch), tolerance)
        del reference, model  # before the next are made


def put_head(base: torch.nn.Module, name: str) -> torch.nn.Module:
    """A class of transformers with a new head on a model that is there already."""
    with torch.device("meta"):
        reference = getattr(transformers, name)(base.config)
    reference.rembert = base
    for child, module in reference.named_children():
        if child != "rembert":
            module.to_empty(device="cpu").apply(reference._init_weights)
    return reference.eval()


def save_beside(base: torch.nn.Module, reference: torch.nn.Module, folder: Path) -> None:
    """Save a head only, in a folder whose index finds the encoder in the file of the bare model."""
    folder.mkdir()
    reference.config.save_pretrained(folder)
    (folder / "encoder.safetensors").symlink_to(folder.parent / "model.safetensors")
    head = {k: v for k, v in reference.state_dict().items() if not k.startswith("rembert.")}
    safetensors_torch.save_file(head, folder / "head.safetensors", {"format": "pt"})
    weight_map = dict.fromkeys(base.state_dict(), "encoder.safetensors")
    weight_map |= dict.fromkeys(head, "head.safetensors")
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
