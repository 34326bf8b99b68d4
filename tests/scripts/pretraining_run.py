"""Runs of BERT's pretraining script with a tiny model on the sample corpus.

They save and evaluate at every other step, so many of the kills that they suffer fall into a save.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from tests.docs.test_readmes import ROOT, script_of

SCRIPTS = ROOT / "examples/language_model/bert"
PRETRAIN = SCRIPTS / "run_pretrain.py"
STEPS = 16
WEIGHTS = ("model_state.pdparams", "optimizer.safetensors")
CONFIG = {
    "model_type": "bert",
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 32,
}


def prepare(folder: Path) -> None:
    """Write a tiny model's shape, a vocabulary of the sample corpus, and shards of it."""
    corpus = ROOT / "data/pretraining"
    text = (corpus / "sample_text.txt").read_text(encoding="utf-8")
    counts = Counter(re.findall(r"[a-z]+|[^\w\s]", text.lower()))
    letters = [
        f"{prefix}{letter}" for prefix in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz"
    ]
    words = [word for word, _ in counts.most_common(2000) if word not in letters]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *words]
    model = folder / "model"
    model.mkdir()
    (model / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (model / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": len(tokens)}))
    for source, target, shards in (("", "data/train.hdf5", 3), ("_held_out", "data/dev.hdf5", 1)):
        arguments = {
            "input_file": corpus / f"sample_text{source}.txt",
            "output_file": folder / target,
            "vocab_file": model / "vocab.txt",
            "max_seq_length": 32,
            "dupe_factor": 1,
            "num_shards": shards,
        }
        script_of(SCRIPTS / "create_pretraining_data.py").main(flags(arguments))


def flags(arguments: dict[str, object]) -> list[str]:
    """Write arguments as a command line."""
    return [word for name, value in arguments.items() for word in (f"--{name}", str(value))]


def pretraining(folder: Path, output: Path, **changes: object) -> list[str]:
    """The command line of a run."""
    arguments = {
        "model_type": "bert",
        "model_name_or_path": folder / "model",
        "max_predictions_per_seq": 5,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "weight_decay": 1e-2,
        "warmup_steps": 3,
        "num_train_epochs": "1e5",
        "input_dir": folder / "data",
        "eval_dir": folder / "data",
        "output_dir": output,
        "logging_steps": 1,
        "save_steps": 2,
        "max_steps": STEPS,
        "max_train_samples": 75,
        "max_eval_samples": 20,
        "n_gpu": 0,
        "resume_from_checkpoint": "latest",
    }
    return [*flags(arguments | changes), "--from_scratch"]


def losses(output: Path) -> list[float]:
    """The loss of each step, from a run's history."""
    rows = map(json.loads, (output / "history.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "split" not in row]
