"""Pretrain small ERNIE-Ms by several mixtures of objectives, and measure how they align languages.

    python -m benchmarks.cross_lingual_pretraining FOLDER --text TEXT --sentencepiece MODEL

TEXT has `tatoeba/en-*.tsv` and `debian-handbook/parallel/en-*.tsv`, MODEL is a sentencepiece model
(XLM-R's), of whose pieces those are kept that the texts have. The models have 4 layers, 256 wide.
Those of stage 1 begin with random weights; stage 2 goes on from the last mixture of stage 1, once
as before and once with BTMLM. All runs of a stage
have as many steps, of as many rows; a row of monolingual text is two sentences, so that rows have
about as many tokens as pairs have. Of every text, a fifth is held out by its English sentence, so
that no language's translation of it is trained on. Seed after seed is run, what is there already
is not run again, and the tables of what is there are printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import sentencepiece

from benchmarks.jobs import ROOT
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer

SCRIPTS = ROOT / "examples/language_model"
EVERYDAY, HANDBOOK = "tatoeba", "debian-handbook/parallel"
HELD_OUT = 5  # one English sentence in so many
SHAPE = {
    "model_type": "ernie_m",
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 130,
}
LENGTH = 64  # tokens of a row
SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")


@dataclass(frozen=True)
class Mixture:
    """A run of every seed.

    Attributes:
        objectives: As the script takes them.
        begins_with: The mixture whose model it goes on from; None begins at random.
    """

    objectives: str
    begins_with: str | None = None


MIXTURES = {
    "MMLM": Mixture("mmlm"),
    "MMLM + TLM": Mixture("mmlm,tlm"),
    "MMLM + TLM + CAMLM": Mixture("mmlm,tlm,camlm"),
    "stage 2: MMLM + TLM + CAMLM": Mixture("mmlm,tlm,camlm", "MMLM + TLM + CAMLM"),
    "stage 2: MMLM + TLM + CAMLM + BTMLM": Mixture("mmlm,tlm,camlm,btmlm", "MMLM + TLM + CAMLM"),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for shards, runs and figures")
    parser.add_argument("--text", type=Path, required=True, help="folder of the texts")
    parser.add_argument("--sentencepiece", type=Path, required=True, help="XLM-R's model")
    parser.add_argument("--languages", nargs="+", default=["de", "es", "fr", "ru"])
    parser.add_argument("--mixtures", nargs="+", default=[*MIXTURES], choices=[*MIXTURES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=500, help="of stage 1; stage 2 has half")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-4)
    parser.add_argument("--fewest", type=int, default=1, help="times that a kept piece is there")
    return parser.parse_args(argv)


def is_held_out(english: str) -> bool:
    """Whether a sentence and all its translations are held out."""
    return hashlib.sha256(english.encode()).digest()[0] % HELD_OUT == 0


def read_pairs(
    text: Path, language: str, sources: Sequence[str] = (EVERYDAY, HANDBOOK)
) -> Iterable[tuple[str, str]]:
    """Read the pairs of English and a language."""
    for source in sources:
        path = text / source / f"en-{language}.tsv"
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                english, other = line.split("\t")
                yield english, other


def write_corpus(args: argparse.Namespace, folder: Path) -> None:
    """Write pairs and monolingual text to train on, and pairs that are held out."""
    names = ("parallel", "monolingual", "held-out", "retrieval")
    pairs, texts, held_out, retrieval = (folder / name for name in names)
    for one in (pairs, texts, held_out, retrieval):
        one.mkdir(parents=True)
    english: dict[str, None] = {}
    for language in args.languages:
        train, dev, others = [], [], []
        for first, second in read_pairs(args.text, language):
            (dev if is_held_out(first) else train).append(f"{first}\t{second}\n")
            if not is_held_out(first):
                english[first] = None
                others.append(second)
        name = f"en-{language}.tsv"
        (pairs / name).write_text("".join(train), encoding="utf-8")
        (held_out / name).write_text("".join(dev), encoding="utf-8")
        # Those of the handbook share names and commands with their translations.
        everyday = read_pairs(args.text, language, [EVERYDAY])
        found = [f"{first}\t{second}\n" for first, second in everyday if is_held_out(first)]
        (retrieval / name).write_text("".join(found), encoding="utf-8")
        write_texts(texts / f"{language}.txt", others)
    write_texts(texts / "en.txt", [*english])


def write_texts(path: Path, sentences: Sequence[str]) -> None:
    """Write sentences, two on each line."""
    lines = (" ".join(sentences[at : at + 2]) for at in range(0, len(sentences), 2))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_shape(args: argparse.Namespace, folder: Path) -> None:
    """Write a config, and a vocabulary of those pieces that the texts have."""
    folder.mkdir(parents=True)
    shutil.copyfile(args.sentencepiece, folder / "sentencepiece.bpe.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(args.sentencepiece))
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    write_vocabulary(folder, [piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>")])
    tokenizer = ErnieMTokenizer.from_pretrained(folder)
    texts = {text for one in args.languages for pair in read_pairs(args.text, one) for text in pair}
    rows = tokenizer(sorted(texts), add_special_tokens=False)["input_ids"]
    counts = Counter(number for row in rows for number in row)
    used = {number for number, count in counts.items() if count >= args.fewest}
    kept = tokenizer.convert_ids_to_tokens(sorted(used - {*tokenizer.all_special_ids}))
    write_vocabulary(folder, kept)
    shape = {**SHAPE, "vocab_size": len(kept) + len(SPECIAL)}
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")


def write_vocabulary(folder: Path, pieces: Sequence[str]) -> None:
    """Write ERNIE-M's vocabulary, which has special tokens around the pieces."""
    *first, last = SPECIAL
    words = [*first, *pieces, last]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def call(*command: Any) -> str:
    """Run a program of this project; return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def prepare(args: argparse.Namespace) -> None:
    """Make the shards and the shape, if they are not there yet."""
    shards, shape = args.folder / "shards", args.folder / "shape"
    if not shape.exists():
        write_shape(args, shape)
    if not shards.exists():
        corpus, made = args.folder / "corpus", args.folder / "shards.part"
        for old in (corpus, made):
            shutil.rmtree(old, ignore_errors=True)
        write_corpus(args, corpus)
        make_shards(shape, corpus, made)
        made.rename(shards)


def make_shards(shape: Path, corpus: Path, folder: Path) -> None:
    """Tokenize the corpus."""
    call(
        SCRIPTS / "multilingual/create_pretraining_data.py",
        *("--tokenizer_name", shape, "--output_dir", folder),
        *("--parallel_files", corpus / "parallel/*.tsv"),
        *("--text_files", corpus / "monolingual/*.txt"),
        *("--validation_parallel_files", corpus / "held-out/*.tsv"),
        *("--max_seq_length", LENGTH, "--max_held_out", 0),
    )


def pretrain(args: argparse.Namespace, name: str, seed: int) -> None:
    """Run one mixture with one seed, and measure it; what is there is kept."""
    mixture, run = MIXTURES[name], run_folder(args.folder, name, seed)
    steps = args.steps // 2 if mixture.begins_with else args.steps
    if (run / "measured.json").exists():
        return
    start: list[Any] = ["--model_name_or_path", args.folder / "shape", "--from_scratch"]
    if mixture.begins_with:
        before = run_folder(args.folder, mixture.begins_with, seed) / f"model_{args.steps}"
        start = ["--model_name_or_path", before]
    began = time.perf_counter()
    call(
        SCRIPTS / "ernie_m/run_pretrain.py",
        *start,
        *("--input_dir", args.folder / "shards", "--output_dir", run),
        *("--objectives", mixture.objectives, "--mlm_probability", 0.15),
        *(
            "--batch_size",
            args.batch_size,
            "--learning_rate",
            args.learning_rate,
            "--max_steps",
            steps,
        ),
        *("--warmup_steps", steps // 10, "--logging_steps", 100, "--save_steps", steps // 4),
        *("--seed", seed, "--device", "cpu", "--keep_checkpoints", 1),
        *("--resume_from_checkpoint", "latest", "--max_eval_samples", 300),
    )
    seconds = time.perf_counter() - began
    model, alignment = run / f"model_{steps}", run / "alignment"
    pairs = sorted((args.folder / "corpus/retrieval").glob("en-*.tsv"))
    call(
        "-m", "paddlenlp_ext", "eval-alignment", model, *pairs,
        "--output", alignment, "--mlm_probability", 0, "--device", "cpu",
    )  # fmt: skip
    numbers = retrieval(alignment / "alignment.tsv")
    numbers |= {"masked": masked(run / "history.jsonl")[steps], "steps": steps, "seconds": seconds}
    (run / "measured.json").write_text(json.dumps(numbers), encoding="utf-8")


def run_folder(folder: Path, name: str, seed: int) -> Path:
    """Return the folder of a run."""
    words = name.replace(":", "").replace(" + ", "-").replace(" ", "-").lower()
    return folder / "runs" / words / str(seed)


def retrieval(path: Path) -> dict[str, float]:
    """Return the best layer's retrieval, a mean over files and directions, in per cent.

    The embeddings, layer 0, are left out: they find what has words in common.
    """
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    names, *rows = lines
    layer, mean = names.index("layer"), names.index("mean")
    layers: dict[str, list[float]] = {}
    for row in rows:
        if row[layer] != "0":
            layers.setdefault(row[layer], []).append(float(row[mean]))
    best = max(layers, key=lambda one: fmean(layers[one]))
    return {"retrieval": 100 * fmean(layers[best]), "layer": float(best)}


def masked(path: Path) -> dict[int, dict[str, float]]:
    """Return accuracies of held-out masked tokens, a mean over languages, in per cent by step."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found: dict[int, list[float]] = {}
    for row in rows:
        if "split" in row:
            found.setdefault(row["step"], []).append(100 * row["metrics"]["acc"])
    return {step: fmean(numbers) for step, numbers in found.items()}


COLUMNS = {"retrieval": "Sentences found", "masked": "Masked words right"}


def table(folder: Path, seeds: Sequence[int]) -> str:
    """Write means and spreads over the seeds that are there."""
    lines = ["| Objectives | Steps | Seeds | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("| --- " * (3 + len(COLUMNS)) + "|")
    for name in MIXTURES:
        paths = [run_folder(folder, name, seed) / "measured.json" for seed in seeds]
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
        if found:
            cells = [spread([one[column] for one in found]) for column in COLUMNS]
            lines.append(f"| {name} | {found[0]['steps']} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(numbers: Sequence[float]) -> str:
    """Write a mean, and the standard deviation of several."""
    deviation = f" ± {stdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{fmean(numbers):.1f}{deviation}"


def curves(args: argparse.Namespace) -> str:
    """Write masked words over the steps, means over the seeds that are there."""
    lines = [f"| Objectives | Step | Seeds | {COLUMNS['masked']} |", "| --- " * 4 + "|"]
    for name, mixture in MIXTURES.items():
        paths = [run_folder(args.folder, name, seed) / "history.jsonl" for seed in args.seeds]
        runs = [masked(path) for path in paths if path.exists()]
        start = args.steps if mixture.begins_with else 0
        lines += [
            f"| {name} | {start + step} | {len(runs)} | {fmean(run[step] for run in runs):.1f} |"
            for step in sorted(set.intersection(*map(set, runs)) if runs else ())
        ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not there yet, and print the tables."""
    args = parse_args(argv)
    prepare(args)
    for seed in args.seeds:
        for name in args.mixtures:
            pretrain(args, name, seed)
            print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
    print(table(args.folder, args.seeds), curves(args), sep="\n", end="")


if __name__ == "__main__":
    main()
