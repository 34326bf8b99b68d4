"""Train and evaluate a model of transformers as the scripts in `examples` do theirs.

What the other sides of docs/results.md have in common: flags, optimizer, schedule, the loop. The
batches are those of the scripts with `--group_by_length true`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import transformers

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder
from paddlenlp_ext.tasks.task import TextExample

EVALUATION_ROWS = 64

Inputs = dict[str, torch.Tensor]


class Rows(Protocol):
    """What a model reads, tokenized and not yet padded."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""

    def collate(self, chosen: np.ndarray) -> Inputs:
        """Pad rows to the longest of them; with their labels."""


def make_parser(
    description: str, *, max_seq_length: int, learning_rate: float
) -> argparse.ArgumentParser:
    """Make a parser with the flags of all programs; those of the scripts of the same names."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--model_name_or_path", required=True, help="folder with a config.json")
    add("--max_seq_length", type=int, default=max_seq_length)
    add("--batch_size", type=int, default=16)
    add("--learning_rate", type=float, default=learning_rate)
    add("--weight_decay", type=float, default=0.0)
    add("--warmup_proportion", type=float, default=0.1)
    add("--num_train_epochs", type=int, default=3)
    add("--freeze_embeddings", action="store_true")
    add("--freeze_layers", type=int, default=0, help="the lowest N")
    add("--seed", type=int, default=42)
    add("--threads", type=int, default=1)
    return parser


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the flags of programs that are given files instead of a task's folder."""
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--validation_file", nargs="+", required=True)


def load(
    auto: Any,
    args: argparse.Namespace,
    tokenizers: Any = transformers.AutoTokenizer,
    **options: Any,
) -> tuple[Any, Any]:
    """Seed everything; return tokenizer and model, whose head is new.

    Args:
        auto: The model's class.
        args: The command line.
        tokenizers: The tokenizer's class.
        options: Fields of the model's config.
    """
    torch.set_num_threads(args.threads)
    transformers.set_seed(args.seed)
    folder = args.model_name_or_path
    model = auto.from_pretrained(folder, dtype=torch.float32, **options)
    return tokenizers.from_pretrained(folder), model


def pad(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    """Make one int64 [B, L] of rows of several lengths."""
    padded = np.full((len(rows), max(map(len, rows))), filler)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return torch.from_numpy(padded)


def collate(encoded: Mapping[str, Any], tokenizer: Any, chosen: Sequence[int]) -> Inputs:
    """Pad rows of what a tokenizer returned; int64 [B, L] each."""
    ids = [encoded["input_ids"][row] for row in chosen]
    inputs = {
        "input_ids": pad(ids, tokenizer.pad_token_id),
        "attention_mask": pad([[1] * len(row) for row in ids], 0),
    }
    if "token_type_ids" in encoded:
        types = [encoded["token_type_ids"][row] for row in chosen]
        inputs["token_type_ids"] = pad(types, tokenizer.pad_token_type_id)
    return inputs


class TextRows:
    """Texts or pairs with a label each."""

    def __init__(
        self, examples: Sequence[TextExample], tokenizer: Any, args: argparse.Namespace
    ) -> None:
        is_pair = examples[0].text_b is not None
        self.encoded = tokenizer(
            [one.text_a for one in examples],
            [one.text_b for one in examples] if is_pair else None,
            truncation=True,
            max_length=args.max_seq_length,
        )
        self.tokenizer = tokenizer
        self.labels = torch.tensor([one.label for one in examples])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return list(map(len, self.encoded["input_ids"]))

    def collate(self, chosen: np.ndarray) -> Inputs:
        """Pad rows; with their labels."""
        return collate(self.encoded, self.tokenizer, chosen) | {"labels": self.labels[chosen]}


def optimizer_of(model: Any, args: argparse.Namespace) -> torch.optim.Optimizer:
    """AdamW of what is trained, without decay of biases and LayerNorms."""
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        (plain if "bias" in name or "norm" in name.lower() else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, args.learning_rate, weight_decay=args.weight_decay, fused=True)


def train(
    model: Any,
    rows: Rows,
    args: argparse.Namespace,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, Any]:
    """Train; return the seconds that took, and the loss of each step."""
    if args.freeze_embeddings:
        model.base_model.embeddings.requires_grad_(False)
    if args.freeze_layers:
        model.base_model.encoder.layer[: args.freeze_layers].requires_grad_(False)
    optimizer = optimizer or optimizer_of(model, args)
    lengths = rows.lengths
    order = BatchOrder(len(lengths), args.batch_size, args.seed, lengths=lengths)
    steps = len(order) * args.num_train_epochs
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, int(steps * args.warmup_proportion), steps
    )
    losses = []
    started = time.perf_counter()
    model.train()
    for epoch in range(args.num_train_epochs):
        for chosen in order.rows(epoch):
            loss = model(**rows.collate(chosen)).loss
            loss.backward()
            losses.append(round(float(loss.detach()), 4))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return {"train_seconds": round(time.perf_counter() - started, 1), "losses": losses}


def evaluate(model: Any, rows: Rows) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield the numbers of the rows of each batch, and what the model returns of them."""
    model.eval()
    lengths = rows.lengths
    with torch.no_grad():
        for chosen in EvaluationOrder(len(lengths), EVALUATION_ROWS, lengths=lengths).rows():
            yield chosen, model(**rows.collate(chosen))


def logits_of(model: Any, rows: Rows) -> list[np.ndarray]:
    """Evaluate; return the logits of each row."""
    found = {
        row: logits
        for chosen, output in evaluate(model, rows)
        for row, logits in zip(chosen.tolist(), output.logits.numpy(), strict=True)
    }
    return [found[row] for row in range(len(found))]


def print_line(args: argparse.Namespace, training: dict[str, Any], **results: Any) -> None:
    """Print settings, what `train` returned and results as one line of JSON."""
    line = vars(args) | training | results
    line |= {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(line))
