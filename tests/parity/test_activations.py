"""Activations are those of transformers, under all of its names."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlenlp_ext.nn.encoder import ACTIVATIONS
from tests.parity.reference import torch, transformers

THEIRS = transformers.activations.ACT2FN
VALUES = np.linspace(-17, 17, 342, dtype="float32")  # not 0, where some have no gradient


def test_all_that_have_no_parameters_are_there():
    plain = {name for name in THEIRS if not [*THEIRS[name].parameters()]}
    assert {*ACTIVATIONS} == plain


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_gradients(name):
    theirs, ours = torch.tensor(VALUES, requires_grad=True), paddle.to_tensor(VALUES)
    ours.stop_gradient = False
    expected, found = THEIRS[name](theirs), ACTIVATIONS[name](ours)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-6, atol=1e-6)
    expected.sum().backward()
    found.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-5, atol=1e-5)
