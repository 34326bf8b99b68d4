"""Measure the peak memory of making and of reading multilingual shards, of little and of much text.

    python benchmarks/corpora_memory.py TOKENIZER_FOLDER

Makes text in a temporary folder, half English text and half English beside German: 20 MB and 2 GB
(`--small` and `--large` change that), each of words that the tokenizer has not seen before. A
process makes shards of it, and another reads as many rows of these as the large text has. Prints a
JSON line for each, then the ratios of the peaks of the large text to those of the small one.
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

from paddlenlp_ext.pretraining.multilingual_rows import LAYOUT
from paddlenlp_ext.pretraining.shards import open_shard

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples/language_model/multilingual/create_pretraining_data.py"
WORDS, LETTERS = 30_000, "etaoinshrdlucm"
BLOCK = 1_000_000  # bytes of text that are made at random, and repeated with another last word
READ = """
import sys
from pathlib import Path
from paddlenlp_ext.pretraining.language_corpora import open_corpora
from paddlenlp_ext.pretraining.language_reader import LanguageReader
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
corpora = open_corpora(sys.argv[2], tokenizer, len(tokenizer), 512)
left = int(sys.argv[3])
readers = [LanguageReader(shards) for shards in (corpora.sentences, corpora.pairs)]
epoch = 0
while left > 0:
    for reader in readers:
        for rows in reader.batches(512, epoch):
            left -= len(rows.numbers)
            if left <= 0:
                break
    epoch += 1
"""


def write_text(path: Path, size: int, columns: int) -> None:
    """Write lines of ten to fifteen words, until the file has the size."""
    random = np.random.default_rng(0)
    letters = np.array([*LETTERS])
    words = ["".join(random.choice(letters, random.integers(2, 9))) for _ in range(WORDS)]
    lines: list[str] = []
    length = 0
    while length < min(BLOCK, size):
        texts = (" ".join(random.choice(words, random.integers(10, 16))) for _ in range(columns))
        lines.append("\t".join(texts))
        length += len(lines[-1])
    with path.open("w", encoding="utf-8") as file:
        for turn in range(sys.maxsize):
            last = "".join(random.choice(letters, 12))  # a new word, and no line as one before
            file.write("".join(f"{last} {line} {turn}\n" for line in lines))
            if file.tell() >= size:
                return


def peak(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; return its peak memory in MB and its time in seconds."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024, time.monotonic() - began


def rows_of(folder: Path) -> int:
    """Count the rows of a folder's shards."""
    return sum(open_shard(path, LAYOUT).rows for path in folder.glob("train*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", help="folder")
    parser.add_argument("--small", type=float, default=20, help="size in MB")
    parser.add_argument("--large", type=float, default=2000, help="size in MB")
    args = parser.parse_args()
    peaks: dict[str, list[float]] = {"make": [], "read": []}

    def measure(what: str, size: float, *command: str) -> None:
        megabytes, seconds = peak(command)
        peaks[what].append(megabytes)
        line = {"what": what, "MB": size, "peak MB": round(megabytes, 1)}
        print(json.dumps(line | {"seconds": round(seconds, 1)}), flush=True)

    with tempfile.TemporaryDirectory() as name:
        shards = {}
        for size in (args.small, args.large):
            folder = Path(name) / f"{size:g}"
            folder.mkdir()
            shards[size] = folder / "shards"
            text, pairs = folder / "en.txt", folder / "en-de.tsv"
            write_text(text, int(size * 5e5), 1)
            write_text(pairs, int(size * 5e5), 2)
            files = "--text_files", str(text), "--parallel_files", str(pairs)
            made = "--tokenizer_name", args.tokenizer, "--output_dir", str(shards[size])
            measure("make", size, str(SCRIPT), *made, *files)
        rows = str(rows_of(shards[args.large]))
        for size, folder in shards.items():
            measure("read", size, "-c", READ, args.tokenizer, str(folder), rows)
    ratios = {f"{what}, large / small": round(two[1] / two[0], 4) for what, two in peaks.items()}
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
