"""Train and evaluate a model of transformers as the scripts in `examples/tasks` do theirs.

What the other sides of docs/results.md that answer questions and choose have in common: flags,
optimizer, schedule, the loop. The batches are those of the scripts with `--group_by_length true`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import transformers

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder

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
    add("--train_file", nargs="+", required=True)
    add("--validation_file", nargs="+", required=True)
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


def load(auto: Any, args: argparse.Namespace) -> tuple[Any, Any]:
    """Seed everything; return tokenizer and model, whose head is new."""
    torch.set_num_threads(args.threads)
    transformers.set_seed(args.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model_name_or_path)
    return tokenizer, auto.from_pretrained(args.model_name_or_path, dtype=torch.float32)


def pad(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    """Make one int64 [B, L] of rows of several lengths."""
    padded = np.full((len(rows), max(map(len, rows))), filler)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return torch.from_numpy(padded)


def train(model: Any, rows: Rows, args: argparse.Namespace) -> dict[str, Any]:
    """Train; return the seconds that took, and the loss of each step."""
    frozen = [model.base_model.embeddings] if args.freeze_embeddings else []
    for module in (*frozen, *model.base_model.encoder.layer[: args.freeze_layers]):
        module.requires_grad_(False)
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        (plain if "bias" in name or "norm" in name.lower() else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        groups, args.learning_rate, weight_decay=args.weight_decay, fused=True
    )
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


def print_line(args: argparse.Namespace, training: dict[str, Any], results: dict[str, Any]) -> None:
    """Print settings, what `train` returned and results as one line of JSON."""
    line = vars(args) | training | {"results": results}
    line |= {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(line))
