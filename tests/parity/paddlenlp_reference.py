"""Run a model of PaddleNLP 2.8.1 and ours on the same weights and inputs, and compare.

PaddleNLP imports only beside old versions of its dependencies, so it has an environment of its own
(`pip install .[paddlenlp]`), whose python the variable PADDLENLP_PYTHON names.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.base import Model
from tests.tiny import tensors

# Absolute, since some start it in another folder. A link stays one, or it were of no environment.
PYTHON = os.environ.get("PADDLENLP_PYTHON", "")
PYTHON = PYTHON and os.path.abspath(PYTHON)
SCRIPT = Path(__file__).with_name("paddlenlp_jobs.py")

needs_paddlenlp = [
    pytest.mark.paddlenlp,
    pytest.mark.skipif(
        not PYTHON, reason="PADDLENLP_PYTHON does not name the python of an environment with it"
    ),
]


@dataclass(frozen=True)
class Job:
    """One model that PaddleNLP makes at random and saves, or loads, and then runs.

    Attributes:
        model_class: Name of the class there.
        folder: Where the model is saved or loaded.
        batch: Inputs by name.
        config: Fields of the config of a model to make; None to load what is in the folder.
        overrides: Fields of the config to change in loading.
        part: Attribute of the model to run instead of the whole.
    """

    model_class: str
    folder: Path
    batch: Mapping[str, np.ndarray]
    config: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""


def run(jobs: list[Job], folder: Path) -> list[list[np.ndarray]]:
    """Run all jobs in one process of PaddleNLP; the outputs of each, in order."""
    orders = []
    for number, job in enumerate(jobs):
        inputs, outputs = folder / f"{number}.in.npz", folder / f"{number}.out.npz"
        np.savez(inputs, **job.batch)
        orders.append(
            {
                "class": job.model_class,
                "folder": str(job.folder),
                "config": None if job.config is None else dict(job.config),
                "overrides": dict(job.overrides),
                "part": job.part,
                "inputs": str(inputs),
                "outputs": str(outputs),
            }
        )
    (folder / "jobs.json").write_text(json.dumps(orders))
    command = [PYTHON, str(SCRIPT), str(folder / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = []
    for order in orders:
        with np.load(order["outputs"]) as arrays:
            found.append(list(arrays.values()))
    return found


def assert_same_outputs(
    model: Model, batch: Mapping[str, np.ndarray], expected: list[np.ndarray], tolerance: float
) -> None:
    """Compare what our model returns, in order; PaddleNLP may return more."""
    model.eval()
    with paddle.no_grad():
        got = [value.numpy() for value in model(**tensors(dict(batch))).to_tuple()]
    for one, other in zip(got, expected[: len(got)], strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=0)
