"""The side of PaddleNLP 2.8.1, in its own environment: the step of its fine-tuning scripts.

Weights are its own new ones: what a step costs does not depend on them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import paddle
from paddlenlp.transformers import (
    BertConfig,
    BertForSequenceClassification,
    LinearDecayWithWarmup,
)

from benchmarks import worker
from benchmarks.inputs import LABELS
from benchmarks.jobs import Job, Outcome
from benchmarks.shapes import SHAPES


def measure(job: Job, folder: Path) -> Outcome:
    """Time training steps."""
    shape = SHAPES[job.shape]
    model = BertForSequenceClassification(BertConfig(**shape.sizes, num_labels=LABELS))
    model.train()
    schedule = LinearDecayWithWarmup(5e-5, 1000, 0.1)
    decayed = {
        p.name for name, p in model.named_parameters() if not ("bias" in name or "norm" in name)
    }
    optimizer = paddle.optimizer.AdamW(
        learning_rate=schedule,
        parameters=model.parameters(),
        weight_decay=0.01,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )
    criterion = paddle.nn.loss.CrossEntropyLoss()

    def take(arrays: worker.Arrays, labels: npt.NDArray[np.int64]) -> None:
        batch = {name: paddle.to_tensor(array) for name, array in arrays.items()}
        loss = criterion(model(**batch), paddle.to_tensor(labels))
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.clear_grad()
        float(loss)

    outcome = worker.time_batches(
        take,
        job,
        folder,
        vocabulary=shape.sizes["vocab_size"],
        pad_token_id=model.config.pad_token_id,
        has_types=True,
    )
    return replace(outcome, versions=worker.versions("paddlenlp", "paddlepaddle"))
