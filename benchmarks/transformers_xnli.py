"""Fine-tune RemBERT or ERNIE-M on XNLI with transformers: the other side of docs/results.md.

    python benchmarks/transformers_xnli.py --model_name_or_path FOLDER --data_dir data \
        --train_languages en --learning_rate 1e-4 --num_train_epochs 3

Same rows in the same batches, same settings and metric as the scripts of the two models with
`--group_by_length true`; model, tokenizer, optimizer and schedule are theirs. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.deprecated.ernie_m import (
    ErnieMForSequenceClassification,
    ErnieMTokenizer,
)

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder
from paddlenlp_ext.tasks.cross_lingual import XNLI, XNLI_LANGUAGES, XNLI_REMBERT, read_languages
from paddlenlp_ext.tasks.task import TextExample

LAYER = re.compile(r"\.layers?\.(\d+)\.")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name_or_path", required=True, help="folder with a config.json")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--train_languages", nargs="+", default=["en"], choices=XNLI_LANGUAGES)
    parser.add_argument("--max_seq_length", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--layerwise_decay", type=float, default=1.0)
    parser.add_argument("--beta2", type=float, default=0.999)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--warmup_proportion", type=float, default=0.1)
    parser.add_argument("--num_train_epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def load(folder: str) -> tuple[Any, Any, str]:
    """Return tokenizer, model and family."""
    family = json.loads((Path(folder) / "config.json").read_text())["model_type"]
    if family == "ernie_m":
        tokenizer, model = ErnieMTokenizer, ErnieMForSequenceClassification
    else:
        tokenizer, model = (
            transformers.RemBertTokenizer,
            transformers.RemBertForSequenceClassification,
        )
    return (
        tokenizer.from_pretrained(folder),
        model.from_pretrained(folder, num_labels=3, dtype=torch.float32),
        family,
    )


def parameter_groups(model: torch.nn.Module, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Give each parameter the decay and the learning rate that the scripts give it."""
    names = [name for name, _ in model.named_parameters()]
    layers = 1 + max(int(found[1]) for name in names if (found := LAYER.search(name)))
    groups = []
    for name, parameter in model.named_parameters():
        depth = 0
        if found := LAYER.search(name):
            depth = layers - int(found[1])
        elif "embeddings." in name:
            depth = layers + 1
        plain = "bias" in name or "norm" in name.lower()
        groups.append(
            {
                "params": [parameter],
                "lr": args.learning_rate * args.layerwise_decay**depth,
                "weight_decay": 0.0 if plain else args.weight_decay,
            }
        )
    return groups


def encode(tokenizer: Any, rows: list[TextExample], length: int) -> list[list[int]]:
    pairs = [row.text_a for row in rows], [row.text_b for row in rows]
    return tokenizer(*pairs, truncation=True, max_length=length).input_ids


def batches(
    ids: list[list[int]], tokenizer: Any, order: Iterable[np.ndarray]
) -> Iterator[tuple[dict[str, torch.Tensor], np.ndarray]]:
    for chosen in order:
        longest = max(len(ids[row]) for row in chosen)
        padded = np.full((len(chosen), longest), tokenizer.pad_token_id)
        mask = np.zeros_like(padded)
        types = np.zeros_like(padded)
        for place, row in enumerate(chosen):
            padded[place, : len(ids[row])] = ids[row]
            mask[place, : len(ids[row])] = 1
            first = ids[row].index(tokenizer.sep_token_id) + 1
            types[place, first : len(ids[row])] = 1
        inputs = {"input_ids": padded, "attention_mask": mask}
        if isinstance(tokenizer, transformers.RemBertTokenizer):
            inputs["token_type_ids"] = types
        yield {name: torch.tensor(array) for name, array in inputs.items()}, chosen


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    transformers.set_seed(args.seed)
    tokenizer, model, family = load(args.model_name_or_path)
    task = XNLI if family == "ernie_m" else XNLI_REMBERT
    read = read_languages(task, "train", args.data_dir, args.train_languages)
    train = [example for rows in read.values() for example in rows]
    labels = torch.tensor([row.label for row in train])
    optimizer = torch.optim.AdamW(parameter_groups(model, args), betas=(0.9, args.beta2))
    steps = -(-len(train) // args.batch_size) * args.num_train_epochs
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, int(steps * args.warmup_proportion), steps
    )
    ids = encode(tokenizer, train, args.max_seq_length)
    order = BatchOrder(len(train), args.batch_size, args.seed, lengths=[len(one) for one in ids])
    started = time.perf_counter()
    model.train()
    for epoch in range(args.num_train_epochs):
        for inputs, rows in batches(ids, tokenizer, order.rows(epoch)):
            loss = model(**inputs, labels=labels[rows]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - started
    model.eval()
    results = {}
    for language, rows in read_languages(task, "test", args.data_dir).items():
        ids = encode(tokenizer, rows, args.max_seq_length)
        order = EvaluationOrder(len(rows), args.batch_size, lengths=[len(one) for one in ids])
        right = 0
        with torch.no_grad():
            for inputs, chosen in batches(ids, tokenizer, order.rows()):
                best = model(**inputs).logits.argmax(-1).numpy()
                right += int((best == np.array([rows[row].label for row in chosen])).sum())
        results[language] = right / len(rows)
    others = [value for language, value in results.items() if language != "en"]
    line = vars(args) | {"train_seconds": round(seconds, 1), "test": results}
    line |= {"other_languages": sum(others) / max(1, len(others))}
    line |= {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
