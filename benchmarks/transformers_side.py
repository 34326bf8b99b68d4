"""The side of transformers and torch: what its Trainer does in a step, without the Trainer.

Its defaults are kept: fused AdamW, scaled dot-product attention where the model has it, a
clipped gradient norm, dropout, no decay of biases and LayerNorms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from transformers.models.deprecated.ernie_m import (
    ErnieMForSequenceClassification,
    ErnieMTokenizer,
)

from benchmarks import worker
from benchmarks.jobs import Job, Outcome
from paddlenlp_ext.process import runtime

Batch = dict[str, torch.Tensor]


def load_model(job: Job, folder: Path) -> Any:
    """Load the prepared weights."""
    source = folder / job.shape
    cls: Any = transformers.AutoModelForSequenceClassification
    if '"ernie_m"' in (source / "config.json").read_text():
        cls = ErnieMForSequenceClassification
    model = cls.from_pretrained(source, dtype=torch.float32)
    return torch.compile(model) if job.compiled else model


def optimizer_of(model: Any) -> torch.optim.Optimizer:
    """AdamW as the Trainer makes it."""
    named = list(model.named_parameters())
    plain = [p for name, p in named if "bias" in name or "norm" in name.lower()]
    decayed = [p for name, p in named if not ("bias" in name or "norm" in name.lower())]
    groups = [
        {"params": decayed, "weight_decay": 0.01},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=5e-5, fused=True)


def autocast(job: Job) -> torch.autocast:
    """Compute products in the job's type."""
    return torch.autocast("cpu", torch.bfloat16, enabled=job.dtype == "bfloat16")


def time_batches(job: Job, folder: Path, take: Callable[[Batch], None], model: Any) -> Outcome:
    """Time a call for each batch, with its labels."""

    def step(arrays: worker.Arrays, labels: npt.NDArray[np.int64]) -> None:
        take({name: torch.from_numpy(one) for name, one in (arrays | {"labels": labels}).items()})

    config = model.config
    outcome = worker.time_batches(
        step,
        job,
        folder,
        vocabulary=config.vocab_size,
        pad_token_id=config.pad_token_id,
        has_types=bool(getattr(config, "type_vocab_size", 0)),
    )
    return replace(outcome, versions=worker.versions("torch", "transformers"))


def train(job: Job, folder: Path) -> Outcome:
    """Time training steps."""
    model = load_model(job, folder).train()
    optimizer = optimizer_of(model)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 10, 100)

    def take(batch: Batch) -> None:
        with autocast(job):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        loss.item()

    return time_batches(job, folder, take, model)


def evaluate(job: Job, folder: Path) -> Outcome:
    """Time evaluation, loss and logits."""
    model = load_model(job, folder).eval()

    def take(batch: Batch) -> None:
        with torch.inference_mode(), autocast(job):
            model(**batch).logits.float().numpy()

    return time_batches(job, folder, take, model)


def label(job: Job, folder: Path) -> Outcome:
    """Time labels of single sentences, without what transformers' pipeline does besides."""
    model = load_model(job, folder).eval()
    tokenizer = transformers.BertTokenizerFast(str(folder / "bert/vocab.txt"))

    def name(text: str) -> str:
        batch = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        with torch.inference_mode(), autocast(job):
            logits = model(**batch).logits
        return model.config.id2label[int(logits.softmax(-1).argmax())]

    outcome = worker.time_sentences(name, job, folder)
    return replace(outcome, versions=worker.versions("torch", "transformers", "tokenizers"))


def tokenize(job: Job, folder: Path) -> Outcome:
    """Time calls of a tokenizer."""
    model = str(folder / "multilingual/sentencepiece.model")
    tokenizers: dict[str, Callable[[], Any]] = {
        "bert": lambda: transformers.BertTokenizerFast(str(folder / "bert/vocab.txt")),
        "rembert": lambda: transformers.RemBertTokenizer(model),
        "rembert_fast": lambda: transformers.RemBertTokenizerFast(model),  # other ids on some texts
        "ernie_m": lambda: ErnieMTokenizer(model, str(folder / "multilingual/vocab.txt")),
        "xlm_r": lambda: transformers.XLMRobertaTokenizerFast(model),
    }
    transformers.logging.set_verbosity_error()
    outcome = worker.time_tokenizer(tokenizers[job.shape](), job, folder)
    return replace(outcome, versions=worker.versions("transformers", "tokenizers"))


def product(job: Job, folder: Path) -> Outcome:
    """Time a product of matrices."""
    dtype = getattr(torch, job.dtype)
    left, right = (torch.from_numpy(one).to(dtype) for one in worker.product_operands())
    return worker.time_product(lambda: torch.matmul(left, right), job)


WORKS = {
    "train": train,
    "evaluate": evaluate,
    "label": label,
    "tokenize": tokenize,
    "product": product,
}


def measure(job: Job, folder: Path) -> Outcome:
    """Measure a job in this process."""
    if job.tuned:
        torch.set_num_threads(runtime.available_cores())
    torch.manual_seed(7)
    return WORKS[job.work](job, folder)
