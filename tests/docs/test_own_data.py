"""The four commands of docs/own-data.md lead from a CSV file to predictions, and to the same."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.test_readmes import BLOCK, ROOT, commands
from tests.scripts.test_bert_run_glue import tiny_bert

TEXTS = {"good": "a warm film", "bad": "the jokes fall flat", "mixed": "it has two halves"}


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "paddlenlp_ext", *words],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def labels(table: Path) -> list[str]:
    return [row.split("\t")[1] for row in table.read_text("utf-8").splitlines()[1:]]


def test_the_page_leads_from_a_file_to_predictions(tmp_path):
    rows = [f'"{text}, {number}",{label}' for number in range(20) for label, text in TEXTS.items()]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    new = [f'"{text}, again"' for text in TEXTS.values()]
    (tmp_path / "new.csv").write_text("\n".join(["text", *new]) + "\n")
    (tmp_path / "encoder").mkdir()
    tiny_bert(tmp_path / "encoder")
    (block,) = BLOCK.findall((ROOT / "docs/own-data.md").read_text("utf-8"))
    said = []
    for program, *words in commands(block):
        assert program == "paddlenlp-ext"
        given = ["encoder" if word == "bert-base-uncased" else word for word in words]
        said.append(run([*given, "--device", "cpu"] if words[0] == "train" else given, tmp_path))
    assert len(said) == 4
    assert "labels bad, good, mixed" in said[0]
    assert "paddlenlp-ext predict outputs/reviews/model_" in said[0]
    assert "0 bad, 1 good, 2 mixed" in said[1]
    found = labels(tmp_path / "predictions_new.tsv")
    assert len(found) == 3
    assert {*found} <= {*TEXTS}
    exported = "outputs/reviews/model_20/exported"
    run(["predict", exported, "new.csv", "--output", "again"], tmp_path)
    assert labels(tmp_path / "again/predictions_new.tsv") == found


@pytest.mark.skipif(not find_spec("paddle2onnx"), reason="needs Paddle2ONNX")
def test_onnx_predicts_the_same(tmp_path):
    test_the_page_leads_from_a_file_to_predictions(tmp_path)
    model = "outputs/reviews/model_20"
    run(["export", model, "--format", "onnx", "--output_dir", "onnx"], tmp_path)
    run(["predict", "onnx", "new.csv", "--output", "third"], tmp_path)
    assert labels(tmp_path / "third/predictions_new.tsv") == labels(
        tmp_path / "predictions_new.tsv"
    )
