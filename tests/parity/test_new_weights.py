"""New weights are drawn as those of transformers are: the same deviations, zeros and ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from scipy.stats import ks_2samp

import paddlenlp_ext.transformers
from tests.parity.families import Row, rows
from tests.parity.reference import torch, transformers

pytestmark = pytest.mark.parity

DRAWS = 9  # models, so that small heads have numbers enough


@pytest.mark.parametrize("row", rows(every_form=False))
def test_distributions(row: Row, tmp_path: Path) -> None:
    sizes = row.sizes | {"initializer_range": 0.07}
    theirs = getattr(transformers, row.theirs)
    theirs.config_class(**sizes).save_pretrained(tmp_path)
    cls = getattr(paddlenlp_ext.transformers, row.name)
    drawn: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        paddle.seed(seed)
        reference, ours = theirs(theirs.config_class(**sizes)), cls(cls.read_config(tmp_path))
        expected = {name: one.detach().numpy() for name, one in reference.named_parameters()}
        names = ours.names["huggingface"].to_theirs(name for name, _ in ours.named_parameters())
        for name, parameter in ours.named_parameters():
            pair = parameter.numpy().ravel(), expected[names[name]].ravel()
            drawn.setdefault(name, []).append(pair)
    for name, pairs in drawn.items():
        got, wanted = map(np.concatenate, zip(*pairs, strict=True))
        assert got.size == wanted.size
        if not wanted.std():
            assert set(got) == set(wanted), name
            continue
        # Five standard errors of the ratio.
        assert abs(got.std() / wanted.std() - 1) < 5 / np.sqrt(got.size), name
        assert ks_2samp(got, wanted).pvalue > 1e-6, name
