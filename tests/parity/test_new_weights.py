"""New weights are drawn as those of transformers are: the same deviations, zeros and ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

import paddlenlp_ext.transformers
from tests.parity.families import Row, rows
from tests.parity.reference import torch, transformers

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("row", rows(every_form=False))
def test_distributions(row: Row, tmp_path: Path) -> None:
    torch.manual_seed(5)
    paddle.seed(5)
    sizes = row.sizes | {"initializer_range": 0.07}
    theirs = getattr(transformers, row.theirs)
    reference = theirs(theirs.config_class(**sizes))
    reference.config.save_pretrained(tmp_path)
    cls = getattr(paddlenlp_ext.transformers, row.name)
    ours = cls(cls.read_config(tmp_path))
    expected = {name: value.detach().numpy() for name, value in reference.named_parameters()}
    names = ours.names["huggingface"].to_theirs(name for name, _ in ours.named_parameters())
    for name, parameter in ours.named_parameters():
        got, wanted = parameter.numpy().ravel(), expected[names[name]].ravel()
        assert got.size == wanted.size
        if not wanted.std():
            assert set(got) == set(wanted), name
            continue
        few = 5 / np.sqrt(2 * got.size)  # standard errors of a deviation
        assert abs(got.std() / wanted.std() - 1) < 1.5 * few, (name, got.std(), wanted.std())
        assert abs(got.mean() - wanted.mean()) < 1.5 * few * 0.07, name
        assert np.abs(got).max() < 4.5 * got.std(), name
