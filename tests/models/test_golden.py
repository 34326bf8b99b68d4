"""Answers of transformers, kept in `tests/golden`, against ours: parity in every test run."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from paddlenlp_ext import transformers
from paddlenlp_ext.presets.families import FAMILIES
from tests.tiny import tensors

FOLDER = Path(__file__).parents[1] / "golden"
LARGEST = 200_000  # bytes


@cache
def load(family: str) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(FOLDER / f"{family}.npz") as arrays:
        found = dict(arrays)
    return json.loads(found.pop("about").tobytes()), found


def within(arrays: dict[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(group): v for k, v in arrays.items() if k.startswith(group)}


CASES = [(family, name) for family in FAMILIES for name in load(family)[0]["configs"]]


@pytest.mark.parametrize(("family", "name"), CASES)
def test_same_answers(family: str, name: str, tmp_path: Path) -> None:
    about, arrays = load(family)
    (tmp_path / "config.json").write_text(json.dumps(about["configs"][name]))
    weights = within(arrays, "encoder/") | within(arrays, f"{name}/head/")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = getattr(transformers, name).from_pretrained(tmp_path)
    assert not model.load_report.missing
    assert not model.load_report.mismatched
    assert all(left.startswith("pooler.") for left in model.load_report.unexpected)
    with paddle.no_grad():
        output = model(**tensors(within(arrays, f"{name}/inputs/")))
    answers = within(arrays, f"{name}/answers/")
    assert answers
    for key, expected in answers.items():
        got = getattr(output, key).numpy()
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0, err_msg=key)


@pytest.mark.parametrize("family", FAMILIES)
def test_files_are_small_and_say_what_made_them(family: str) -> None:
    assert (FOLDER / f"{family}.npz").stat().st_size < LARGEST
    about, arrays = load(family)
    assert about["versions"]["transformers"].startswith("4.57.")
    assert any(array.std() > 0.01 for key, array in arrays.items() if "/answers/" in key)
