"""Train paddlenlp's LoRA on a BERT of ours beside all weights of it: a table of docs/results.md.

    .venv-paddlenlp/bin/python -m benchmarks.paddlenlp_lora --model_name_or_path FOLDER \
        --data_dir data/glue --rows 16000 --seeds 1 2 3

In an environment with paddlenlp 2.8.1 (`pip install ".[paddlenlp]"`), on SST-2. Both kinds are
trained by paddlenlp's Trainer on the same rows in the same order; only the learning rates differ.
What was trained is saved, loaded again, and must then give the same scores: the LoRA upon a new
model, and, merged into the weights, as a folder of ours. Prints a JSON line for each run, then the
table.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddlenlp.peft import LoRAConfig, LoRAModel
from paddlenlp.trainer import Trainer, TrainingArguments
from paddlenlp.utils.log import logger

from paddlenlp_ext.tasks.glue import glue_task, read_examples
from paddlenlp_ext.transformers import BertForSequenceClassification, BertTokenizer

KINDS = ("LoRA", "all weights")
RANK = 8
# All products of a layer. The classifier is new, and the encoder was trained without its pooler:
# they are trained as a whole.
TARGETS = [".*_proj", ".*linear1", ".*linear2"]
TRAINED = [".*classifier.*", ".*pooler.*"]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name_or_path", required=True, help="folder of a BERT")
    parser.add_argument("--data_dir", required=True, help="GLUE's folder")
    parser.add_argument("--rows", type=int, default=16_000, help="of the training file, at random")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_seq_length", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what is trained")
    parser.add_argument("--lora_learning_rate", type=float, default=2e-3)
    parser.add_argument("--learning_rate", type=float, default=5e-5, help="of all weights")
    return parser.parse_args(argv)


def rows_of(split: str, tokenizer: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokenize a file; of the training file, always the same rows."""
    examples = read_examples(glue_task("SST-2"), split, args.data_dir)
    if split == "train":
        examples = random.Random(0).sample(examples, min(args.rows, len(examples)))
    ids = tokenizer(
        [example.text_a for example in examples], truncation=True, max_length=args.max_seq_length
    )["input_ids"]
    return [
        {"input_ids": row, "labels": example.label}
        for row, example in zip(ids, examples, strict=True)
    ]


def with_lora(model: paddle.nn.Layer) -> LoRAModel:
    return LoRAModel(
        model,
        LoRAConfig(target_modules=TARGETS, trainable_modules=TRAINED, r=RANK, lora_alpha=2 * RANK),
    )


def new_model(args: argparse.Namespace, seed: int) -> BertForSequenceClassification:
    """Load the encoder; the classifier on it is a function of the seed."""
    paddle.seed(seed)
    return BertForSequenceClassification.from_pretrained(args.model_name_or_path, num_labels=2)


def run(kind: str, seed: int, data: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Train one model, save it and load it again."""
    model = new_model(args, seed)
    trained = with_lora(model) if kind == "LoRA" else model
    rate = args.lora_learning_rate if kind == "LoRA" else args.learning_rate
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=trained,
            tokenizer=data["tokenizer"],
            train_dataset=data["train"],
            compute_metrics=accuracy,  # without any, it keeps no scores
            args=TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=args.batch_size,
                per_device_eval_batch_size=64,
                learning_rate=rate,
                num_train_epochs=1,
                warmup_ratio=0.1,
                seed=seed,
                save_strategy="no",
                logging_steps=50,
                report_to=[],
                disable_tqdm=True,
            ),
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        predicted = trainer.predict(data["dev"])
        trainer.save_model(folder)
        again = load_again(kind, trained, Path(folder), args, seed)
    scores = scores_of(again, data["dev"], data["tokenizer"])
    wanted = [one for one in trained.parameters() if not one.stop_gradient]
    return {
        "kind": kind,
        "seed": seed,
        "accuracy": 100 * predicted.metrics["test_accuracy"],
        "trained": sum(int(one.size) for one in wanted),
        "parameters": sum(int(one.size) for one in trained.parameters()),
        "seconds": round(seconds),
        "loaded_again": float(np.abs(scores - predicted.predictions).max()),
    }


def accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}


def load_again(
    kind: str, trained: Any, folder: Path, args: argparse.Namespace, seed: int
) -> paddle.nn.Layer:
    """Load what the Trainer has saved; the LoRA twice, of which the second time is merged."""
    if kind != "LoRA":
        return BertForSequenceClassification.from_pretrained(folder)
    lora = LoRAModel.from_pretrained(new_model(args, seed + 1000), str(folder))
    kept = trained.state_dict()
    assert all((one == kept[name]).all() for name, one in lora.state_dict().items())
    lora.lora_config.merge_weights = True
    for layer in lora.sublayers():
        if hasattr(layer, "merge_weights"):
            layer.merge_weights = True
    lora.eval()  # merges
    lora.lora_config.merge_weights = False  # else it would be undone
    lora.restore_original_model().save_pretrained(folder / "merged")
    return BertForSequenceClassification.from_pretrained(folder / "merged")


@paddle.no_grad()
def scores_of(model: paddle.nn.Layer, rows: list[dict[str, Any]], tokenizer: Any) -> np.ndarray:
    model.eval()
    found = []
    for begin in range(0, len(rows), 64):
        ids = [{"input_ids": row["input_ids"]} for row in rows[begin : begin + 64]]
        found.append(model(**tokenizer.pad(ids, return_tensors="pd")).logits.numpy())
    return np.concatenate(found)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    logger.set_level("WARNING")
    tokenizer = BertTokenizer.from_pretrained(args.model_name_or_path)
    data = {"tokenizer": tokenizer}
    data |= {split: rows_of(split, tokenizer, args) for split in ("train", "dev")}
    found = []
    for seed in args.seeds:
        for kind in args.kinds:
            found.append(run(kind, seed, data, args))
            print(json.dumps(found[-1]), flush=True)
    print("| Trained | Parameters | Accuracy by seed | Mean | Loaded again, differs by |")
    print("| --- | --- | --- | --- | --- |")
    for kind in args.kinds:
        of_kind = [row for row in found if row["kind"] == kind]
        accuracies = [row["accuracy"] for row in of_kind]
        share = of_kind[0]["trained"] / of_kind[0]["parameters"]
        cells = [
            kind,
            f"{of_kind[0]['trained']:,} ({share:.1%})",
            ", ".join(f"{one:.2f}" for one in accuracies),
            f"{np.mean(accuracies):.2f}",
            f"{max(row['loaded_again'] for row in of_kind):.0e}",
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
