"""The side of ONNX Runtime: it runs what our `export_onnx` wrote of the same weights.

Tokenizing is left to transformers' fast tokenizer, as a user of ONNX Runtime would do.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from benchmarks import worker
from benchmarks.jobs import EXPORTED, Job, Outcome
from paddlenlp_ext.process import runtime


def load(job: Job, folder: Path) -> onnxruntime.InferenceSession:
    """Load the exported program."""
    options = onnxruntime.SessionOptions()
    if job.tuned:
        options.intra_op_num_threads = runtime.available_cores()
    path = str(folder / job.shape / EXPORTED)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def evaluate(job: Job, folder: Path) -> Outcome:
    """Time logits."""
    session = load(job, folder)
    config: dict[str, Any] = json.loads((folder / job.shape / "config.json").read_text())

    def take(arrays: worker.Arrays, labels: npt.NDArray[np.int64]) -> None:
        session.run(None, arrays)

    outcome = worker.time_batches(
        take,
        job,
        folder,
        vocabulary=config["vocab_size"],
        pad_token_id=config["pad_token_id"],
        has_types="token_type_ids" in {one.name for one in session.get_inputs()},
    )
    return replace(outcome, versions=worker.versions("onnxruntime"))


def label(job: Job, folder: Path) -> Outcome:
    """Time labels of single sentences."""
    from transformers import BertTokenizerFast

    session = load(job, folder)
    config: dict[str, Any] = json.loads((folder / job.shape / "config.json").read_text())
    tokenizer = BertTokenizerFast(str(folder / "bert/vocab.txt"))

    def name(text: str) -> str:
        arrays = tokenizer(text, truncation=True, max_length=128, return_tensors="np")
        (logits,) = session.run(None, dict(arrays))
        found: str = config["id2label"][str(int(logits.argmax()))]
        return found

    outcome = worker.time_sentences(name, job, folder)
    return replace(outcome, versions=worker.versions("onnxruntime", "tokenizers"))


WORKS = {"evaluate": evaluate, "label": label}


def measure(job: Job, folder: Path) -> Outcome:
    """Measure a job in this process."""
    return WORKS[job.work](job, folder)
