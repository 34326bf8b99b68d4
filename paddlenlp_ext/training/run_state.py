"""What a checkpoint holds besides the model: optimizer, schedule and loss scaler of the run.

Paddle names an optimizer's state after its own counters (`linear_0.w_0_moment1_0`), which another
model built earlier in the same process shifts: equal shapes are then accepted and mixed up. Here a
tensor is called `moment1/backbone.encoder.layers.0.linear1.weight`, and nothing depends on the
counters.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import release_pages
from paddlenlp_ext.nn.arrays import as_array
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding, trimmed_tables, whole_parameters
from paddlenlp_ext.training import folders
from paddlenlp_ext.training.optimization import TableAdamW, schedule_of
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.weights.formats.safe_tensors import (
    SparseRows,
    read_safetensors,
    write_safetensors,
)

Array = npt.NDArray[Any]

OPTIMIZER = "optimizer.safetensors"
STATE = "trainer_state.json"
COUNTER = re.compile(r"^fp32_master_\d+_|_\d+$")  # what Paddle adds to a kind
MASTER = "master"  # float32 weights of a model that computes in float16 or bfloat16


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


def export_optimizer(model: nn.Layer, optimizer: Optimizer) -> dict[str, Array | SparseRows]:
    """Read the state of an optimizer: `kind/parameter` to array.

    Arrays are views where possible (`nn.arrays.as_array`): to be written before the next update.
    The averages of a trimmed table are as those of the whole one: of its other rows they are zero.
    """
    tables = trimmed_tables(model)

    def whole(name: str, tensor: Tensor) -> Array | SparseRows:
        table = tables.get(_parameter(name))
        is_of_rows = table is not None and tensor.shape == table.weight.shape
        return table.spread(as_array(tensor)) if table and is_of_rows else as_array(tensor)

    return {name: whole(name, tensor) for name, tensor in _tensors(model, optimizer).items()}


def restore_optimizer(
    model: nn.Layer, optimizer: Optimizer, state: Mapping[str, Array], origin: str
) -> None:
    """Fill an optimizer with a saved state.

    Args:
        model: Its parameters are those that the optimizer was built for.
        optimizer: One that has not made an update yet, or has.
        state: What `export_optimizer` returned.
        origin: Where the state comes from, for the message.

    Raises:
        WeightsError: The state is that of other parameters or of another optimizer.
    """
    tables = trimmed_tables(model)
    now = {former: name for name, former in former_names(model).items()}
    state = {
        f"{kind}/{now.get(name, name)}": array
        for (kind, _, name), array in ((key.partition("/"), state[key]) for key in state)
    }
    parameters = {_parameter(name) for name in state}
    _begin(optimizer, [p for name, p in _trained(model).items() if name in parameters])
    tensors = _tensors(model, optimizer)
    if strange := sorted(tensors.keys() ^ state.keys()):
        raise WeightsError(
            f"{origin}: is not the state of this optimizer: {strange[0]} is in only one of them "
            f"({len(strange)} such names); resume with the same model and optimizer settings"
        )
    for name, tensor in tensors.items():
        array = state[name]
        table = tables.get(_parameter(name))
        if table is not None and array.shape == table.shape:
            try:
                array = table.pick(array)
            except ValueError as error:
                raise WeightsError(
                    f"{origin}: {name}: {error}; the run that saved it used other words: resume "
                    "without `trim_vocab`"
                ) from error
        if tuple(tensor.shape) != array.shape:
            raise WeightsError(
                f"{origin}: {name} has shape {list(array.shape)}, expected {tensor.shape}"
            )
        tensor.set_value(np.array(array))
        release_pages(state[name])


def _begin(optimizer: Optimizer, parameters: Sequence[Tensor]) -> None:
    """Let an optimizer create its state, which it does in its first update only.

    The update is made with gradients of zero, and the weights that it decays are put back; one
    parameter at a time, so that no copy of all of them is needed. What trimmed tables leave aside
    is not decayed.
    """
    tables: Sequence[tuple[TrimmedEmbedding, float]] = ()
    if isinstance(optimizer, TableAdamW):
        tables, optimizer.tables = optimizer.tables, tables
    for parameter in parameters:
        weight = parameter.clone()
        parameter.grad = paddle.zeros_like(parameter)
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        parameter.set_value(weight)
    if isinstance(optimizer, TableAdamW):
        optimizer.tables = tables


def _tensors(model: nn.Layer, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the live tensors of the state by `kind/parameter`."""
    ours = {parameter.name: name for name, parameter in _trained(model).items()}
    state = optimizer.state_dict()
    state.pop("LR_Scheduler", None)
    masters = state.pop("master_weights", {})
    tensors = {f"{MASTER}/{ours[theirs]}": tensor for theirs, tensor in masters.items()}
    for key, tensor in state.items():
        # linear_0.w_0_moment1_0, or with a master weight linear_0.w_0_fp32_master_0_moment1_0
        theirs = max((name for name in ours if key.startswith(f"{name}_")), key=len)
        kind = COUNTER.sub("", key.removeprefix(f"{theirs}_"))
        tensors[f"{kind}/{ours[theirs]}"] = tensor
    return tensors


def _trained(model: nn.Layer) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if not p.stop_gradient}


def former_names(model: nn.Layer) -> dict[str, str]:
    """Return what checkpoints of before December 2026 call the parameters of a model with a head.

    Their bare model was called `encoder`.
    """
    return {name: name.replace("backbone.", "encoder.") for name, _ in model.named_parameters()}


def _parameter(name: str) -> str:
    """Return the parameter that a tensor of the state belongs to."""
    return name.partition("/")[2]
