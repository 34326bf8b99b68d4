"""The side of transformers and torch: what its Trainer does in a step, without the Trainer.

Its defaults are kept: fused AdamW, scaled dot-product attention where the model has it, a
clipped gradient norm, dropout, no decay of biases and LayerNorms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.deprecated.ernie_m import (
    ErnieMForSequenceClassification,
    ErnieMTokenizer,
)

from benchmarks import worker
from benchmarks.inputs import collate, load
from benchmarks.jobs import Job, Outcome
from paddlenlp_ext.process import runtime


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


def steps(job: Job, folder: Path, take: Callable[..., None], model: Any) -> Outcome:
    """Time a call for each batch, from its rows on."""
    inputs = load(job.batches, model.config.vocab_size, folder)
    has_types = bool(getattr(model.config, "type_vocab_size", 0))

    def step(number: int) -> None:
        rows = inputs.batches[number]
        arrays = collate(rows, model.config.pad_token_id, inputs.pad_to)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if has_types:
            batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
        take(batch, torch.from_numpy(inputs.labels(number)))

    calls = [lambda number=number: step(number) for number in range(len(inputs.batches))]
    passes = worker.time_steps(calls, job)
    versions = worker.versions("torch", "transformers")
    return Outcome(passes, worker.peak_mb(), inputs.rows, versions)


def train(job: Job, folder: Path) -> Outcome:
    """Time training steps."""
    model = load_model(job, folder).train()
    optimizer = optimizer_of(model)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 10, 100)

    def take(batch: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        loss = model(**batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        loss.item()

    return steps(job, folder, take, model)


def evaluate(job: Job, folder: Path) -> Outcome:
    """Time evaluation, loss and logits."""
    model = load_model(job, folder).eval()

    def take(batch: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        with torch.inference_mode():
            model(**batch, labels=labels).logits.numpy()

    return steps(job, folder, take, model)


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
    left, right = (torch.from_numpy(array) for array in worker.product_operands())
    return worker.time_product(lambda: torch.matmul(left, right), job)


WORKS = {"train": train, "evaluate": evaluate, "tokenize": tokenize, "product": product}


def measure(job: Job, folder: Path) -> Outcome:
    """Measure a job in this process."""
    if job.tuned:
        torch.set_num_threads(runtime.available_cores())
    torch.manual_seed(7)
    return WORKS[job.work](job, folder)
