"""What only ELECTRA has: a dense layer before a choice, generators of their own size."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.electra import (
    PRESETS,
    ElectraConfig,
    ElectraForMultipleChoice,
    ElectraForPreTraining,
)
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, arrays, tensors

TINY = SIZES | FAMILY_SIZES["electra"]


def test_a_choice_is_read_off_the_first_token() -> None:
    paddle.seed(1)
    model = ElectraForMultipleChoice(ElectraConfig(**TINY, summary_activation="tanh"))
    model.eval()
    batch = {
        name: np.stack([np.roll(rows, i, 0) for i in range(CHOICES)], 1)
        for name, rows in arrays().items()
    }
    flat = {name: rows.reshape(-1, 7) for name, rows in batch.items()}
    first = model.backbone(**tensors(flat)).last_hidden_state[:, 0]
    expected = model.classifier(paddle.tanh(model.summary(first))).reshape([3, CHOICES])
    np.testing.assert_allclose(model(**tensors(batch)).logits.numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("sizes", [{"summary_type": "last"}, {"summary_use_proj": False}])
def test_other_summaries_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is not built here"):
        ElectraForMultipleChoice(ElectraConfig(**TINY, **sizes))


def test_generators_of_the_joint_pretraining_are_the_published_ones() -> None:
    """The Chinese models have none of their own."""
    for name, config in ElectraForPreTraining.presets.items():
        joint = config.replace(generator=None)
        assert joint == PRESETS[name]
        generator = joint.replace(**(config.generator or {}))
        assert generator == PRESETS.get(f"{name}-generator", joint)
