"""Models against PaddleNLP 2.8.1: its folders load here, ours there, and compute the same.

Its own code for two families has faults. RemBERT's attention hands on a pair where states are
expected, which Paddle 3.3 refuses (`paddlenlp_jobs.py` repairs that one line), and a mask of two
axes does nothing there, so none is given. ERNIE-M takes [CLS] for padding, and its feed-forward
width is not the config's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_ext.transformers as ours_by_name
from paddlenlp_ext.models.base import Model
from tests.parity.families import named
from tests.parity.paddlenlp_reference import Job, assert_same_outputs, needs_paddlenlp, run
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, arrays, tensors

pytestmark = needs_paddlenlp

TOLERANCE = 2e-6


@dataclass(frozen=True)
class Row:
    """A family, or a form of it.

    Attributes:
        family: As in `tests/tiny.py`.
        classes: Ours.
        sizes: Fields of PaddleNLP's config that differ from the tiny ones.
        ours: Fields of our config that do.
        loading: Those that are changed in loading PaddleNLP's folder.
        loaded: What our config then says.
        unused: Inputs that are not given.
        pad: Token that fills rows up.
        zero_padding: Whether PaddleNLP computes zeros for the padding token, whatever its row
            holds.
        apart: Classes of which only PaddleNLP's folders are compared.
    """

    family: str
    classes: tuple[str, ...]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)
    loading: Mapping[str, Any] = field(default_factory=dict)
    loaded: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    pad: int = 0
    zero_padding: bool = True
    apart: tuple[str, ...] = ()

    def make(self, name: str) -> Model:
        """Make a class of ours at random."""
        cls = getattr(ours_by_name, name)
        config = cls.config_class.from_dict(SIZES | FAMILY_SIZES[self.family])
        paddle.seed(5)
        model = cls(config.replace(**self.ours))
        for parameter in model.parameters():
            parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.1)
        if self.zero_padding:
            words = model.get_input_embeddings().weight
            rows = paddle.arange(words.shape[0]) != config.pad_token_id
            words.set_value(words * rows.astype("float32").unsqueeze(1))
        return model

    def inputs(self, name: str) -> dict[str, np.ndarray]:
        """Make a batch; no text begins with what PaddleNLP's ERNIE-M takes for padding."""
        batch = arrays(pad=self.pad)
        batch["input_ids"][:, 0] = 5
        for key in self.unused:
            del batch[key]
        if not name.endswith("ForMultipleChoice"):
            return batch
        return {
            key: np.stack([np.roll(rows, turn, 0) for turn in range(CHOICES)], 1)
            for key, rows in batch.items()
        }


ERNIE_M = Row(
    "ernie_m",
    (*named("ErnieM"), "UIEM"),
    ours={"intermediate_size": 4 * SIZES["hidden_size"], "paddlenlp_default_mask": True},
    loading={"paddlenlp_default_mask": True},
    loaded={"intermediate_size": 4 * SIZES["hidden_size"]},  # its config.json says 37
    unused=("token_type_ids",),
    pad=1,
    zero_padding=False,
)
REMBERT = Row("rembert", named("RemBert"), unused=("attention_mask",), zero_padding=False)
ROWS = {
    "bert": Row("bert", named("Bert", "ForMaskedLM", "ForPreTraining")),
    "rembert": REMBERT,
    "convbert": Row(
        "convbert",
        named("ConvBert", "ForMaskedLM"),
        sizes={"num_groups": 1},
        # Without a pooler, ours reads the last position, as transformers' does.
        apart=("ConvBertForMultipleChoice",),
    ),
    # PaddleNLP builds plain attention for one head; its folder says so by what it lacks.
    "convbert-without-a-convolution": Row(
        "convbert",
        ("ConvBertModel",),
        sizes={"num_attention_heads": 1},
        ours={"num_attention_heads": 1, "one_head_convolution": False},
    ),
    "ernie_m": ERNIE_M,
    # Without a mask, theirs hides token 0, and so does ours if the config says so.
    "ernie_m-without-a-mask": replace(ERNIE_M, unused=("token_type_ids", "attention_mask"), pad=0),
    "electra": Row("electra", named("Electra", "ForMaskedLM")),
    "ernie": Row(
        "ernie", (*named("Ernie", "ForMaskedLM", "ForPreTraining"), "UIE"), sizes={"task_id": 2}
    ),
    # Its RobertaForCausalLM sees the following tokens too.
    "xlm-roberta": Row("xlm-roberta", named("XLMRoberta", "ForMaskedLM"), pad=1),
}


def names_and_shapes(folder: Path) -> dict[str, list[int]]:
    return {
        name: list(array.shape)
        for name, array in paddle.load(f"{folder}/model_state.pdparams").items()
    }


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_both_ways(row: Row, tmp_path: Path) -> None:
    sizes = SIZES | FAMILY_SIZES[row.family] | row.sizes | {"num_choices": CHOICES}
    jobs, models = [], []
    for name in row.classes:
        model = row.make(name)
        model.save_pretrained(tmp_path / f"ours_{name}")
        models.append(model)
        their_name, batch = model.foreign_class_name("paddle"), row.inputs(name)
        jobs += [
            Job(their_name, tmp_path / f"theirs_{name}", batch, config=sizes),
            Job(their_name, tmp_path / f"ours_{name}", batch, overrides={"num_choices": CHOICES}),
        ]
    found = run(jobs, tmp_path)
    for name, ours, at in zip(row.classes, models, range(0, len(found), 2), strict=True):
        theirs = type(ours).from_pretrained(tmp_path / f"theirs_{name}", **row.loading)
        assert not theirs.load_report.missing
        assert all("pooler" in left for left in theirs.load_report.unexpected)
        assert row.loaded.items() <= theirs.config.to_dict().items()
        for model, outputs in ((theirs, found[at]), (ours, found[at + 1])):
            if name == "RemBertForQuestionAnswering":
                outputs = [scores[:, :, 0] for scores in outputs]
            if model is theirs or name not in row.apart:
                assert_same_outputs(model, row.inputs(name), outputs, TOLERANCE)
        saved = names_and_shapes(tmp_path / f"ours_{name}")
        expected = names_and_shapes(tmp_path / f"theirs_{name}")
        assert saved == {key: expected.get(key) for key in saved}
        assert all("pooler" in key for key in expected.keys() - saved.keys())


@pytest.mark.parametrize(
    ("family", "name", "parts"),
    [
        ("convbert", "ConvBertForPreTraining", ["generator"]),
        ("electra", "ElectraForPreTraining", ["generator", "discriminator"]),
    ],
)
def test_joint_pretraining(family: str, name: str, parts: list[str], tmp_path: Path) -> None:
    """Both nets load both ways, and compute the same where PaddleNLP's can be run."""
    row = ROWS[family]
    ours, batch = row.make(name), arrays()
    ours.save_pretrained(tmp_path / "ours")
    their_name = ours.foreign_class_name("paddle")
    sizes = SIZES | FAMILY_SIZES[family]
    jobs = [Job(their_name, tmp_path / "theirs", batch, sizes, part="generator")]
    jobs += [Job(their_name, tmp_path / "theirs", batch, part=part) for part in parts]
    jobs += [Job(their_name, tmp_path / "ours", batch, part=part) for part in parts]
    found = run(jobs, tmp_path)[1:]
    theirs = type(ours).from_pretrained(tmp_path / "theirs")
    assert all("pooler" in left for left in theirs.load_report.unexpected)
    for index, part in enumerate(parts):
        assert_same_outputs(getattr(theirs, part), batch, found[index], TOLERANCE)
        assert_same_outputs(getattr(ours, part), batch, found[len(parts) + index], TOLERANCE)


def test_rembert_language_model(tmp_path: Path) -> None:
    """Each side finds the other's encoder, and takes the other's head for nothing of its own."""
    name = "RemBertForMaskedLM"
    REMBERT.make(name).save_pretrained(tmp_path / "ours")
    batch = REMBERT.inputs(name)
    found = run(
        [
            Job(name, tmp_path / "theirs", batch, SIZES | FAMILY_SIZES["rembert"]),
            Job(name, tmp_path / "ours", batch, part="rembert"),
            Job("RemBertModel", tmp_path / "theirs", batch, part=""),
        ],
        tmp_path,
    )
    assert found[0][0].shape == (3, 7, SIZES["hidden_size"])  # theirs scores hidden units
    theirs = ours_by_name.RemBertForMaskedLM.from_pretrained(tmp_path / "theirs")
    assert all(left.startswith("lm_head.") for left in theirs.load_report.missing)
    assert len(theirs.load_report.missing) == 6
    for folder, outputs in (("ours", found[1]), ("theirs", found[2])):
        encoder = ours_by_name.RemBertModel.from_pretrained(tmp_path / folder)
        encoder.eval()
        states = encoder(**tensors(batch)).last_hidden_state.numpy()
        np.testing.assert_allclose(states, outputs[0], atol=TOLERANCE, rtol=0)


def test_keys_and_values_in_front(tmp_path: Path) -> None:
    """Prefix tuning's: attended to by all, with the positions before those of the text."""
    prefix, heads = 5, SIZES["num_attention_heads"]
    shape = [SIZES["num_hidden_layers"], 2, 3, heads, prefix, SIZES["hidden_size"] // heads]
    past = np.random.default_rng(2).normal(size=shape).astype("float32")
    pairs = [[paddle.to_tensor(part) for part in layer] for layer in past]
    jobs, outputs = [], []
    for row in (ROWS[name] for name in ("bert", "ernie", "electra", "ernie_m", "xlm-roberta")):
        name = row.classes[0]
        model = row.make(name)
        model.eval()
        model.save_pretrained(tmp_path / row.family)
        batch = row.inputs(name)
        mask = np.concatenate([np.ones([3, prefix], "int64"), batch.pop("attention_mask")], 1)
        mask[1, 2] = 0
        for given in (batch, batch | {"attention_mask": mask}):
            inputs = given | {"past_key_values": past}
            jobs.append(Job(name.replace("XLM", ""), tmp_path / row.family, inputs))
            outputs.append(model(**tensors(given), past_key_values=pairs, use_cache=True))
    for output, expected in zip(outputs, run(jobs, tmp_path), strict=True):
        kept = [part for layer in output.past_key_values for part in layer]
        for one, other in zip([*list(output.values())[:-1], *kept], expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other, atol=TOLERANCE, rtol=0)


def test_default_masks_differ() -> None:
    """The comparison above could not see the difference of the two, were they the same."""
    row = ROWS["ernie_m-without-a-mask"]
    ids = paddle.to_tensor(row.inputs("ErnieMModel")["input_ids"])
    states = []
    for theirs in (False, True):
        model = replace(row, ours={"paddlenlp_default_mask": theirs}).make("ErnieMModel")
        model.eval()
        states.append(model(ids).last_hidden_state.numpy())
    assert np.abs(states[0] - states[1]).max() > 0.01
