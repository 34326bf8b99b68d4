"""RemBERT and ERNIE-M against PaddleNLP 2.8.1, whose own code for both has faults.

RemBERT's attention hands on a pair where states are expected, which Paddle 3.3 refuses;
`paddlenlp_jobs.py` repairs that one line. A mask of two axes does nothing there, so none is given.
ERNIE-M takes [CLS] for padding, and its feed-forward width is not the config's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models import ernie_m, rembert
from paddlenlp_ext.models.base import Model
from tests.parity.paddlenlp_reference import Job, assert_same_answers, needs_paddlenlp, run
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, arrays

pytestmark = needs_paddlenlp

REMBERT = SIZES | FAMILY_SIZES["rembert"]
ERNIE_M = SIZES | FAMILY_SIZES["ernie_m"]
FOUR_TIMES = 4 * SIZES["hidden_size"]  # the feed-forward width that PaddleNLP builds
REMBERT_CLASSES = (
    "RemBertModel",
    "RemBertForSequenceClassification",
    "RemBertForTokenClassification",
    "RemBertForQuestionAnswering",
    "RemBertForMultipleChoice",
)
ERNIE_M_CLASSES = (
    "ErnieMModel",
    "ErnieMForSequenceClassification",
    "ErnieMForTokenClassification",
    "ErnieMForQuestionAnswering",
    "ErnieMForMultipleChoice",
    "UIEM",
)


def at_random(model: Model) -> Model:
    paddle.seed(5)
    for parameter in model.parameters():
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.1)
    return model


def inputs(name: str, *unused: str, pad: int = 0) -> dict[str, np.ndarray]:
    batch = arrays(pad=pad)
    batch["input_ids"][:, 0] = 5
    for key in unused:
        del batch[key]
    if not name.endswith("ForMultipleChoice"):
        return batch
    return {
        key: np.stack([np.roll(rows, turn, 0) for turn in range(CHOICES)], 1)
        for key, rows in batch.items()
    }


def names_and_shapes(folder: Path) -> dict[str, list[int]]:
    return {
        name: list(array.shape)
        for name, array in paddle.load(f"{folder}/model_state.pdparams").items()
    }


def test_rembert_both_ways(tmp_path: Path) -> None:
    jobs, models = [], []
    for name in REMBERT_CLASSES:
        ours = at_random(getattr(rembert, name)(rembert.RemBertConfig.from_dict(REMBERT)))
        ours.save_pretrained(tmp_path / f"ours_{name}")
        models.append(ours)
        batch = inputs(name, "attention_mask")
        jobs += [
            Job(name, tmp_path / f"theirs_{name}", batch, REMBERT | {"num_choices": CHOICES}),
            Job(name, tmp_path / f"ours_{name}", batch, overrides={"num_choices": CHOICES}),
        ]
    found = run(jobs, tmp_path)
    for name, ours, at in zip(REMBERT_CLASSES, models, range(0, len(found), 2), strict=True):
        theirs = type(ours).from_pretrained(tmp_path / f"theirs_{name}")
        assert not theirs.load_report.missing
        assert all("pooler" in left for left in theirs.load_report.unexpected)
        batch = inputs(name, "attention_mask")
        for model, answers in ((theirs, found[at]), (ours, found[at + 1])):
            if name.endswith("QuestionAnswering"):
                answers = [scores[:, :, 0] for scores in answers]
            assert_same_answers(model, batch, answers, 2e-6)
        saved = names_and_shapes(tmp_path / f"ours_{name}")
        expected = names_and_shapes(tmp_path / f"theirs_{name}")
        assert saved == {key: expected[key] for key in saved}
        assert all("pooler" in key for key in expected.keys() - saved.keys())


def test_rembert_language_model(tmp_path: Path) -> None:
    """Each side finds the other's encoder, and takes the other's head for nothing of its own."""
    name = "RemBertForMaskedLM"
    ours = at_random(rembert.RemBertForMaskedLM(rembert.RemBertConfig.from_dict(REMBERT)))
    ours.save_pretrained(tmp_path / "ours")
    batch = inputs(name, "attention_mask")
    found = run(
        [
            Job(name, tmp_path / "theirs", batch, REMBERT),
            Job(name, tmp_path / "ours", batch, part="rembert"),
            Job("RemBertModel", tmp_path / "theirs", batch, part=""),
        ],
        tmp_path,
    )
    assert found[0][0].shape == (3, 7, REMBERT["hidden_size"])  # theirs scores hidden units
    assert_same_answers(ours.encoder, batch, found[1][:1], 2e-6)
    theirs = rembert.RemBertForMaskedLM.from_pretrained(tmp_path / "theirs")
    assert all(left.startswith("lm_head.") for left in theirs.load_report.missing)
    assert len(theirs.load_report.missing) == 6
    assert_same_answers(theirs.encoder, batch, found[2][:1], 2e-6)


@pytest.mark.parametrize("masked", [True, False])
def test_ernie_m_both_ways(masked: bool, tmp_path: Path) -> None:
    """Without a mask, theirs hides token 0, and so does ours if it is told to."""
    unused = ["token_type_ids"] if masked else ["token_type_ids", "attention_mask"]
    pad = 1 if masked else 0
    jobs, models = [], []
    for name in ERNIE_M_CLASSES:
        config = ernie_m.ErnieMConfig.from_dict(ERNIE_M).replace(
            intermediate_size=FOUR_TIMES, paddlenlp_default_mask=True
        )
        ours = at_random(getattr(ernie_m, name)(config))
        ours.save_pretrained(tmp_path / f"ours_{name}")
        models.append(ours)
        batch = inputs(name, *unused, pad=pad)
        jobs += [
            Job(name, tmp_path / f"theirs_{name}", batch, ERNIE_M | {"num_choices": CHOICES}),
            Job(name, tmp_path / f"ours_{name}", batch, overrides={"num_choices": CHOICES}),
        ]
    found = run(jobs, tmp_path)
    for name, ours, at in zip(ERNIE_M_CLASSES, models, range(0, len(found), 2), strict=True):
        folder = tmp_path / f"theirs_{name}"
        theirs = type(ours).from_pretrained(folder, paddlenlp_default_mask=True)
        assert theirs.config.intermediate_size == FOUR_TIMES  # its config.json says 37
        assert not theirs.load_report.missing
        assert all("pooler" in left for left in theirs.load_report.unexpected)
        batch = inputs(name, *unused, pad=pad)
        assert_same_answers(theirs, batch, found[at], 2e-6)
        assert_same_answers(ours, batch, found[at + 1], 2e-6)
        saved = names_and_shapes(tmp_path / f"ours_{name}")
        expected = names_and_shapes(folder)
        assert saved == {key: expected[key] for key in saved}
        assert all("pooler" in key for key in expected.keys() - saved.keys())


def test_default_masks_differ() -> None:
    """The comparison above could not tell the two default masks apart, were they the same."""
    config = ernie_m.ErnieMConfig.from_dict(ERNIE_M)
    batch = inputs("ErnieMModel", "token_type_ids", "attention_mask")
    answers = []
    for theirs in (False, True):
        model = at_random(ernie_m.ErnieMModel(config.replace(paddlenlp_default_mask=theirs)))
        model.eval()
        answers.append(model(paddle.to_tensor(batch["input_ids"])).last_hidden_state.numpy())
    assert np.abs(answers[0] - answers[1]).max() > 0.01
