"""Fine-tune a BERT on a GLUE task with transformers and torch: the other side of docs/results.md.

    python -m benchmarks.transformers_glue --model_name_or_path FOLDER --task_name RTE \
        --data_dir data/glue --learning_rate 5e-5 --num_train_epochs 3 --seed 42

Same rows in the same batches, same settings and metrics as the script of the BERT folder
(`run_glue.py --group_by_length true`); model, tokenizer, optimizer and schedule are theirs. Prints
one JSON line.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import transformers

from benchmarks.transformers_training import (
    TextRows,
    load,
    logits_of,
    make_parser,
    print_line,
    train,
)
from paddlenlp_ext.tasks.glue import glue_task, read_examples


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0], max_seq_length=128, learning_rate=5e-5)
    parser.add_argument("--task_name", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.set_defaults(batch_size=32, threads=2)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train, evaluate on each split and return the results."""
    args = parse_args(argv)
    task = glue_task(args.task_name)
    tokenizer, model = load(
        transformers.AutoModelForSequenceClassification, args, num_labels=task.num_labels
    )
    examples = read_examples(task, "train", args.data_dir)
    training = train(model, TextRows(examples, tokenizer, args), args)
    results = {}
    for split in list(task.splits)[1:]:
        examples = read_examples(task, split, args.data_dir)
        logits = np.array(logits_of(model, TextRows(examples, tokenizer, args)))
        predictions = logits[:, 0] if task.labels is None else logits
        results[split] = task.metric(predictions, np.array([row.label for row in examples]))
    print_line(args, training, results=results)
    return results


if __name__ == "__main__":
    main()
