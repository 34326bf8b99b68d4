"""Pretrain small RemBERTs with output tables of several widths, and fine-tune what is left of them.

    python -m benchmarks.rembert_output_size FOLDER --text TEXT --tags UD --sentencepiece MODEL

TEXT has `tatoeba/en-*.tsv` and `debian-handbook/parallel/en-*.tsv`, of which the models learn what
`benchmarks/cross_lingual_pretraining.py` trains ERNIE-Ms on: sentences by MMLM and pairs by TLM,
a fifth held out. UD has `en_ewt-train.conllu`, `en_pud-first500.conllu` and those of
other languages, MODEL is a sentencepiece model with RemBERT's special tokens
(`benchmarks/multilingual_encoder.py rembert` writes one), of whose pieces those are kept that the
texts have often enough to be learned. All models have 4 layers, 256 wide, and an input table 64
wide: without their output tables, which are dropped, they have equally many parameters. They are
pretrained on the same rows in the same order, then tag parts of speech, trained in English and
tested in the languages that UD has, as Chung et al. (2020, arXiv 2010.12821) compare models by the
tasks that they are fine-tuned on. Seed after seed is run, what is there already is not run again,
and the table of what is there is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from benchmarks.cross_lingual_pretraining import SCRIPTS, call, make_shards, spread, write_corpus
from paddlenlp_ext.weights.files import read_weights

SHAPE = {
    "model_type": "rembert",
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 130,
    "input_embedding_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
PIECE = sentencepiece_model_pb2.ModelProto.SentencePiece


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for shards, runs and figures")
    parser.add_argument("--text", type=Path, required=True, help="folder of the texts")
    parser.add_argument("--tags", type=Path, required=True, help="folder of Universal Dependencies")
    parser.add_argument("--sentencepiece", type=Path, required=True, help="a multilingual model")
    parser.add_argument("--languages", nargs="+", default=["de", "fr"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 256, 512])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3, help="of fine-tuning")
    parser.add_argument("--fewest", type=int, default=60, help="times that a kept piece is there")
    return parser.parse_args(argv)


def prepare(args: argparse.Namespace) -> None:
    """Make the corpus, the shape and the shards, if they are not there yet."""
    corpus, shape, shards = (args.folder / name for name in ("corpus", "shape", "shards"))
    if shards.exists():
        return
    made = args.folder / "shards.part"
    for old in (corpus, shape, made):
        shutil.rmtree(old, ignore_errors=True)
    write_corpus(args, corpus)
    write_shape(args, sorted((corpus / "monolingual").glob("*.txt")), shape)
    make_shards(shape, corpus, made)
    made.rename(shards)


def write_shape(args: argparse.Namespace, texts: Iterable[Path], folder: Path) -> None:
    """Write a config, and a sentencepiece model of the pieces that texts and tags often have."""
    processor = SentencePieceProcessor(model_file=str(args.sentencepiece))
    lines = [line for path in texts for line in path.read_text(encoding="utf-8").splitlines()]
    lines += [
        line.removeprefix("# text = ")
        for path in sorted(args.tags.glob("*.conllu"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("# text = ")
    ]
    counts = Counter(number for row in processor.encode(lines) for number in row)
    model = sentencepiece_model_pb2.ModelProto.FromString(args.sentencepiece.read_bytes())
    kept = [
        piece
        for number, piece in enumerate(model.pieces)
        if counts[number] >= args.fewest or piece.type != PIECE.NORMAL
    ]
    del model.pieces[:]
    model.pieces.extend(kept)
    model.trainer_spec.vocab_size = len(kept)
    folder.mkdir(parents=True)
    (folder / "sentencepiece.model").write_bytes(model.SerializeToString())
    settings = {"tokenizer_class": "RemBertTokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    shape = {**SHAPE, "vocab_size": len(kept)}
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")


def run_folder(folder: Path, size: int, seed: int) -> Path:
    """Return the folder of a run."""
    return folder / f"runs/{size}/{seed}"


def measure(args: argparse.Namespace, size: int, seed: int) -> None:
    """Pretrain with one width and one seed, fine-tune, and keep the figures."""
    run = run_folder(args.folder, size, seed)
    if (run / "measured.json").exists():
        return
    call(
        SCRIPTS / "rembert/run_pretrain.py",
        *("--model_name_or_path", args.folder / "shape", "--from_scratch"),
        *("--input_dir", args.folder / "shards", "--output_dir", run, "--objectives", "mmlm,tlm"),
        *("--output_embedding_size", size, "--drop_output_embeddings", "true"),
        *("--batch_size", args.batch_size, "--learning_rate", 1e-3, "--max_steps", args.steps),
        *("--warmup_steps", args.steps // 10, "--logging_steps", 100, "--adam_epsilon", 1e-8),
        *("--save_steps", math.ceil(args.steps / 4), "--keep_checkpoints", 1),
        *("--load_best_model_at_end", "false", "--seed", seed, "--device", "cpu"),
        *("--resume_from_checkpoint", "latest"),
    )
    tagger = run / "tagger"
    script = SCRIPTS.parent / "tasks/run_token_classification.py"
    named = [args.tags / f"{one}_pud-first500.conllu" for one in ("en", *args.languages)]
    tested = [path for path in named if path.exists()]
    call(
        script,
        *("--model_name_or_path", run / "fine_tuning", "--output_dir", tagger, "--do_train"),
        *("--train_file", args.tags / "en_ewt-train.conllu", "--num_train_epochs", args.epochs),
        *("--batch_size", 16, "--learning_rate", 5e-4, "--warmup_proportion", 0.1),
        *("--seed", seed, "--save_steps", 100000, "--device", "cpu"),
        *("--resume_from_checkpoint", "latest"),
    )
    call(
        script,
        *("--model_name_or_path", tagger, "--output_dir", run / "tested", "--do_eval"),
        *("--validation_file", *tested, "--device", "cpu", "--batch_size", 64),
    )
    figures = {
        "perplexity": held_out(run / "history.jsonl", "perplexity"),
        "masked": held_out(run / "history.jsonl", "acc"),
        "tags": tag_accuracies(run / "tested/results.jsonl"),
        "pretrained": parameters(run / f"model_{args.steps}"),
        "fine_tuned": parameters(run / "fine_tuning"),
        "steps": args.steps,
    }
    (run / "measured.json").write_text(json.dumps(figures), encoding="utf-8")


def held_out(path: Path, metric: str) -> dict[str, float]:
    """Return a metric of the last evaluation by language."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["split"]: row["metrics"][metric] for row in rows if "split" in row}


def tag_accuracies(path: Path) -> dict[str, float]:
    """Return accuracies in per cent by language."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        row["signature"].split("|")[2].rpartition("_")[2]: 100 * next(iter(row["metrics"].values()))
        for row in rows
    }


def parameters(folder: Path) -> int:
    """Count the numbers of a checkpoint."""
    return sum(array.size for array in read_weights(folder / "model_state.pdparams").values())


def table(folder: Path, sizes: Iterable[int], seeds: Iterable[int]) -> str:
    """Write means and spreads over the seeds that are there."""
    columns = (
        "Output size", "Steps", "Seeds", "Parameters, pretraining", "Parameters, fine-tuning",
        "Held-out perplexity", "Masked tokens right", "Tags, English", "Tags, other languages",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for size in sizes:
        paths = [run_folder(folder, size, seed) / "measured.json" for seed in seeds]
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
        if not found:
            continue
        one = found[0]
        cells: list[Any] = [size, one["steps"], len(found)]
        cells += [f"{one[name] / 1e6:.2f} M" for name in ("pretrained", "fine_tuned")]
        # A mean of logarithms: as if all tokens of a language had been one text.
        logs = [fmean(map(math.log, run["perplexity"].values())) for run in found]
        cells.append(spread([math.exp(log) for log in logs]))
        cells.append(spread([100 * fmean(run["masked"].values()) for run in found]))
        cells.append(spread([run["tags"]["en"] for run in found]))
        others = [[v for name, v in run["tags"].items() if name != "en"] for run in found]
        cells.append(spread([fmean(numbers) for numbers in others]))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not there yet, and print the table."""
    args = parse_args(argv)
    prepare(args)
    for seed in args.seeds:
        for size in args.sizes:
            measure(args, size, seed)
            print(f"output size {size}, seed {seed}: done", file=sys.stderr, flush=True)
    print(table(args.folder, args.sizes, args.seeds), end="")


if __name__ == "__main__":
    main()
