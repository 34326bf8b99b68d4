"""Fine-tune a BERT on a GLUE task with transformers and torch: the other side of docs/results.md.

    python benchmarks/transformers_glue.py --model_name_or_path FOLDER --task_name RTE \
        --data_dir data/glue --learning_rate 5e-5 --num_train_epochs 3 --seed 42

Same rows in the same batches, same settings and metrics as the script of the BERT folder
(`run_glue.py --group_by_length true`); model, tokenizer, optimizer and schedule are theirs. Prints
one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder
from paddlenlp_ext.tasks.glue import glue_task, read_examples
from paddlenlp_ext.tasks.task import TextExample

if TYPE_CHECKING:
    import torch


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--task_name", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--warmup_proportion", type=float, default=0.1)
    parser.add_argument("--num_train_epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(argv)


def encode(tokenizer: object, rows: list[TextExample], args: argparse.Namespace) -> list[list[int]]:
    second = [row.text_b for row in rows] if rows[0].text_b is not None else None
    first = [row.text_a for row in rows]
    return tokenizer(first, second, truncation=True, max_length=args.max_seq_length).input_ids


def batches(
    examples: list[TextExample],
    args: argparse.Namespace,
    tokenizer: object,
    order: Iterable[np.ndarray],
) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    import torch

    for chosen in order:
        rows = [examples[row] for row in chosen]
        second = [row.text_b for row in rows] if rows[0].text_b is not None else None
        encoded = tokenizer(
            [row.text_a for row in rows],
            second,
            truncation=True,
            max_length=args.max_seq_length,
            padding=True,
            return_tensors="pt",
        )
        yield dict(encoded), torch.tensor([row.label for row in rows])


def main() -> None:
    args = parse_args()
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    transformers.set_seed(args.seed)
    task = glue_task(args.task_name)
    train = read_examples(task, "train", args.data_dir)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model_name_or_path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        args.model_name_or_path, num_labels=task.num_labels
    )
    plain = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm" in n]
    decayed = [p for n, p in model.named_parameters() if "bias" not in n and "LayerNorm" not in n]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, args.learning_rate, weight_decay=args.weight_decay)
    steps = -(-len(train) // args.batch_size) * args.num_train_epochs
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, int(steps * args.warmup_proportion), steps
    )
    lengths = [len(ids) for ids in encode(tokenizer, train, args)]
    order = BatchOrder(len(train), args.batch_size, args.seed, lengths=lengths)
    started = time.perf_counter()
    model.train()
    for epoch in range(args.num_train_epochs):
        for inputs, labels in batches(train, args, tokenizer, order.rows(epoch)):
            loss = model(**inputs, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - started
    model.eval()
    results = {}
    for split in list(task.splits)[1:]:
        dev = read_examples(task, split, args.data_dir)
        in_order = EvaluationOrder(len(dev), args.batch_size).rows()
        with torch.no_grad():
            logits = [
                model(**inputs).logits.numpy()
                for inputs, _ in batches(dev, args, tokenizer, in_order)
            ]
        predictions = np.concatenate(logits)
        predictions = predictions[:, 0] if task.labels is None else predictions
        results[split] = task.metric(predictions, np.array([row.label for row in dev]))
    line = vars(args) | {"train_seconds": round(seconds, 1), "results": results}
    line |= {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
