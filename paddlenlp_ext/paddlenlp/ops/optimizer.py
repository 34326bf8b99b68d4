"""AdamW whose learning rate falls from layer to layer, as ERNIE-M is fine-tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle


def layerwise_lr_decay(
    decay_rate: float, name_dict: Mapping[str, str], n_layers: int, param: Any
) -> float:
    """Return the factor of a parameter's rate: `decay_rate` from each encoder layer to the next.

    Args:
        decay_rate: From a layer to the one below; the highest has it once.
        name_dict: Of the model's parameters, Paddle's names to structured ones.
        n_layers: Encoder layers; embeddings stand below the lowest.
        param: The parameter.
    """
    name = name_dict[param.name]
    _, _, below = name.partition("encoder.layers.")
    if below:
        return decay_rate ** (n_layers - int(below.split(".")[0]))
    return decay_rate ** (n_layers + 1) if "embedding" in name else 1.0


class AdamWDL(paddle.optimizer.AdamW):  # type: ignore[misc]
    """AdamW with a rate for each parameter; the weights decay once, in PaddleNLP's twice.

    Args:
        learning_rate: The rate, or a schedule.
        parameters: The model's.
        layerwise_decay: What `set_param_lr_fun` is given first.
        n_layers: What it is given third.
        set_param_lr_fun: Returns the factor of a parameter's rate, or sets the rate itself; None
            leaves all rates as they are.
        name_dict: What it is given second.
        options: As of `paddle.optimizer.AdamW`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        *,
        parameters: Sequence[Any],
        layerwise_decay: float = 1.0,
        n_layers: int = 12,
        set_param_lr_fun: Callable[..., float | None] | None = layerwise_lr_decay,
        name_dict: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        parameters = [*parameters]
        for parameter in parameters:
            factor = set_param_lr_fun and set_param_lr_fun(
                layerwise_decay, name_dict or {}, n_layers, parameter
            )
            if factor is not None:
                parameter.optimize_attr["learning_rate"] = factor
        super().__init__(learning_rate, parameters=parameters, **options)
