"""The gradient of one update of BERT's pretraining, whose rows have unequal numbers of masks.

A script, for a launcher: the first process writes the gradient.

    python tests/training/gradient_run.py BATCH ACCUMULATE FILE.npz [DEVICE]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddlenlp_ext.cli import program
from paddlenlp_ext.models.bert import BertConfig, BertForPretraining
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.objectives import MaskedLM
from paddlenlp_ext.training.updates import Updater, UpdateSettings

MASKS = (1, 7, 2, 0, 5, 1, 3, 9)  # of each row
LENGTH, VOCABULARY = 13, 53
Gradients = dict[str, np.ndarray[Any, Any]]


def model() -> nn.Layer:
    paddle.seed(3)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=17,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    return BertForPretraining(config)


def batch(first: int, size: int) -> Batch:
    """Rows of the one large batch."""
    random = np.random.default_rng(7)
    ids = random.integers(1, VOCABULARY, (len(MASKS), LENGTH))
    places = [random.permutation(LENGTH)[:count] for count in MASKS]
    answers = [random.integers(1, VOCABULARY, count) for count in MASKS]
    pairs = random.integers(0, 2, len(MASKS))
    rows = range(first, first + size)
    masked = np.concatenate([(row - first) * LENGTH + places[row] for row in rows])
    labels = np.concatenate([answers[row] for row in rows])
    arrays = {
        "input_ids": ids[first : first + size],
        "token_type_ids": np.zeros((size, LENGTH), np.int64),
        "attention_mask": np.ones((size, LENGTH), np.int64),
        "masked_positions": masked,
        "labels": labels,
        "next_sentence_label": pairs[first : first + size],
    }
    tensors = {name: paddle.to_tensor(array.astype(np.int64)) for name, array in arrays.items()}
    return Batch(tensors, np.array(rows))


class Recorder:
    """In an optimizer's place: keeps the gradient that an update comes to."""

    _learning_rate = 0.1

    def __init__(self, layer: nn.Layer) -> None:
        self.layer = layer
        self.gradients: Gradients = {}

    def step(self) -> None:
        for name, parameter in self.layer.named_parameters():
            if parameter.grad is not None:
                self.gradients[name] = parameter.grad.numpy().copy()

    def clear_grad(self, set_to_zero: bool) -> None:
        for parameter in self.layer.parameters():
            parameter.clear_gradient(set_to_zero)


def gradient(batches: Sequence[Batch]) -> Gradients:
    """Compute the gradient of an update that this process's batches take part in."""
    layer = model()
    recorder = Recorder(layer)
    updater = Updater(layer, recorder, MaskedLM(), UpdateSettings(accumulate=len(batches)))
    updater.update(1, batches, distributed.all_reduce(updater.count(batches)))
    return recorder.gradients


def main() -> None:
    size, accumulate = int(sys.argv[1]), int(sys.argv[2])
    distributed.BUCKET = 500  # several
    device = sys.argv[4] if len(sys.argv) > 4 else "cpu"
    distributed.start(device)
    if device == "cpu" and distributed.world_size() > 1:
        distributed.meet_as_hosts()  # as on a GPU
    first = distributed.rank() * size * accumulate
    found = gradient([batch(first + k * size, size) for k in range(accumulate)])
    if distributed.rank() == 0:
        np.savez(Path(sys.argv[3]), **found)


if __name__ == "__main__":
    program.run(main)
