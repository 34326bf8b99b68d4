"""The fine-tuning scripts on files of a user's own."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.tasks.rows import read_examples
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.refusals import refused
from tests.scripts.test_bert_run_glue import (
    DATA,
    ROOT,
    SCRIPT,
    arguments,
    launch,
    losses,
    tiny_bert,
)

SST2 = GLUE["sst-2"]
RTE = GLUE["rte"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoder"), dropout=0.1)


def flags(encoder: Path, output: Path, *own: Any, **changes: Any) -> list[str]:
    words = arguments(encoder, output, save_steps=100, **changes)
    at = words.index("--task_name")
    return [*words[:at], *words[at + 2 :], *map(str, own)]


def run(encoder: Path, output: Path, *own: Any, **changes: Any) -> dict[str, float]:
    return script_of(SCRIPT).main(flags(encoder, output, *own, **changes))


def as_csv(path: Path, split: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment"])
        for one in read_examples(SST2, split, DATA):
            writer.writerow([one.text_a, (SST2.labels or ())[int(one.label)]])
    return path


def test_rows_of_a_task_as_csv_train_as_the_task(encoder: Path, tmp_path: Path) -> None:
    files = [as_csv(tmp_path / f"{split}.csv", split) for split in ("train", "dev")]
    few = {"max_steps": 20, "max_eval_samples": 50}
    own = ("--train_file", files[0], "--validation_file", files[1])
    scores = run(encoder, tmp_path / "own", *own, **few)
    words = arguments(encoder, tmp_path / "task", task_name="SST-2", save_steps=100, **few)
    expected = script_of(SCRIPT).main(words)
    assert losses(tmp_path / "own") == losses(tmp_path / "task")
    assert len(losses(tmp_path / "own")) == 20
    assert scores["dev acc"] == expected["dev acc"]


PAIRS = [(one.text_a, one.text_b, one.label) for one in read_examples(RTE, "train", DATA)]


def three_labels() -> str:
    return "review,sentiment\n" + "".join(
        f'"{a.replace(chr(34), chr(34) * 2)}",{("neg", "neu", "pos")[n % 3]}\n'
        for n, (a, _, _) in enumerate(PAIRS)
    )


def lines(label: Any) -> str:
    return "".join(
        json.dumps({"premise": a, "hypothesis": b, "label": label(n, kind)}) + "\n"
        for n, (a, b, kind) in enumerate(PAIRS)
    )


KINDS: dict[str, tuple[str, str, list[str], list[str] | None, str | None]] = {
    "three labels": (
        "a.csv", three_labels(), ["acc", "macro_f1", "micro_f1"], ["neg", "neu", "pos"], None,
    ),
    "pairs": (
        "a.jsonl", lines(lambda _, kind: (RTE.labels or ())[kind]),
        ["acc", "macro_f1", "micro_f1"], ["entailment", "not_entailment"], None,
    ),
    "several labels": (
        "a.jsonl", lines(lambda n, kind: [f"x{k}" for k in range(4) if n >> k & 1]),
        ["micro_f1", "macro_f1", "mean_average_precision"], ["x0", "x1", "x2", "x3"],
        "multi_label_classification",
    ),
    "regression": (
        "a.jsonl", lines(lambda n, kind: n / 8), ["pearson", "spearman", "mse"], None, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_problem_trains_and_tests(
    kind: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    name, content, metrics, labels, problem = KINDS[kind]
    (tmp_path / name).write_text(content, encoding="utf-8")
    own = ("--train_file", tmp_path / name, "--test_file", tmp_path / name)
    scores = run(encoder, tmp_path / "out", *own, max_steps=4)
    assert [*scores] == [f"{split} {metric}" for split in ("dev", "test") for metric in metrics]
    said = capsys.readouterr().out
    assert "reads text from " in said
    if labels:
        supports = [line.split() for line in said.splitlines() if line.startswith(f"{labels[0]} ")]
        assert len(supports) == 2  # a table of dev, and one of test
    config = json.loads((tmp_path / "out/model_4/config.json").read_text())
    if labels:
        assert [*config["id2label"].values()] == labels
    assert config.get("problem_type") == problem


def test_a_run_goes_on_bit_for_bit_with_its_labels_by_name(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "a.jsonl").write_text(KINDS["several labels"][1], encoding="utf-8")
    (tmp_path / "names.txt").write_text("x0\nx1\nx2\nx3\n")
    own = ("--train_file", tmp_path / "a.jsonl")
    reversed_labels = ("--labels", "x3", "x2", "x1", "x0")
    run(encoder, tmp_path / "out", *own, *reversed_labels, max_steps=4)
    whole = losses(tmp_path / "out")
    state = (tmp_path / "out/model_4/model_state.pdparams").read_bytes()
    words = flags(encoder, tmp_path / "parts", *own, max_steps=4)
    words[words.index("--save_steps") + 1] = "2"
    script_of(SCRIPT).main([*words, *reversed_labels])
    resume = ("--resume_from_checkpoint", "latest")
    for labels, others in (
        (["--labels", "x0", "x1", "x2", "x3"], True),
        (["--labels", str(tmp_path / "names.txt")], True),
        ([], False),  # without, it is not sorted that they are
    ):
        shutil.rmtree(tmp_path / "parts/model_4")
        capsys.readouterr()
        script_of(SCRIPT).main([*words, *resume, *labels])
        assert losses(tmp_path / "parts") == whole
        assert (tmp_path / "parts/model_4/model_state.pdparams").read_bytes() == state
        said = f"labels in the order of {tmp_path / 'parts/model_2'}: x3, x2, x1, x0\n"
        assert (said in capsys.readouterr().out) == others
    # A checkpoint that is damaged is passed over, and the one before it continued.
    (tmp_path / "parts/model_4/config.json").write_text("{")
    script_of(SCRIPT).main([*words, *resume, "--labels", "x0", "x1", "x2", "x3"])
    assert (tmp_path / "parts/model_4/model_state.pdparams").read_bytes() == state
    message = (
        r"--labels: not those of .*/parts/model_4 \(new: y, z; missing: x3, x2\); give the same in "
        r"any order, or none, or start"
    )
    with refused(message):
        script_of(SCRIPT).main([*words, *resume, "--labels", "x1", "y", "z", "x0"])
    more = '{"premise": "a", "hypothesis": "b", "label": ["y"]}\n'
    (tmp_path / "a.jsonl").write_text(KINDS["several labels"][1] + more, encoding="utf-8")
    with refused(r"a\.jsonl:41: expected a label of x3, x2, x1, x0, got 'y'"):
        script_of(SCRIPT).main([*words, *resume])


def test_a_saved_model_is_evaluated_and_predicts_by_its_own_labels(
    encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(three_labels(), encoding="utf-8")
    (tmp_path / "new.csv").write_text("review\nfine\nnot at all\n", encoding="utf-8")
    train = ("--train_file", tmp_path / "a.csv", "--validation_share", "0.2")
    run(encoder, tmp_path / "out", *train, max_steps=2)
    model = tmp_path / "out/model_2"
    assert run(model, tmp_path / "eval", "--do_eval", "--validation_file", tmp_path / "a.csv")
    scores = run(model, tmp_path / "new", "--do_predict", "--test_file", tmp_path / "new.csv")
    assert scores == {}
    table = (tmp_path / "new/predictions.tsv").read_text().splitlines()
    assert table[0].split("\t")[2:] == [f"probability_{name}" for name in ("neg", "neu", "pos")]
    assert [line.split("\t")[0] for line in table[1:]] == ["new.csv:2", "new.csv:3"]


def test_what_is_missing_is_said(encoder: Path, tmp_path: Path, capsys: Any) -> None:
    cases = {
        "required: --task_name, or --train_file": (),
        "--train_file and --task_name: files take": ("--train_file", "a", "--task_name", "RTE"),
        "--labels is of files of your own": ("--task_name", "RTE", "--labels", "a", "b"),
    }
    for message, own in cases.items():
        with pytest.raises(SystemExit) as error:
            run(encoder, tmp_path / "out", *own)
        assert error.value.code == 2
        assert message in capsys.readouterr().err
    with refused(r"--train_file: expected a file to train on"):
        run(encoder, tmp_path / "out", "--test_file", "a.csv")
    assert not (tmp_path / "out").exists()


def test_a_bad_row_is_one_line_and_exit_code_2(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,b\nc\n")
    done = launch(flags(encoder, tmp_path / "out", "--train_file", tmp_path / "a.csv"))
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "a.csv:3: expected 2 columns, got 1" in errors[0]
    assert "--on_bad_row skip" in errors[0]
    assert not (tmp_path / "out").exists()


def test_rows_in_several_languages_are_evaluated_by_language(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Training without a column of languages; ERNIE-M and RemBERT, to their own lines."""
    with (tmp_path / "train.tsv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([("premise", "hypothesis", "label"), *PAIRS])
    rows = [
        {"premise": a, "hypothesis": b, "label": kind, "lang": ("sw", "en")[n % 2]}
        for n, (a, b, kind) in enumerate(PAIRS)
    ]
    (tmp_path / "dev.json").write_text(json.dumps(rows), encoding="utf-8")
    for name, make, path, more in (
        ("ernie_m", multilingual.ernie_m, "ernie_m/run_classifier.py", {"save_steps": 2}),
        (
            "rembert",
            multilingual.rembert,
            "rembert/main.py",
            {"eval_step": 2, "do_train": True, "do_eval": True},
        ),
    ):
        (tmp_path / name).mkdir()
        words = multilingual.command_line(
            {
                "train_file": tmp_path / "train.tsv",
                "validation_file": tmp_path / "dev.json",
                "test_file": tmp_path / "dev.json",
                "language_column_name": "lang",
                "model_name_or_path": make(tmp_path / name),
                "output_dir": tmp_path / name / "out",
                "max_seq_length": 48,
                "max_steps": 2,
                "device": "cpu",
                **more,
            }
        )
        summary = script_of(ROOT / "examples/language_model" / path).main(words)
        assert [*summary] == ["acc", "average", "sw", "en"]
        assert re.search(r"\| Model \| (sw \| en|en \| sw) \| Avg \|", capsys.readouterr().out)
