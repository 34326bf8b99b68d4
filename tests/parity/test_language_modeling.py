"""The losses of language modelling on rows are those of transformers, for the same masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.pretraining.masking import MaskingVocabulary
from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training.language_modeling import MaskedRows, NextTokens, TokenPrediction
from tests.parity.families import Row, rows
from tests.parity.reference import random_pair
from tests.tiny import V

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")

LENGTHS = np.array([13, 7, 3], np.int32)


@pytest.mark.parametrize("row", rows("ForMaskedLM", "ForCausalLM", every_form=False))
@pytest.mark.parametrize("multiple", [1, 8])
def test_losses_and_scores(row: Row, multiple: int, tmp_path: Path) -> None:
    reference, model = random_pair(row, tmp_path)
    ids = np.random.default_rng(3).integers(5, V, (3, 16)).astype(np.int32)
    data = Rows(np.arange(3), {"input_ids": ids, "length": LENGTHS})
    pad = model.config.pad_token_id
    tensors: Any = NextTokens(pad, multiple)
    if row.name.endswith("ForMaskedLM"):
        special = np.arange(V) < 5
        vocabulary = MaskingVocabulary(4, special, np.zeros(V, bool))
        tensors = MaskedRows(vocabulary, pad, 0.4, pad_to_multiple_of=multiple)
    model.eval()
    batch = Batch(tensors(data, 0), data.numbers)
    hidden, mask = batch["input_ids"].numpy(), batch["attention_mask"].numpy()
    labels = np.full(hidden.shape, -100)
    if "masked_positions" in batch:
        count = (batch["labels"].numpy() != -100).sum()
        assert count > 3
        places = batch["masked_positions"].numpy()[:count]
        labels.reshape(-1)[places] = batch["labels"].numpy()[:count]
    else:  # the reference shifts them itself
        labels = np.where(mask == 1, hidden, -100)
    with torch.no_grad():
        output = reference(
            input_ids=torch.tensor(hidden),
            attention_mask=torch.tensor(mask),
            labels=torch.tensor(labels),
        )
    objective = TokenPrediction()
    loss = float(objective.losses(model, batch)[0].sum()) / objective.count(batch)[0]
    assert loss == pytest.approx(float(output.loss), abs=1e-5)
    loss, metrics = objective.summarize(objective.score(model, batch))
    assert loss == pytest.approx(float(output.loss), abs=1e-5)
    assert metrics["perplexity"] == pytest.approx(float(output.loss.exp()), rel=1e-5)
    right, wanted = output.logits.argmax(-1).numpy(), labels
    if "masked_positions" not in batch:
        right, wanted = right[:, :-1], labels[:, 1:]
    found = wanted != -100
    assert metrics["acc"] == pytest.approx((right == wanted)[found].mean())
