"""The state of an optimizer under the names of the model's parameters.

Paddle names the state after its own counters (`linear_0.w_0_moment1_0`), which another model built
earlier in the same process shifts: equal shapes are then accepted and mixed up. Here a tensor is
called `moment1/encoder.layers.0.self_attn.q_proj.weight`, and nothing depends on the counters.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import WeightsError

Array = npt.NDArray[Any]

COUNTER = re.compile(r"^fp32_master_\d+_|_\d+$")  # what Paddle adds to a kind
MASTER = "master"  # float32 weights of a model that computes in float16 or bfloat16


def export_optimizer(model: nn.Layer, optimizer: Optimizer) -> dict[str, Array]:
    """Copy the state of an optimizer: `kind/parameter` to array."""
    return {name: np.asarray(tensor.numpy()) for name, tensor in _tensors(model, optimizer).items()}


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
    _begin(optimizer, [p for name, p in _trained(model).items() if name in _parameters(state)])
    tensors = _tensors(model, optimizer)
    if strange := sorted(tensors.keys() ^ state.keys()):
        raise WeightsError(
            f"{origin}: is not the state of this optimizer: {strange[0]} is in only one of them "
            f"({len(strange)} such names); resume with the same model and optimizer flags"
        )
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != state[name].shape:
            raise WeightsError(
                f"{origin}: {name} has shape {list(state[name].shape)}, expected {tensor.shape}"
            )
        tensor.set_value(np.array(state[name]))


def _begin(optimizer: Optimizer, parameters: Sequence[Tensor]) -> None:
    """Let an optimizer create its state, which it does in its first update only.

    The update is made with gradients of zero, and the weights that it decays are put back.
    """
    weights = [parameter.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = paddle.zeros_like(parameter)
    optimizer.step()
    optimizer.clear_grad(set_to_zero=False)
    for parameter, weight in zip(parameters, weights, strict=True):
        parameter.set_value(weight)


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


def _parameters(state: Iterable[str]) -> set[str]:
    return {name.partition("/")[2] for name in state}
