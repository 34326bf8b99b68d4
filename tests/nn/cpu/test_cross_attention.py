"""Kernels obey the masks of cross-lingual pretraining, where they compute at all."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.nn.encoder import EncoderLayer
from tests.training.test_cross_lingual import (
    CrossMasked,
    back_translated,
    batch_of,
    logits_of,
    masks,
    model,
    prediction,
    rows_of,
)


@pytest.mark.parametrize("objective", ["tlm", "camlm", "btmlm"])
def test_units_and_parts_predict_the_same(
    objective: str, kernels: compiled.Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They know no masks with a row for each token: there a layer's parts compute."""
    makers = {"tlm": masks(), "camlm": CrossMasked(masks()), "btmlm": back_translated()}
    rows = rows_of((6, 0), (4, 0)) if objective == "btmlm" else rows_of((6, 7), (4, 3))
    net, batch, found = model(), batch_of(makers[objective], rows), []
    for is_compiled in (True, False):
        monkeypatch.setattr(EncoderLayer, "is_compiled", is_compiled)
        tokens = []
        if objective == "btmlm":
            tokens = prediction(samples=False).pseudo_tokens(net, batch).tolist()
            found.append((tokens, prediction(samples=False).losses(net, batch)[0].numpy()))
        else:
            found.append((tokens, logits_of(net, batch)))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-4)
