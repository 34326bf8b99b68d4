"""Runs of the scripts on files of a user's own, for one process or, as a script, for several.

    python -m paddle.distributed.launch --nproc_per_node 2 tests/scripts/two_processes.py FOLDER

FOLDER has the tiny encoders of `make_inputs`; rows are of odd numbers, so that parts are uneven.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from paddlenlp_ext.cli import program
from paddlenlp_ext.process import runtime
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.multilingual import DATA, ROOT
from tests.scripts.test_bert_run_glue import tiny_bert

LABELS = ("bad", "good", "so so")
COMMON: dict[str, Any] = {
    "max_seq_length": 32, "learning_rate": 1e-2, "max_steps": 3, "save_steps": 2,
    "logging_steps": 1, "device": "cpu", "do_train": True, "do_eval": True, "do_predict": True,
}  # fmt: skip


def make_inputs(folder: Path) -> None:
    """Write encoders without dropout, and the files that the sample data do not have."""
    for name, make in (("bert", tiny_bert), ("ernie_m", multilingual.ernie_m)):
        (folder / name).mkdir()
        make(folder / name)
        path = folder / name / "config.json"
        rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
        path.write_text(json.dumps(json.loads(path.read_text()) | rates))
    lines = (DATA / "xnli/XNLI-1.0/xnli.dev.tsv").read_text(encoding="utf-8").splitlines()[1:]
    texts = [line.split("\t")[6] for line in lines]
    for name, first, count in (("train", 0, 37), ("new", 40, 11)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label", "language"][:: 1 if name == "train" else 2])
            for n, text in enumerate(texts[first : first + count]):
                row = [text, LABELS[n * 7 // 3 % 3], ("de", "sw", "en")[n % 5 // 2]]
                writer.writerow(row if name == "train" else row[::2])
    (folder / "weights.txt").write_text("bad 1\ngood 2\nso so 0.5\n")


def runs(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """A script and its flags, by the name of the run; the batch is that of all processes."""
    own = {"train_file": folder / "train.csv", "test_file": folder / "new.csv",
           "validation_share": 0.3, "class_weights": folder / "weights.txt",
           "label_smoothing_factor": 0.1}  # fmt: skip
    return {
        "texts": (
            "language_model/bert/run_glue.py",
            {**own, "model_type": "bert", "model_name_or_path": folder / "bert"},
        ),
        "languages": (
            "language_model/ernie_m/run_classifier.py", {**own, "language_column_name": "language"},
        ),
        "tags": (
            "tasks/run_token_classification.py",
            {
                "train_file": DATA / "tags/entities-train.conll",
                "validation_share": 0.3,
                "test_file": DATA / "tags/dev.de.conllu",
            },
        ),
        "choices": (
            "tasks/run_multiple_choice.py",
            {
                "train_file": DATA / "choice/swag/train.csv",
                "validation_file": str(DATA / "choice/copa/val.*.jsonl"),
                "test_file": DATA / "choice/swag/val.csv",
            },
        ),
    }  # fmt: skip


def run(folder: Path, output: Path, batch_size: int) -> None:
    """Make all runs, one after another."""
    for name, (script, flags) in runs(folder).items():
        given = COMMON | {"model_name_or_path": folder / "ernie_m", "output_dir": output / name}
        words = multilingual.command_line(given | {"batch_size": batch_size} | flags)
        script_of(ROOT / "examples" / script).main(words)


def main() -> None:
    runtime.tune(False)
    folder = Path(sys.argv[1])
    run(folder, folder / "two", 4)


if __name__ == "__main__":
    program.run(main)
