"""The RemBERT script on sample rows with a tiny model: languages, files, log lines, mistakes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tasks.cross_lingual import PAWS_X_LANGUAGES, XNLI_LANGUAGES, XNLI_TABLE_ORDER
from paddlenlp_ext.transformers import AutoModelForSequenceClassification, AutoTokenizer
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.multilingual import DATA, ROOT, json_lines, visible
from tests.scripts.refusals import refused

SCRIPT = ROOT / "examples/language_model/rembert/main.py"
ACCURACY = re.compile(r"Accuracy [01]\.\d{4}")  # the page's line
STEP = re.compile(r"global step \d+/4, epoch: 0, loss: \d\.\d{6}, lr: 0\.\d{10}, speed: .* step/s")
WEIGHTS = "model_state.pdparams"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multilingual.rembert(tmp_path_factory.mktemp("encoder"))


def arguments(output: Path, **changes: Any) -> list[str]:
    flags = {
        "task": "xnli",
        "do_train": True,
        "do_eval": True,
        "data_dir": DATA,
        "max_seq_length": 48,
        "train_batch_size": 8,
        "eval_batch_size": 16,
        "learning_rate": 3e-3,
        "num_train_epochs": 1,
        "eval_step": 2,
        "logging_steps": 1,
        "keep_checkpoints": 0,
        "output_dir": output,
        "device": "cpu",
    }
    return multilingual.command_line(flags | changes)


def main(output: Path, **changes: Any) -> dict[str, float]:
    return script_of(SCRIPT).main(arguments(output, **changes))


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """A run of four updates with two evaluations: its folder, its answer and what it printed."""
    output = tmp_path_factory.mktemp("run") / "output"
    code, printed, errors = multilingual.launch(
        SCRIPT, arguments(output, model_name_or_path=encoder)
    )
    assert code == 0, errors
    return output, json_lines(output / "results.jsonl")[-1], printed


def test_log_lines(trained: tuple[Path, dict, str]) -> None:
    _, result, printed = trained
    lines = printed.splitlines()
    assert sum(bool(STEP.fullmatch(line)) for line in lines) == 4
    accuracies = [line for line in lines if ACCURACY.fullmatch(line)]
    assert accuracies == [f"Accuracy {result['metrics']['acc']:.4f}"]
    header, _, row = lines[-3:]
    assert header == f"| Model | {' | '.join(XNLI_TABLE_ORDER)} | Avg |"
    numbers = [float(number) for number in row.split(" | ")[1:-1]]
    expected = [100 * result["metrics"][code] for code in XNLI_TABLE_ORDER]
    np.testing.assert_allclose(numbers, expected, atol=0.051)


def test_files(trained: tuple[Path, dict, str]) -> None:
    output, result, _ = trained
    assert visible(output) == {
        "config.json", WEIGHTS, "sentencepiece.model", "tokenizer_config.json", "model_2",
        "model_4", "latest", "best", "history.jsonl", "results.jsonl", "curves.png",
        "record.json", "outcomes.json", "README.md",
    } | {"special_tokens_map.json"} & visible(output)  # fmt: skip
    assert result["metrics"].keys() == {"acc", "average", *XNLI_LANGUAGES}
    assert result["examples"] == 15 * 24
    assert "|xnli|test|acc|bs16|lr3e-3|ep1|len48|seed42|cpu1|paddle" in result["signature"]


def test_pooled_accuracy_is_the_saved_models(trained: tuple[Path, dict, str]) -> None:
    """Loaded and asked by hand, the model in the output folder is as right as the log says."""
    output, result, _ = trained
    model = AutoModelForSequenceClassification.from_pretrained(output)
    assert model.config.label_names == ("neutral", "entailment", "contradictory")
    lines = (DATA / "xnli/XNLI-1.0/xnli.test.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.startswith("sw\t")]
    encoded = AutoTokenizer.from_pretrained(output)(
        [row[6] for row in rows], [row[7] for row in rows],
        truncation=True, max_length=48, padding=True, return_tensors="pd",
    )  # fmt: skip
    answers = [model.config.label_names[best] for best in model(**encoded).logits.argmax(-1)]
    right = [row[1].startswith(name[:9]) for row, name in zip(rows, answers, strict=True)]
    assert np.mean(right) == pytest.approx(result["metrics"]["sw"])


def test_the_best_on_dev_is_kept(encoder: Path, tmp_path: Path) -> None:
    """Of a few updates on a few rows, neither the first nor the last model is the best."""
    main(
        tmp_path, model_name_or_path=encoder, task="paws", do_eval=None, eval_step=1,
        num_train_epochs=2, warmup_proportion=0.0,
    )  # fmt: skip
    averages: dict[int, list[float]] = {}
    for row in json_lines(tmp_path / "history.jsonl"):
        if "split" in row:
            averages.setdefault(row["step"], []).append(row["metrics"]["acc"])
    best = max(averages, key=lambda step: sum(averages[step]))
    assert best not in (min(averages), max(averages))
    kept = (tmp_path / WEIGHTS).read_bytes()
    assert kept == (tmp_path / f"model_{best}" / WEIGHTS).read_bytes()
    assert kept != (tmp_path / f"model_{max(averages)}" / WEIGHTS).read_bytes()


def test_evaluation_alone(trained: tuple[Path, dict, str], tmp_path: Path) -> None:
    output, result, _ = trained
    copy = tmp_path / "copy"
    shutil.copytree(output, copy, ignore=shutil.ignore_patterns("model_?", ".*"))
    assert main(copy, do_train=None) == result["metrics"]
    other = main(tmp_path / "other", do_train=None, model_name_or_path=output, languages=["sw"])
    assert other["sw"] == other["acc"] == result["metrics"]["sw"]
    assert visible(tmp_path / "other") == {"results.jsonl"}
    (row,) = json_lines(tmp_path / "other/results.jsonl")
    assert row["signature"].startswith("output|xnli|test|acc|len48|cpu1|paddle")  # no training


def test_two_processes_evaluate_as_one(trained: tuple[Path, dict, str], tmp_path: Path) -> None:
    output, result, _ = trained
    flags = arguments(tmp_path / "out", do_train=None, model_name_or_path=output)
    code, printed, errors = multilingual.launch(SCRIPT, flags, processes=2)
    assert code == 0, printed + errors
    assert json_lines(tmp_path / "out/results.jsonl")[-1]["metrics"] == result["metrics"]


def test_flat_folder_and_repeated_headers(
    encoder: Path, trained: tuple[Path, dict, str], tmp_path: Path
) -> None:
    """The page's folder: files side by side; PAWS-X's languages put together with `cat`."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (DATA / "xnli").rglob("*.tsv"):
        shutil.copy(path, flat / path.name)
    output, result, _ = trained
    assert main(output, do_train=None, data_dir=flat)["average"] == result["metrics"]["average"]
    x_final = DATA / "pawsx/x-final"
    shutil.copy(x_final / "en/train.tsv", flat)
    for name in ("dev_2k.tsv", "test_2k.tsv"):
        parts = [(x_final / code / name).read_bytes() for code in PAWS_X_LANGUAGES]
        (flat / name).write_bytes(b"".join(parts))
    changes = {"model_name_or_path": encoder, "task": "paws", "max_steps": 1}
    apart = main(tmp_path / "apart", **changes)
    together = main(tmp_path / "together", data_dir=flat, **changes)
    assert together.keys() == {"acc", "average", "all"}
    assert together["acc"] == pytest.approx(apart["acc"])
    assert apart.keys() == {"acc", "average", *PAWS_X_LANGUAGES}


def test_languages_of_a_file_that_does_not_tell_them(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Put together by hand, a file of PAWS-X cannot be had for one language; the run says so."""
    x_final = DATA / "pawsx/x-final"
    shutil.copy(x_final / "en/train.tsv", tmp_path)
    for name in ("dev_2k.tsv", "test_2k.tsv"):
        parts = [(x_final / code / name).read_bytes() for code in ("en", "de")]
        (tmp_path / name).write_bytes(b"".join(parts))
    scores = main(
        tmp_path / "out", model_name_or_path=encoder, task="paws", data_dir=tmp_path,
        languages=["en"], max_steps=1,
    )  # fmt: skip
    assert scores.keys() == {"acc", "average", "all"}
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes == [
        f"note: {tmp_path / name}: its rows do not name their language, so that none can be "
        "chosen: all of them are used, as 'all'; for single languages lay the files out as in the "
        "archive, a folder for each"
        for name in ("dev_2k.tsv", "test_2k.tsv")
    ]


def test_blank_rows_of_the_official_files_are_left_out_and_told(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = shutil.copytree(DATA / "pawsx/x-final/ja", tmp_path / "ja")
    with (data / "translated_train.tsv").open("a", encoding="utf-8") as file:
        file.write("32035\t\t\t0\n")
    main(
        tmp_path / "out", model_name_or_path=encoder, task="paws", data_dir=tmp_path,
        train_languages=["ja"], languages=["ja"], max_steps=1,
    )  # fmt: skip
    assert (
        "left out ja/translated_train.tsv:14: expected a text, got none in column 'sentence1'\n"
        in capsys.readouterr().out
    )


def test_unknown_training_languages_are_told_by_their_flag(encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    flags = arguments(output, model_name_or_path=encoder, train_languages=["xx"])
    code, _, errors = multilingual.launch(SCRIPT, flags)
    assert code == 2
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    known = ", ".join(XNLI_LANGUAGES)
    assert lines == [f"error: --train_languages: XNLI has no language 'xx'; known: {known}"]
    assert not output.exists()


def test_training_learns(encoder: Path, tmp_path: Path) -> None:
    """A model that is trained on the rows of two languages knows the rows of both."""
    data = tmp_path / "x-final"
    for code in ("fr", "de"):
        (data / code).mkdir(parents=True)
        for name in ("translated_train.tsv", "dev_2k.tsv", "test_2k.tsv"):
            shutil.copy(DATA / f"pawsx/x-final/{code}/dev_2k.tsv", data / code / name)
    both = {"train_languages": ["fr", "de"], "languages": ["fr", "de"], "data_dir": tmp_path}
    scores = main(
        tmp_path / "out", model_name_or_path=encoder, task="paws", num_train_epochs=40,
        eval_step=1000, gradient_accumulation_steps=1, **both,
    )  # fmt: skip
    assert scores["average"] >= 0.95


def test_resumed_run_equals_the_unbroken_one(
    encoder: Path, trained: tuple[Path, dict, str], tmp_path: Path
) -> None:
    output, result, _ = trained
    parts = tmp_path / "parts"
    shutil.copytree(output, parts, ignore=shutil.ignore_patterns("model_4", ".*"))
    shutil.copy(output / "model_2" / WEIGHTS, parts)  # as if it had been killed after update 2
    again = main(parts, model_name_or_path=encoder, resume_from_checkpoint="latest")
    assert again == result["metrics"]
    for path in (WEIGHTS, f"model_4/{WEIGHTS}", "model_4/optimizer.safetensors"):
        assert (parts / path).read_bytes() == (output / path).read_bytes()
    losses = [
        [row["loss"] for row in json_lines(folder / "history.jsonl")] for folder in (parts, output)
    ]
    assert losses[0] == losses[1]


def test_nothing_to_do_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(tmp_path / "out", do_train=None, do_eval=None)
    assert "--do_train, --do_eval" in capsys.readouterr().err


MISTAKES = {
    "language": ({"languages": ["en", "jp"]}, r"XNLI has no language 'jp'"),
    "training language": ({"train_languages": ["enn"]}, r"'enn'; did you mean 'en'"),
    "folder": ({"data_dir": "nowhere"}, r"nowhere: no XNLI train in this folder; expected XNLI-MT"),
    "device": ({"device": "gpu"}, r"--device gpu: this PaddlePaddle is a CPU build"),
    "amp": ({"use_amp": "true"}, r"--use_amp: PaddlePaddle has no mixed precision on a CPU"),
    "untrained": ({"do_train": None}, r"trained on the task, it has no .*classifier"),
    "no model": ({"do_train": None, "model_name_or_path": None}, r"no trained model"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str, encoder: Path, tmp_path: Path) -> None:
    changes, message = MISTAKES[case]
    with refused(message) as error:
        main(tmp_path / "out", **{"model_name_or_path": encoder, **changes})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_task_is_refused(
    trained: tuple[Path, dict, str], tmp_path: Path
) -> None:
    with refused(r"expected PAWS-X's labels \(0, 1\), got neutral, "):
        main(tmp_path / "out", do_train=None, task="paws", model_name_or_path=trained[0])


def test_the_best_model_of_another_task_is_not_replaced(
    encoder: Path, trained: tuple[Path, dict, str], tmp_path: Path
) -> None:
    copy = shutil.copytree(trained[0], tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    with pytest.raises(UserError) as refusal:
        main(copy, task="paws", model_name_or_path=encoder)
    assert str(refusal.value) == (
        f"{copy}: there is the best model of another task (labels neutral, entailment, "
        "contradictory), which training on PAWS-X would replace; give each task an `output_dir` "
        "of its own"
    )
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_labels_in_another_order_are_known_by_their_names(
    trained: tuple[Path, dict, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The same model with its classes in the order, and spelling, of most other libraries."""
    output, result, _ = trained
    model = AutoModelForSequenceClassification.from_pretrained(
        output, id2label={0: "Entailment", 1: "neutral", 2: "contradiction"}
    )
    for parameter in (model.classifier.weight, model.classifier.bias):
        parameter.set_value(parameter.numpy()[..., [1, 0, 2]])
    model.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(output).save_pretrained(tmp_path / "other")
    scores = main(tmp_path / "out", do_train=None, model_name_or_path=tmp_path / "other")
    assert scores == result["metrics"]
    assert (
        f"note: {tmp_path / 'other'} has the labels in another order (Entailment, neutral, "
        "contradiction); it is tested by that\n"
    ) in capsys.readouterr().out


ROWS = {  # what line 3 of a file is replaced with
    "train": ("multinli.train.en.tsv", "a\tb", r"multinli\.train\.en\.tsv:3: expected 3 columns"),
    "label": ("multinli.train.en.tsv", "a\tb\tmaybe", r"train\.en\.tsv:3: .*got 'maybe'"),
    "dev": ("xnli.dev.tsv", "ar\tneutral", r"xnli\.dev\.tsv:3: expected 19 columns, got 2"),
    "test": ("xnli.test.tsv", "\t".join(["xx", "neutral", *"abcdefghijklmnopq"]), r":3: .*'xx'"),
}


@pytest.mark.parametrize("case", ROWS)
def test_bad_rows_are_named_before_training(case: str, encoder: Path, tmp_path: Path) -> None:
    name, row, message = ROWS[case]
    for path in (DATA / "xnli").rglob("*.tsv"):
        shutil.copy(path, tmp_path / path.name)
    lines = (tmp_path / name).read_text(encoding="utf-8").split("\n")
    lines[2] = row
    (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    with refused(message):
        main(tmp_path / "out", model_name_or_path=encoder, data_dir=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_missing_test_split_is_named_before_training(encoder: Path, tmp_path: Path) -> None:
    for path in (DATA / "xnli").rglob("*.tsv"):
        if path.name != "xnli.test.tsv":
            shutil.copy(path, tmp_path / path.name)
    output = tmp_path / "out"
    flags = arguments(output, model_name_or_path=encoder, data_dir=tmp_path)
    code, _, errors = multilingual.launch(SCRIPT, flags)
    assert code == 2
    assert re.search(
        r"^error: .*no XNLI test in this folder; expected XNLI-1\.0/xnli\.test", errors
    )
    assert "Traceback" not in errors
    assert not output.exists()
