"""From a user's file to predictions, and to the same by an exported program, by the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext import __main__ as console
from tests.scripts.test_bert_run_glue import tiny_bert

FORMAT = "onnx" if find_spec("paddle2onnx") and find_spec("onnxruntime") else "inference"
TEXTS = ("a warm film", "the jokes fall flat", "it has two halves", "of time and the story")
Run = Callable[..., str]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def run(monkeypatch, capsys) -> Iterator[Run]:
    """Run the command in this process; return what it said."""
    monkeypatch.setattr(sys, "argv", sys.argv)  # a script has its own
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as end:
            console.main([str(word) for word in words])
        said = "".join(capsys.readouterr())
        assert end.value.code == 0, said
        return said

    return run


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def one_of_three() -> tuple[str, str]:
    rows = [f'"{TEXTS[n % 3]}, {n}",{["good", "bad", "mixed"][n % 3]}' for n in range(30)]
    return "new.csv", "\n".join(["text,label", *rows])


def of_two_texts() -> tuple[str, str]:
    rows = [
        {"premise": TEXTS[n % 4], "hypothesis": TEXTS[n % 3], "gold_label": f"is {n % 2}"}
        for n in range(30)
    ]
    return "new.jsonl", lines(rows)


def several() -> tuple[str, str]:
    rows = [{"text": f"{TEXTS[n % 4]} {n}", "labels": ["warm", "long"][: n % 3]} for n in range(30)]
    return "new.jsonl", lines(rows)


def score() -> tuple[str, str]:
    rows = [f"{TEXTS[n % 4]} {n}\t{n % 4 + 0.5}" for n in range(30)]
    return "new.tsv", "\n".join(["text\tscore", *rows])


@pytest.mark.parametrize(
    ("make", "answers"),
    [
        (one_of_three, {"good", "bad", "mixed"}),
        (of_two_texts, {"is 0", "is 1"}),
        (several, {"warm", "long"}),
        (score, set()),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_file_trains_predicts_and_is_predicted_by_a_program(
    make, answers, encoder, tmp_path, run
):
    name, content = make()
    path, output = tmp_path / name, tmp_path / "out"
    path.write_text(content + "\n", "utf-8")
    said = run(
        *("train", "glue", "--model_type", "bert", "--model_name_or_path", encoder),
        *("--train_file", path, "--output_dir", output, "--learning_rate", "1e-2"),
        *("--max_steps", 6, "--save_steps", 3, "--logging_steps", 3, "--batch_size", 8),
        *("--max_seq_length", 32, "--device", "cpu"),
    )
    (hint,) = (line for line in said.splitlines() if line.startswith("use it:"))
    *command, file = hint.partition("paddlenlp-ext ")[2].split()
    assert file == "FILE"
    assert Path(command[-1]).name == (output / "best").read_text().strip()
    assert f"predictions of 30 rows: {tmp_path}/a/predictions_new.tsv" in run(
        *command, path, "--output", tmp_path / "a"
    )
    # Of a run's folder it is the best model, too.
    assert "highest values agree" in run(
        "export", output, "--format", FORMAT, "--output_dir", tmp_path / "served"
    )
    run("predict", tmp_path / "served", path, "--output", tmp_path / "b")
    found, again = (
        [json.loads(row) for row in (tmp_path / one / "predictions_new.jsonl").open()]
        for one in "ab"
    )
    assert len(found) == len(again) == 30
    said_labels: set[str] = set()
    for one, other in zip(found, again, strict=True):
        assert one["id"] == other["id"]
        if not answers:
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
            continue
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
        assert {*one["probabilities"]} == answers
        said_labels |= {*([one["label"]] if isinstance(one["label"], str) else one["label"])}
    assert said_labels <= answers
    if not answers:
        assert len({row["score"] for row in found}) > 1
