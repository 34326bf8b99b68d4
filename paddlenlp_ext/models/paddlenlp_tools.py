"""What PaddleNLP's own tools ask of a model besides what PaddlePaddle's ask.

Its Trainer, its LoRA and its prefix tuning take any `paddle.nn.Layer`, but save and load as a model
only what is an instance of its `PretrainedModel`. This project does not need PaddleNLP; where it
is loaded, our models say that they are such instances, and hold to what that promises.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from paddle import Tensor, nn

from paddlenlp_ext.weights.names import NameTable
from paddlenlp_ext.weights.states import load_state

THEIRS = "paddlenlp.transformers.model_utils"


class KnownToPaddleNLP(nn.Layer):
    """A layer that PaddleNLP's tools take for a model of their own."""

    @property  # type: ignore[misc]  # nobody writes it
    def __class__(self) -> Any:
        """The class, which `isinstance` asks for where the type says no."""
        cls: Any = type(self)
        theirs = getattr(sys.modules.get(THEIRS), "PretrainedModel", None)
        return cls if theirs is None else _also(cls, theirs)

    def name_table(self, format: Any) -> NameTable:
        """Return the table of names of a format for this model."""
        raise NotImplementedError

    def set_state_dict(
        self, state_dict: Mapping[str, Any], *options: Any, **named_options: Any
    ) -> tuple[list[str], list[str]]:
        """Take weights under our names, which `state_dict` gives, or under PaddleNLP's.

        Args:
            state_dict: Arrays or tensors by name.
            options: Of `paddle.nn.Layer.set_state_dict`.
            named_options: The same.

        Returns:
            Our names that it lacks, and its names that the model lacks.
        """
        unexpected: list[str] = []
        ours = {name: tuple(one.shape) for name, one in self.state_dict().items()}
        if not state_dict.keys() <= ours.keys():
            arrays = {
                name: one.numpy() if isinstance(one, Tensor) else one
                for name, one in state_dict.items()
            }
            given, report = load_state(arrays, self.name_table("paddle"), ours)
            if given.keys() - state_dict.keys():  # else what is left is nobody's
                state_dict, unexpected = given, [*report.unexpected]
        missing, left = super().set_state_dict(state_dict, *options, **named_options)
        return missing, [*left, *unexpected]

    set_dict = load_dict = set_state_dict

    @classmethod
    def constructed_from_pretrained_config(cls, init_func: Any = None) -> bool:
        """Say that configs are not PaddleNLP's: they cannot be written to."""
        return False

    def prepare_inputs_for_generation(self, input_ids: Tensor, **inputs: Any) -> dict[str, Any]:
        """Return what a step of a generation gives to the model.

        PaddleNLP's prefix tuning puts a method of its own in this one's place, which adds the
        prefix.
        """
        return {"input_ids": input_ids, **inputs}

    def enable_recompute(self, recompute: bool = True) -> None:
        """Forget activations in training and compute them again in the backward pass."""
        raise NotImplementedError

    def recompute_enable(self) -> None:
        """Do what `enable_recompute` does."""
        self.enable_recompute()

    def recompute_disable(self) -> None:
        """Keep activations again."""
        self.enable_recompute(False)

    # What transformers calls the same.
    gradient_checkpointing_enable = recompute_enable
    gradient_checkpointing_disable = recompute_disable


@cache
def _also(cls: Any, theirs: Any) -> Any:
    """Make the class of that name that is both."""
    return type(theirs)(cls.__name__, (cls, theirs), {"__module__": cls.__module__})
