"""Fine-tune an encoder to choose with transformers: the other side of docs/results.md.

    python -m benchmarks.transformers_choices --model_name_or_path FOLDER \
        --train_file "xcopa/train.*.jsonl" --validation_file "xcopa/test.*.jsonl" --seed 42

Same rows in the same batches, same settings and metric as

    python examples/tasks/run_multiple_choice.py --model_name_or_path FOLDER \
        --train_file "xcopa/train.*.jsonl" --validation_file "xcopa/test.*.jsonl" --seed 42 \
        --learning_rate 5e-5 --group_by_length true --save_steps 100000 \
        --output_dir outputs/choices --do_train

Model, tokenizer, optimizer and schedule are theirs. Prints one JSON line.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.transformers_training import (
    Inputs,
    add_files,
    collate,
    evaluate,
    load,
    make_parser,
    print_line,
    train,
)
from paddlenlp_ext.tasks.choices import ChoiceColumns, ChoiceExample, Choices, pairs, read_choices
from paddlenlp_ext.tasks.records import find_tables


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0], max_seq_length=128, learning_rate=5e-5)
    add_files(parser)
    return parser.parse_args(argv)


def read(names: Sequence[str], setting: str) -> Choices:
    return read_choices(find_tables(names, setting), ChoiceColumns(), labelled=True)


class Rows:
    """Texts with as many choices each."""

    def __init__(
        self, examples: Sequence[ChoiceExample], tokenizer: Any, args: argparse.Namespace
    ) -> None:
        texts = pairs(examples)
        self.encoded = tokenizer(
            [one.text_a for one in texts],
            [one.text_b for one in texts],
            truncation=True,
            max_length=args.max_seq_length,
        )
        self.tokenizer = tokenizer
        self.labels = torch.tensor([one.label for one in examples])
        self.width = len(examples[0].choices)

    @property
    def lengths(self) -> list[int]:
        """Tokens of the longest choice of each row."""
        found = np.array(list(map(len, self.encoded.input_ids)))
        return found.reshape(-1, self.width).max(1).tolist()

    def collate(self, chosen: np.ndarray) -> Inputs:
        """Pad rows, int64 [B, C, L]; with the places of their right choices."""
        texts = [row * self.width + choice for row in chosen for choice in range(self.width)]
        inputs = collate(self.encoded, self.tokenizer, texts)
        shaped = {name: one.view(len(chosen), self.width, -1) for name, one in inputs.items()}
        return shaped | {"labels": self.labels[chosen]}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate on each language and return the accuracies."""
    args = parse_args(argv)
    tokenizer, model = load(transformers.AutoModelForMultipleChoice, args)
    rows = Rows(read(args.train_file, "train_file"), tokenizer, args)
    training = train(model, rows, args)
    results: dict[str, float] = {}
    for language, examples in read(args.validation_file, "validation_file").by_language().items():
        rows, right = Rows(examples, tokenizer, args), 0
        for chosen, output in evaluate(model, rows):
            right += int((output.logits.argmax(-1) == rows.labels[chosen]).sum())
        results[language] = right / len(examples)
    print_line(args, training, results=results)
    return results


if __name__ == "__main__":
    main()
