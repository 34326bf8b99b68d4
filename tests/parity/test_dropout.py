"""Dropout stands where transformers has it, with the same probabilities.

No numbers are drawn: for the test a dropout of probability p multiplies with 1 + p, on both sides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.nn.cpu.layers import Dropout
from tests.parity.families import Row, rows
from tests.parity.reference import Probabilities, inputs, random_pair, torch
from tests.tiny import tensors

pytestmark = pytest.mark.parity

PROBABILITIES = {
    "hidden_dropout_prob": 0.3,
    "attention_probs_dropout_prob": 0.2,
    "classifier_dropout": 0.45,
    "classifier_dropout_prob": 0.45,  # RemBERT's name of it
    "act_dropout": 0.15,  # ERNIE-M's, between the two linear layers
}
OF_FAMILY = {"electra": {"summary_last_dropout": 0.55}}  # of several choices


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours(self: paddle.nn.Dropout, x: paddle.Tensor) -> paddle.Tensor:
        return x * (1 + self.p) if self.training else x

    def theirs(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        return x * (1 + p) if training else x

    monkeypatch.setattr(paddle.nn.Dropout, "forward", ours)
    monkeypatch.setattr(Dropout, "forward", ours)
    monkeypatch.setattr(torch.nn.functional, "dropout", theirs)


@pytest.mark.parametrize("row", rows(every_form=False))
@pytest.mark.usefixtures("scaling")
def test_places(row: Row, tmp_path: Path) -> None:
    probabilities = PROBABILITIES | OF_FAMILY.get(row.family, {})
    theirs, ours = random_pair(row, tmp_path, **probabilities, attn_implementation="eager")
    batch = inputs(ours)
    if row.name == "UIEM":
        theirs = Probabilities(theirs)
    theirs.train()
    ours.train()
    with torch.no_grad():
        given = {name: torch.tensor(value) for name, value in batch.items()}
        expected = theirs(**given, output_attentions=True)
    with paddle.no_grad():  # with weights, so that no kernel draws numbers
        got = ours(**tensors(batch), output_attentions=True)
    found = [name for name, value in expected.items() if isinstance(value, torch.Tensor)]
    assert found
    for name in found:
        np.testing.assert_allclose(got[name].numpy(), expected[name].numpy(), atol=1e-4, rtol=0)
