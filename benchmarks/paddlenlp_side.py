"""The side of PaddleNLP 2.8.1, in its own environment: the step of its fine-tuning scripts.

Weights are its own new ones: what a step costs does not depend on them.
"""

from __future__ import annotations

from pathlib import Path

import paddle
from paddlenlp.transformers import (
    BertConfig,
    BertForSequenceClassification,
    LinearDecayWithWarmup,
)

from benchmarks import worker
from benchmarks.inputs import LABELS, collate, load
from benchmarks.jobs import Job, Outcome
from benchmarks.shapes import SHAPES


def measure(job: Job, folder: Path) -> Outcome:
    """Time training steps."""
    shape = SHAPES[job.shape]
    model = BertForSequenceClassification(BertConfig(**shape.sizes, num_labels=LABELS))
    model.train()
    inputs = load(job.batches, shape.sizes["vocab_size"], folder)
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

    def step(number: int) -> None:
        arrays = collate(inputs.batches[number], model.config.pad_token_id, inputs.pad_to)
        batch = {name: paddle.to_tensor(array) for name, array in arrays.items()}
        batch["token_type_ids"] = paddle.zeros_like(batch["input_ids"])
        loss = criterion(model(**batch), paddle.to_tensor(inputs.labels(number)))
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.clear_grad()
        float(loss)

    calls = [lambda number=number: step(number) for number in range(len(inputs.batches))]
    passes = worker.time_steps(calls, job)
    versions = worker.versions("paddlenlp", "paddlepaddle")
    return Outcome(passes, worker.peak_mb(), inputs.rows, versions)
