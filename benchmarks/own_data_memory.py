"""Measure the memory of training on a large file of one's own, and of predicting it.

    python benchmarks/own_data_memory.py --rows 2000000 --words 20

Writes a CSV of random words with three labels, trains a tiny BERT on it for a few steps by the BERT
script, and prints the most memory that the script had, the text's size, and the seconds. The ids of
a first run are kept on disk; `--runs 2` shows what a second one needs. `--predict` then predicts
the rows of the table with `paddlenlp-ext predict`, and prints the same of that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
WORDS = 5_000  # of the vocabulary
LABELS = ("neg", "neu", "pos")


def write_rows(path: Path, rows: int, words: int) -> None:
    """Write a table of texts with so many words each, and their labels."""
    random = np.random.RandomState(3)
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for row in range(rows):
            text = " ".join(f"w{number}" for number in random.randint(0, WORDS, words))
            file.write(f"{text},{LABELS[row % 3]}\n")


def write_encoder(folder: Path) -> None:
    """Write a tiny BERT with the words of the table."""
    from paddlenlp_ext.models.bert import BertConfig, BertModel

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(WORDS))]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = BertConfig(vocab_size=len(pieces), intermediate_size=37, **sizes)
    BertModel(config).save_pretrained(folder)


def measure(
    folder: Path, rows: int, words: int, steps: int = 10, *, predicts: bool = False
) -> dict[str, float]:
    """Train in a process of its own; a folder that has table and encoder already is used again."""
    table, encoder = folder / "rows.csv", folder / "encoder"
    if not table.exists():
        write_rows(table, rows, words)
        write_encoder(encoder)
    output = folder / f"output-{time.time_ns()}"
    flags: dict[str, object] = {
        "model_type": "bert",
        "model_name_or_path": encoder,
        "train_file": table,
        "validation_share": 0.001,
        "max_seq_length": 64,
        "max_steps": steps,
        "output_dir": output,
        "n_gpu": 0,
    }
    script = ROOT / "examples/language_model/bert/run_glue.py"
    words_of_it = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    found = {"rows": rows, "text_mb": round(table.stat().st_size / 1e6, 1)}
    found |= run([str(script), *words_of_it], folder)
    if predicts:
        command = ["-m", "paddlenlp_ext", "predict", str(output), str(table), "--device", "cpu"]
        found |= {f"predict_{name}": value for name, value in run(command, folder).items()}
    return found


def run(command: Sequence[str], folder: Path) -> dict[str, float]:
    """Run Python on a command line; return the most memory that it had, and its seconds."""
    environment = os.environ | {"PADDLENLP_EXT_HOME": str(folder / "cache")}
    environment["PYTHONPATH"] = str(ROOT)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the script ended with exit code {process.returncode}")
    return {
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Memory of a large file of one's own.")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the table")
    parser.add_argument("--words", type=int, default=20, help="of a row")
    parser.add_argument("--runs", type=int, default=1, help="one after the other")
    parser.add_argument("--predict", action="store_true", help="the table's rows, too")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.runs):
            found = measure(Path(folder), args.rows, args.words, predicts=args.predict)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
