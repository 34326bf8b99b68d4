"""What a checkpoint holds besides the model: optimizer, schedule and loss scaler of the run."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from paddle import nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import release_pages
from paddlenlp_ext.nn.trimmed_embedding import whole_parameters
from paddlenlp_ext.training import folders
from paddlenlp_ext.training.optimization import schedule_of
from paddlenlp_ext.training.optimizer_state import (
    export_optimizer,
    former_names,
    restore_optimizer,
)
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.weights.formats.safe_tensors import read_safetensors, write_safetensors

OPTIMIZER = "optimizer.safetensors"
STATE = "trainer_state.json"


def write_state(
    folder: Path, model: nn.Layer, optimizer: Optimizer, precision: MixedPrecision | None
) -> None:
    """Write the state of a run into a model folder.

    Raises:
        OSError: It cannot be written.
        WeightsError: The same, of a weight file.
    """
    write_safetensors(folder / OPTIMIZER, export_optimizer(model, optimizer))
    schedule = schedule_of(optimizer)
    state = {
        "weights_sha256": _digest(model),
        "schedule": schedule.state_dict() if schedule is not None else {},
        "scaler": precision.state() if precision is not None else {},
    }
    folders.write_text(folder / STATE, json.dumps(state, indent=1) + "\n")


def restore_state(
    folder: Path, model: nn.Layer, optimizer: Optimizer, precision: MixedPrecision | None
) -> None:
    """Bring optimizer, schedule and loss scaler to where they were when `folder` was written.

    Raises:
        WeightsError: The model or the optimizer is not the one that was saved.
    """
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    saved = state["weights_sha256"]
    if _digest(model) != saved and _digest(model, former_names(model)) != saved:
        raise WeightsError(
            f"{folder}: the model's weights are not those of this checkpoint; load the "
            "model from this folder before the rest is restored"
        )
    path = folder / OPTIMIZER
    restore_optimizer(model, optimizer, read_safetensors(path), str(path))
    if (schedule := schedule_of(optimizer)) is not None:
        schedule.set_state_dict(state["schedule"])
    if precision is not None:
        precision.restore(state["scaler"])


def size_of(model: nn.Layer) -> int:
    """Estimate the bytes of a checkpoint: the weights, and the two averages of AdamW."""
    return 3 * sum(array.nbytes for array in whole_parameters(model).values())


def _digest(model: nn.Layer, names: Mapping[str, str] | None = None) -> str:
    """Compute the SHA-256 of all weights, as they are computed with; under other names if given."""
    digest = hashlib.sha256()
    arrays = {
        (names or {}).get(name, name): array for name, array in whole_parameters(model).items()
    }
    for name, array in sorted(arrays.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).data)
        release_pages(array)
    return digest.hexdigest()
