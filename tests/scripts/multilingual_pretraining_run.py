"""Shards of the sample rows in several languages, and runs of the scripts that pretrain on them.

The runs save and evaluate at every other step, so many of the kills that they suffer fall into a
save.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from paddlenlp_ext.pretraining.bert_shards import vocabulary_digest
from paddlenlp_ext.pretraining.masking import MaskingVocabulary
from paddlenlp_ext.pretraining.multilingual_rows import LAYOUT, pair_rows, sentence_rows
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, VOCABULARY
from paddlenlp_ext.pretraining.whole_words import Tokens
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.docs.test_readmes import ROOT
from tests.scripts.multilingual import command_line, ernie_m

SCRIPTS = {"ernie_m": ROOT / "examples/language_model/ernie_m/run_pretrain.py"}
MODELS: dict[str, Callable[[Path], Path]] = {"ernie_m": ernie_m}
LANGUAGES = ("de", "en", "zh")
STEPS = 12
WIDTH = 60  # tokens of a row


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
    """Make a shard of each file."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    continues = MaskingVocabulary.of(tokenizer).continues

    def tokens(lines: Iterable[str]) -> list[Tokens]:
        rows = tokenizer([*lines], add_special_tokens=False, max_length=28, truncation=True)
        return [Tokens(ids, continues[ids].tolist()) for ids in rows["input_ids"]]

    for path in sorted(text.glob("*/*")):
        languages = path.stem.split("-")
        numbers = [LANGUAGES.index(language) for language in languages]
        attributes = {
            "languages": ",".join(LANGUAGES),
            "source": path.stem,
            HAS_PAIRS: len(languages) == 2,
            VOCABULARY: vocabulary_digest(tokenizer),
        }
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        sides = [tokens(side) for side in zip(*lines, strict=True)]
        if len(languages) == 2:
            columns = pair_rows(*sides, tokenizer, WIDTH, (numbers[0], numbers[1]))
        else:
            columns = sentence_rows(*sides, tokenizer, WIDTH, numbers[0])
        shard = shards / f"{path.parent.name}.{path.stem}.hdf5"
        with ShardWriter([shard], LAYOUT, {"tokens": WIDTH}, attributes) as writer:
            writer.write(columns)
