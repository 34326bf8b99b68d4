"""Shards of the sample rows in several languages, and runs of the scripts that pretrain on them.

The runs save and evaluate at every other step, so many of the kills that they suffer fall into a
save.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.docs.test_readmes import ROOT, script_of
from tests.scripts.multilingual import command_line, ernie_m, rembert

SCRIPTS = {
    family: ROOT / f"examples/language_model/{family}/run_pretrain.py"
    for family in ("ernie_m", "rembert")
}
CREATE = ROOT / "examples/language_model/multilingual/create_pretraining_data.py"
MODELS: dict[str, Callable[[Path], Path]] = {"ernie_m": ernie_m, "rembert": rembert}
LANGUAGES = ("de", "en", "zh")
STEPS = 12


def sentences() -> dict[str, list[str]]:
    """Translations of the same sentences, by language."""
    path = ROOT / "data/xnli/XNLI-1.0/xnli.dev.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = {}
    for language in LANGUAGES:
        own = sorted(
            (row for row in rows if row["language"] == language), key=lambda row: int(row["pairID"])
        )
        found[language] = [row[name] for row in own for name in ("sentence1", "sentence2")]
    return found


def write_text(folder: Path) -> Path:
    """Write monolingual text and pairs of English and each other language, some held out."""
    text = sentences()
    cut = len(text["en"]) * 3 // 4
    for split, part in (("train", slice(cut)), ("dev", slice(cut, None))):
        own = folder / split
        own.mkdir(parents=True)
        for language, lines in text.items():
            (own / f"{language}.txt").write_text("\n".join(lines[part]) + "\n", encoding="utf-8")
            if language != "en":
                pairs = zip(text["en"][part], lines[part], strict=True)
                rows = "".join(f"{one}\t{other}\n" for one, other in pairs)
                (own / f"en-{language}.tsv").write_text(rows, encoding="utf-8")
    return folder


def pretraining(folder: Path, output: Path, **changes: Any) -> list[str]:
    """The command line of a run."""
    arguments = {
        "model_name_or_path": folder / "model",
        "from_scratch": True,
        "input_dir": folder / "shards",
        "output_dir": output,
        "objectives": "mmlm,tlm,camlm,btmlm",
        "mlm_probability": 0.3,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "warmup_steps": 3,
        "logging_steps": 1,
        "save_steps": 2,
        "max_steps": STEPS,
        "max_eval_samples": 5,
        "device": "cpu",
        "resume_from_checkpoint": "latest",
    }
    return command_line(arguments | changes)


def prepare(folder: Path, script: str) -> Path:
    """Write a tiny model, and shards of text and pairs, some of them held out."""
    model = folder / "model"
    model.mkdir(parents=True)
    MODELS[script](model)
    write_shards(write_text(folder / "text"), folder / "shards", model)
    return folder


def write_shards(text: Path, shards: Path, model: Path) -> None:
    """Make shards of it."""
    arguments = {
        "tokenizer_name": model,
        "text_files": text / "train/??.txt",
        "parallel_files": text / "train/en-*.tsv",
        "validation_text_files": text / "dev/??.txt",
        "validation_parallel_files": text / "dev/en-*.tsv",
        "output_dir": shards,
        "max_seq_length": 60,
        "max_held_out": 0,
    }
    script_of(CREATE).main(command_line(arguments))
