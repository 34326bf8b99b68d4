"""Fine-tune an encoder to tag words with transformers and torch: the other side of docs/results.md.

    python benchmarks/transformers_tags.py --model_name_or_path FOLDER \
        --train_file wnut17/train.conll --validation_file wnut17/dev.conll --seed 42

Same sentences in the same batches, same settings and metric as

    python examples/tasks/run_token_classification.py --model_name_or_path FOLDER \
        --train_file wnut17/train.conll --validation_file wnut17/dev.conll --seed 42 \
        --batch_size 32 --warmup_proportion 0.1 --group_by_length true --save_steps 100000 \
        --output_dir outputs/tags --do_train

Model, tokenizer, optimizer and schedule are theirs. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder
from paddlenlp_ext.tasks.token_labels import (
    TaggedSentence,
    TokenRow,
    read_sentences,
    tag_metric,
    tag_names,
)

IGNORED = -100  # torch's


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--train_file", nargs="+", type=Path, required=True)
    parser.add_argument("--validation_file", nargs="+", type=Path, required=True)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--warmup_proportion", type=float, default=0.1)
    parser.add_argument("--num_train_epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(argv)


class Rows:
    """What the model reads of sentences: ids and labels, and where the words are."""

    def __init__(
        self, sentences: Sequence[TaggedSentence], tags: Sequence[str], tokenizer: Any, longest: int
    ) -> None:
        encoded = tokenizer(
            [list(one.words) for one in sentences],
            is_split_into_words=True,
            truncation=True,
            max_length=longest,
            return_overflowing_tokens=True,
        )
        self.pad = tokenizer.pad_token_id
        self.ids: list[list[int]] = encoded.input_ids
        self.labels: list[np.ndarray] = []
        self.places: list[TokenRow] = []
        before: tuple[int, int | None] = (-1, None)
        for row, number in enumerate(encoded.overflow_to_sample_mapping):
            words, tokens = [], []
            for token, word in enumerate(encoded.word_ids(row)):
                if word is not None and (number, word) != before:
                    words.append(word)
                    tokens.append(token)
                    before = number, word
            label = np.full(len(self.ids[row]), IGNORED)
            gold = sentences[number].tags
            label[tokens] = [tags.index(gold[w]) if gold[w] in tags else IGNORED for w in words]
            self.labels.append(label)
            self.places.append(TokenRow(number, np.array(words, int), np.array(tokens, int)))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return list(map(len, self.ids))

    def batches(
        self, order: Iterable[np.ndarray]
    ) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]]:
        """Yield inputs and labels of each batch, int64 [B, L], and the numbers of its rows."""
        for chosen in order:
            shape = len(chosen), max(len(self.ids[row]) for row in chosen)
            ids, labels = np.full(shape, self.pad), np.full(shape, IGNORED)
            mask = np.zeros(shape, int)
            for place, row in enumerate(chosen):
                length = len(self.ids[row])
                ids[place, :length] = self.ids[row]
                labels[place, :length] = self.labels[row]
                mask[place, :length] = 1
            inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
            yield inputs, torch.tensor(labels), chosen


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    transformers.set_seed(args.seed)
    train, dev = (read_sentences(files)[0] for files in (args.train_file, args.validation_file))
    tags = tag_names(train)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model_name_or_path)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        args.model_name_or_path, num_labels=len(tags)
    )
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        (plain if "bias" in name or "norm" in name.lower() else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, args.learning_rate, weight_decay=args.weight_decay)
    rows = Rows(train, tags, tokenizer, args.max_seq_length)
    steps = -(-len(rows.ids) // args.batch_size) * args.num_train_epochs
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, int(steps * args.warmup_proportion), steps
    )
    order = BatchOrder(len(rows.ids), args.batch_size, args.seed, lengths=rows.lengths)
    started = time.perf_counter()
    model.train()
    for epoch in range(args.num_train_epochs):
        for inputs, labels, _ in rows.batches(order.rows(epoch)):
            loss = model(**inputs, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - started
    model.eval()
    rows = Rows(dev, tags, tokenizer, args.max_seq_length)
    logits: dict[int, np.ndarray] = {}
    with torch.no_grad():
        for inputs, _, chosen in rows.batches(EvaluationOrder(len(rows.ids), 64).rows()):
            logits |= zip(chosen.tolist(), model(**inputs).logits.numpy(), strict=True)
    metric = tag_metric(rows.places, dev, tags, strict=False)
    results = metric([logits[row] for row in range(len(rows.ids))], rows.labels)
    line = vars(args) | {
        "train_file": list(map(str, args.train_file)),
        "validation_file": list(map(str, args.validation_file)),
    }
    line |= {"train_seconds": round(seconds, 1), "results": results}
    line |= {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
