"""Parts of a model that are not trained."""

import re

from paddle import nn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.training.optimization import LAYER_NUMBER

EMBEDDINGS = re.compile(r"(?:^|\.)embeddings\.")


def freeze(model: nn.Layer, *, embeddings: bool, layers: int) -> None:
    """Keep parameters as they are; call it before the optimizer is built.

    Args:
        model: What is trained.
        embeddings: Freeze everything below the encoder: words, positions, types, their
            normalisation. A head that scores words with the same table is frozen with it.
        layers: Freeze so many of the lowest encoder layers.

    Raises:
        UserError: The model has fewer layers, or no embeddings.
    """
    numbers = {
        name: int(found[1])
        for name, _ in model.named_parameters()
        if (found := LAYER_NUMBER.search(name))
    }
    there = 1 + max(numbers.values(), default=-1)
    if layers > there:
        raise UserError(
            f"`freeze_layers` {layers}: the model has {there} layers; give at most {there}"
        )
    for name, parameter in model.named_parameters():
        is_below = embeddings and EMBEDDINGS.search(name) is not None
        if is_below or numbers.get(name, layers) < layers:
            parameter.stop_gradient = True
