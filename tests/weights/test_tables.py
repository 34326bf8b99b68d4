"""The tables of every model class: our tensors through both formats and back, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.models.base import Model
from paddlenlp_ext.weights.folders import read_model, write_model
from paddlenlp_ext.weights.states import LoadReport, export_state, load_state
from tests.models.test_contract import build, each_class
from tests.weights.arrays import Arrays

each_format = pytest.mark.parametrize("layout", ["huggingface", "paddle"])


def parameters(model: Model) -> Arrays:
    """Different numbers everywhere: zero biases would hide what is exchanged."""
    random = np.random.default_rng(0)
    return {
        name: random.normal(size=parameter.shape).astype("f4")
        for name, parameter in model.named_parameters()
    }


@each_class
@each_format
def test_there_and_back_through_a_folder(
    family: str, task: str, layout: str, tmp_path: Path
) -> None:
    model = build(family, task)
    ours = parameters(model)
    table = model.names[layout]
    transposed = model.linear_weights() if layout == "huggingface" else set()
    write_model(tmp_path, export_state(ours, table, transposed), {}, layout)
    tensors, found_layout = read_model(str(tmp_path))
    assert found_layout == layout
    shapes = {name: array.shape for name, array in ours.items()}
    state, report = load_state(tensors, table, shapes, transposed)
    assert report == LoadReport()
    assert state.keys() == ours.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(state[name], array)
    # And the other way round: the file's names come back as they were.
    exported = export_state(state, table, transposed)
    assert exported.keys() == tensors.keys()
    assert all(np.array_equal(exported[name], tensors[name]) for name in tensors)


@each_class
@each_format
def test_every_name_counts(family: str, task: str, layout: str) -> None:
    model = build(family, task)
    ours = parameters(model)
    table = model.names[layout]
    shapes = {name: array.shape for name, array in ours.items()}
    theirs = export_state(ours, table)
    repeated = table.tied_to(ours).values()
    for mine, name in table.to_theirs(ours).items():
        _, report = load_state({k: v for k, v in theirs.items() if k != name}, table, shapes)
        assert report.missing == (() if mine in repeated else (mine,))
        assert report.unexpected == ()
