"""Fine-tune RemBERT, ERNIE-M or XLM-R on XNLI or PAWS-X with transformers.

The other side of docs/results.md:

    python -m benchmarks.transformers_xnli --model_name_or_path FOLDER --data_dir data \
        --train_languages en --learning_rate 1e-4 --num_train_epochs 3

Same rows in the same batches, same settings and metric as the scripts of the models with
`--group_by_length true`; model, tokenizer, optimizer and schedule are theirs. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.deprecated.ernie_m import (
    ErnieMForSequenceClassification,
    ErnieMTokenizer,
)

from benchmarks.transformers_training import (
    TextRows,
    load,
    logits_of,
    make_parser,
    print_line,
    train,
)
from paddlenlp_ext.tasks.cross_lingual import (
    PAWS_X,
    XNLI,
    XNLI_LANGUAGES,
    XNLI_REMBERT,
    read_languages,
)

LAYER = re.compile(r"\.layers?\.(\d+)\.")
# By the `model_type`: XNLI with the labels in the order of its script, model and tokenizer.
FAMILIES: dict[str, tuple[Any, Any, Any]] = {
    "ernie_m": (XNLI, ErnieMForSequenceClassification, ErnieMTokenizer),
    "rembert": (
        XNLI_REMBERT,
        transformers.RemBertForSequenceClassification,
        transformers.RemBertTokenizer,
    ),
    "xlm-roberta": (
        XNLI,
        transformers.XLMRobertaForSequenceClassification,
        transformers.XLMRobertaTokenizerFast,
    ),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0], max_seq_length=64, learning_rate=1e-4)
    parser.add_argument("--task", choices=("xnli", "paws"), default="xnli")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--train_languages", nargs="+", default=["en"], choices=XNLI_LANGUAGES)
    parser.add_argument("--layerwise_decay", type=float, default=1.0)
    parser.add_argument("--beta2", type=float, default=0.999)
    parser.set_defaults(batch_size=32, threads=2)
    return parser.parse_args(argv)


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


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate on each language and return the accuracies."""
    args = parse_args(argv)
    config, _ = transformers.PretrainedConfig.get_config_dict(args.model_name_or_path)
    xnli, auto, tokenizers = FAMILIES[config["model_type"]]
    task = PAWS_X if args.task == "paws" else xnli
    tokenizer, model = load(auto, args, tokenizers, num_labels=task.num_labels)
    read = read_languages(task, "train", args.data_dir, args.train_languages)
    rows = TextRows([one for examples in read.values() for one in examples], tokenizer, args)
    optimizer = torch.optim.AdamW(parameter_groups(model, args), betas=(0.9, args.beta2))
    training = train(model, rows, args, optimizer)
    results, right, count = {}, 0, 0
    for language, examples in read_languages(task, "test", args.data_dir).items():
        rows = TextRows(examples, tokenizer, args)
        is_right = np.argmax(logits_of(model, rows), -1) == rows.labels.numpy()
        results[language] = float(np.mean(is_right))
        right, count = right + int(is_right.sum()), count + len(is_right)
    means = {"acc": right / count, "average": fmean(results.values())}
    print_line(args, training, results={"test": means | results})
    return results


if __name__ == "__main__":
    main()
