"""Measure the peak memory of pretraining on a small set of shards and on large ones.

    python benchmarks/pretraining_memory.py

Makes three sets of synthetic shards in a temporary folder: 20 MB in one file, 2 GB in one file,
and 2 GB in 100 files (`--small`, `--large` and `--files` change that). `run_pretrain.py` goes
through all rows of each, and as many steps on the small one, with a tiny model, so that what is
read weighs more than what is computed. Prints a JSON line for each set, then the ratio of the
largest peak to the smallest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples/language_model/bert/run_pretrain.py"
L, P, TOKENS, VOCAB = 128, 20, 12, 97  # width of rows, of predictions; real tokens; vocabulary
ROW_BYTES = L * (4 + 1 + 1) + P * (4 + 4) + 1
BATCH = 512
BYTE, BYTES = "int8", ("input_mask", "segment_ids")
BLOCK = 1 << 14  # rows that are written at once
CONFIG = {
    "model_type": "bert",
    "vocab_size": VOCAB,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 16,
    "max_position_embeddings": L,
}


def write_shard(path: Path, rows: int) -> None:
    """Write a shard of random rows, most of each padding: reading is as if they were full.

    Block by block: the peak of a new process counts that of the process that started it.
    """
    random = np.random.default_rng(0)
    wide = {"input_ids": L, "input_mask": L, "segment_ids": L}
    wide |= {"masked_lm_positions": P, "masked_lm_ids": P}
    with h5py.File(path, "w") as file:
        for name, width in wide.items():
            file.create_dataset(name, (rows, width), BYTE if name in BYTES else "int32")
        file["next_sentence_labels"] = random.integers(0, 2, rows, dtype=BYTE)
        for start in range(0, rows, BLOCK):
            block = slice(start, min(rows, start + BLOCK))
            count = block.stop - start
            file["input_ids"][block, :TOKENS] = random.integers(5, VOCAB, (count, TOKENS))
            file["input_mask"][block, :TOKENS] = 1
            file["masked_lm_positions"][block, 0] = random.integers(1, TOKENS, count)
            file["masked_lm_ids"][block, 0] = 7


def make_set(folder: Path, size: int, files: int) -> int:
    """Write shards of `size` bytes together; return their rows."""
    folder.mkdir()
    rows = size // ROW_BYTES // files
    for number in range(files):
        write_shard(folder / f"train_{number}.hdf5", rows)
    return rows * files


def peak(folder: Path, model: Path, steps: int) -> tuple[float, float]:
    """Pretrain for so many steps; return the peak memory in MB and the time in seconds."""
    with tempfile.TemporaryDirectory() as output:
        command = [
            *(sys.executable, str(SCRIPT), "--model_type", "bert", "--from_scratch"),
            *("--model_name_or_path", str(model), "--input_dir", str(folder)),
            *("--output_dir", output, "--batch_size", str(BATCH), "--max_steps", str(steps)),
            *("--save_steps", str(steps), "--logging_steps", "100", "--n_gpu", "0"),
        ]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"run_pretrain.py ended with {os.waitstatus_to_exitcode(status)}")
        return usage.ru_maxrss / 1024, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=float, default=20, help="size in MB")
    parser.add_argument("--large", type=float, default=2000, help="size in MB")
    parser.add_argument("--files", type=int, default=100, help="of the large set")
    args = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = root / "model"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(CONFIG))
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(VOCAB - 5))]
        (model / "vocab.txt").write_text("\n".join(words) + "\n")
        steps = -(-int(args.large * 1e6 / ROW_BYTES) // BATCH)
        sets = {
            "small": (args.small, 1),
            "one file": (args.large, 1),
            "files": (args.large, args.files),
        }
        for label, (size, files) in sets.items():
            folder = root / "data"
            rows = make_set(folder, int(size * 1e6), files)
            megabytes, seconds = peak(folder, model, steps)
            peaks.append(megabytes)
            line = {"set": label, "MB": size, "files": files, "rows": rows, "steps": steps}
            print(json.dumps(line | {"peak MB": round(megabytes, 1), "seconds": round(seconds, 1)}))
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    print(json.dumps({"largest / smallest": round(max(peaks) / min(peaks), 4)}))


if __name__ == "__main__":
    main()
