"""Pretrain a real encoder a little further on translations, and measure what that does to it.

    python benchmarks/multilingual_encoder.py ernie_m ENCODER
    python -m benchmarks.continued_pretraining FOLDER --encoder ENCODER --text TEXT --xnli XNLI

TEXT is as for `benchmarks.cross_lingual_pretraining`, whose corpus and held-out sentences these
are, XNLI a folder of its files. ERNIE-M's classifier is trained on the English rows from the
encoder as it is and from what the pretraining made of it, with the same seeds; the sentences that
both find by their translations are counted. The encoder has no head that scores words: it begins at
random, and is trained first, alone, so that it does not spoil the encoder. What is there already is
not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.cross_lingual_pretraining import (
    SCRIPTS,
    call,
    make_shards,
    retrieval,
    spread,
    write_corpus,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for shards, runs and figures")
    parser.add_argument("--encoder", type=Path, required=True, help="a folder of an ERNIE-M")
    parser.add_argument("--text", type=Path, required=True, help="folder of the texts")
    parser.add_argument("--xnli", type=Path, required=True, help="folder of XNLI's files")
    parser.add_argument("--languages", nargs="+", default=["de", "es", "fr", "ru"])
    parser.add_argument("--objectives", default="mmlm,tlm,camlm")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of XNLI's runs")
    parser.add_argument("--head_steps", type=int, default=200, help="of the head, alone; 0: none")
    parser.add_argument("--head_learning_rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=200, help="of the pretraining")
    parser.add_argument("--learning_rate", type=float, default=2e-5, help="of the pretraining")
    parser.add_argument("--batch_size", type=int, default=32)
    return parser.parse_args(argv)


def pretrain(args: argparse.Namespace) -> Path:
    """Pretrain the encoder further; return the folder of what it became."""
    corpus, shards = args.folder / "corpus", args.folder / "shards"
    if not corpus.exists():
        write_corpus(args, corpus)
    if not shards.exists():
        make_shards(args.encoder, corpus, shards)
    model = args.encoder
    if args.head_steps:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        frozen = ("--freeze_embeddings", "--freeze_layers", config["num_hidden_layers"])
        model = train(args, "head", model, args.head_steps, args.head_learning_rate, *frozen)
    return train(args, "pretraining", model, args.steps, args.learning_rate)


def train(
    args: argparse.Namespace, name: str, model: Path, steps: int, learning_rate: float, *more: Any
) -> Path:
    """Pretrain a model; return the folder of what it became."""
    run = args.folder / name
    call(
        SCRIPTS / "ernie_m/run_pretrain.py",
        *("--model_name_or_path", model, "--trim_vocab", *more),
        *("--input_dir", args.folder / "shards", "--output_dir", run),
        *("--objectives", args.objectives, "--batch_size", args.batch_size),
        *("--learning_rate", learning_rate, "--max_steps", steps, "--warmup_steps", steps // 10),
        *("--logging_steps", 50, "--save_steps", steps // 2, "--keep_checkpoints", 1),
        *("--resume_from_checkpoint", "latest", "--max_eval_samples", 100, "--device", "cpu"),
    )
    folder: Path = run / f"model_{steps}"
    return folder


def find_sentences(args: argparse.Namespace, model: Path, name: str) -> dict[str, float]:
    """Count held-out sentences that a model finds, with its best layer; in per cent."""
    found = args.folder / name / "alignment"
    if not (found / "alignment.tsv").exists():
        pairs = sorted((args.folder / "corpus/retrieval").glob("en-*.tsv"))
        call(
            "-m", "paddlenlp_ext", "eval-alignment", model, *pairs,
            "--output", found, "--mlm_probability", 0, "--device", "cpu",
        )  # fmt: skip
    return retrieval(found / "alignment.tsv")


def classify(args: argparse.Namespace, model: Path, name: str, seed: int) -> dict[str, float]:
    """Train a model on English XNLI; return accuracies on test by language, in per cent."""
    run = args.folder / name / f"xnli-{seed}"
    if (tested := test_metrics(run)) is None:
        call(
            SCRIPTS / "ernie_m/run_classifier.py",
            *("--task_type", "cross-lingual-transfer", "--model_name_or_path", model),
            *("--data_dir", args.xnli, "--output_dir", run, "--max_seq_length", 64),
            *("--batch_size", 32, "--num_train_epochs", 3, "--warmup_proportion", 0.1),
            *("--learning_rate", 2e-4, "--layerwise_decay", 0.9, "--save_steps", 100000),
            *("--group_by_length", "true", "--trim_vocab", "--seed", seed, "--device", "cpu"),
            *("--resume_from_checkpoint", "latest", "--keep_checkpoints", 1),
        )
        tested = test_metrics(run)
    assert tested is not None
    return {metric: 100 * number for metric, number in tested.items()}


def test_metrics(run: Path) -> dict[str, float] | None:
    """Return what a run measured on test; None if it has not come so far."""
    results = run / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    rows = (row for row in map(json.loads, lines) if "|test|" in row["signature"])
    return next((row["metrics"] for row in rows), None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not there yet, and print the table."""
    args = parse_args(argv)
    models = {"before": args.encoder, f"after {args.steps} updates": pretrain(args)}
    print("| | Sentences found | XNLI, English | XNLI, mean of all | Seeds |")
    print("| --- | --- | --- | --- | --- |")
    averages = []
    for number, (what, model) in enumerate(models.items()):
        name = ("before", "after")[number]
        found = find_sentences(args, model, name)["retrieval"]
        rows = [classify(args, model, name, seed) for seed in args.seeds]
        averages.append([row["average"] for row in rows])
        cells = [spread([row[column] for row in rows]) for column in ("en", "average")]
        print(f"| {what} | {found:.1f} | {' | '.join(cells)} | {len(rows)} |", flush=True)
    before, after = averages
    change = fmean(after) - fmean(before)
    if len(args.seeds) > 1:
        error = ((stdev(before) ** 2 + stdev(after) ** 2) / len(args.seeds)) ** 0.5
        print(f"change of the mean: {change:+.1f}, standard error {error:.1f}")


if __name__ == "__main__":
    main()
