"""The ERNIE-M script on sample rows with a tiny model: languages, files, log lines, mistakes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.tasks.cross_lingual import XNLI_LANGUAGES, XNLI_TABLE_ORDER
from paddlenlp_ext.transformers import AutoModelForSequenceClassification
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.multilingual import DATA, ROOT, json_lines, visible
from tests.scripts.refusals import refused

SCRIPT = ROOT / "examples/language_model/ernie_m/run_classifier.py"
STEP = re.compile(
    r"global step \d+/\d+, epoch: \d+, batch: \d+, rank_id: 0, loss: \d+\.\d{6}, "
    r"lr: \d\.\d{10}, speed: \d+\.\d{4} step/s"
)
EVALUATION = re.compile(
    r"\[([A-Z]{2})\] eval loss: \d\.\d{6}, acc: [01]\.\d+, eval done total : \d+\.\d+ s"
)
WEIGHTS = "model_state.pdparams"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multilingual.ernie_m(tmp_path_factory.mktemp("encoder"))


def arguments(encoder: Path, output: Path, **changes: Any) -> list[str]:
    flags = {
        "task_type": "cross-lingual-transfer",
        "model_name_or_path": encoder,
        "output_dir": output,
        "data_dir": DATA,
        "max_seq_length": 48,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_steps": 2,
        "device": "cpu",
    }
    return multilingual.command_line(flags | changes)


def main(*args: Any, **changes: Any) -> dict[str, float]:
    return script_of(SCRIPT).main(arguments(*args, **changes))


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """A run of four updates with two evaluations: its folder, its result and what it printed."""
    output = tmp_path_factory.mktemp("run") / "output"
    flags = arguments(encoder, output, memory_length=128)
    code, printed, errors = multilingual.launch(SCRIPT, flags)
    assert code == 0, errors
    return output, json_lines(output / "results.jsonl")[-1], printed


def test_log_lines(trained: tuple[Path, dict, str]) -> None:
    _, result, printed = trained
    lines = printed.splitlines()
    assert lines[0] == "note: --memory_length is accepted and has no effect, as in the original"
    steps = [line for line in lines if line.startswith("global step ")]
    assert [bool(STEP.fullmatch(line)) for line in steps] == [True] * 4
    assert [line.split(",")[0] for line in steps] == [f"global step {n}/4" for n in range(1, 5)]
    evaluations = [EVALUATION.fullmatch(line) for line in lines if "eval" in line]
    languages = [code.upper() for code in XNLI_LANGUAGES]  # twice dev, then test
    assert [found and found[1] for found in evaluations] == languages * 3
    header, _, row = lines[-3:]
    assert header == f"| Model | {' | '.join(XNLI_TABLE_ORDER)} | Avg |"
    numbers = [float(number) for number in row.split(" | ")[1:-1]]
    expected = [100 * result["metrics"][code] for code in XNLI_TABLE_ORDER]
    np.testing.assert_allclose(numbers, expected, atol=0.051)


def test_files(trained: tuple[Path, dict, str]) -> None:
    output, result, _ = trained
    assert visible(output) == {
        "ernie_m_ft_model_2.pdparams", "ernie_m_final_model_4.pdparams", "latest", "best",
        "history.jsonl", "results.jsonl", "curves.png", "record.json", "outcomes.json",
    }  # fmt: skip
    saved = visible(output / "ernie_m_final_model_4.pdparams")
    assert saved >= {"config.json", WEIGHTS, "vocab.txt", "sentencepiece.bpe.model"}
    assert result["metrics"].keys() == {"acc", "average", *XNLI_LANGUAGES}
    assert "|xnli/cross-lingual-transfer|test|acc|bs16|lr3e-3|ep1|len48|" in result["signature"]
    model = AutoModelForSequenceClassification.from_pretrained(
        output / "ernie_m_final_model_4.pdparams"
    )
    assert model.config.label_names == ("entailment", "neutral", "contradiction")


def test_learning_rate_warms_up_and_falls(trained: tuple[Path, dict, str]) -> None:
    """A tenth of four updates is no update, so the rate falls from the first on."""
    rates = [float(found) for found in re.findall(r"lr: ([\d.]+),", trained[2])]
    np.testing.assert_allclose(rates, [2.25e-3, 1.5e-3, 0.75e-3, 0.0], atol=1e-10)


def test_translate_train_all(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Trains on all languages: 60 rows in English and 12 in each of the other fourteen."""
    changes = {"task_type": "translate-train-all", "save_steps": 1000, "batch_size": 24}
    assert main(encoder, tmp_path, **changes).keys() == {"acc", "average", *XNLI_LANGUAGES}
    printed = capsys.readouterr().out
    assert "global step 10/10, " in printed  # 228 rows
    assert f"| {encoder.name}, translate-train-all | " in printed


def test_training_learns_every_language(encoder: Path, tmp_path: Path) -> None:
    """A model that is trained on the rows of three languages knows the rows of all three."""
    languages = ("en", "th", "ur")
    data = tmp_path / "data"
    data.mkdir()
    lines = (DATA / "xnli/XNLI-1.0/xnli.test.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines[1:] if line.split("\t")[0] in languages]
    for split in ("dev", "test"):
        (data / f"xnli.{split}.tsv").write_text("\n".join([lines[0], *rows]), encoding="utf-8")
    for code in languages:
        fields = [row.split("\t") for row in rows if row.startswith(f"{code}\t")]
        text = "".join(f"{row[6]}\t{row[7]}\t{row[1]}\n" for row in fields)
        path = data / f"multinli.train.{code}.tsv"
        path.write_text(f"premise\thypo\tlabel\n{text}", encoding="utf-8")
    scores = main(
        encoder, tmp_path / "out", task_type="translate-train-all", data_dir=data,
        languages=languages, num_train_epochs=50, layerwise_decay=1.0, save_steps=1000,
    )  # fmt: skip
    assert scores["average"] >= 0.95


def test_layerwise_decay_reaches_the_optimizer(encoder: Path, tmp_path: Path) -> None:
    """With a decay of 0 everything below the pooler stays as it was."""
    main(encoder, tmp_path, layerwise_decay=0.0, max_steps=1, max_eval_samples=1)
    for row in json_lines(tmp_path / "results.jsonl"):
        assert "|acc|bs16|lr3e-3|steps1|len48|" in row["signature"]  # not epochs
    before = paddle.load(str(encoder / WEIGHTS))
    after = paddle.load(str(tmp_path / "ernie_m_final_model_1.pdparams" / WEIGHTS))
    for name, array in before.items():
        same = np.array_equal(array.numpy(), after[f"ernie_m.{name}"].numpy())
        assert same == (not name.startswith("pooler.")), name


def test_resumed_run_equals_the_unbroken_one(
    encoder: Path, trained: tuple[Path, dict, str], tmp_path: Path
) -> None:
    output, result, _ = trained
    parts = tmp_path / "parts"
    shutil.copytree(output, parts, ignore=shutil.ignore_patterns("*final*", ".*"))
    again = main(encoder, parts, resume_from_checkpoint="latest")
    assert again == result["metrics"]
    for name in (WEIGHTS, "optimizer.safetensors"):
        path = f"ernie_m_final_model_4.pdparams/{name}"
        assert (parts / path).read_bytes() == (output / path).read_bytes()


def test_a_finished_run_tests_again(
    encoder: Path, trained: tuple[Path, dict, str], tmp_path: Path
) -> None:
    """Killed after training and before the end of the test, a run need not train again."""
    copy = tmp_path / "copy"
    shutil.copytree(trained[0], copy, ignore=shutil.ignore_patterns("*_ft_*", ".*"))
    assert main(encoder, copy, resume_from_checkpoint="latest") == trained[1]["metrics"]


def test_two_processes_change_nothing(
    encoder: Path, trained: tuple[Path, dict, str], tmp_path: Path
) -> None:
    """Two launched processes train on the same batches and test to exactly the same numbers."""
    output = tmp_path / "out"
    flags = arguments(encoder, output, batch_size=8)
    code, printed, errors = multilingual.launch(SCRIPT, flags, processes=2)
    assert code == 0, printed + errors
    rows, expected = (json_lines(folder / "results.jsonl") for folder in (output, trained[0]))
    assert [row["metrics"] for row in rows] == [row["metrics"] for row in expected]
    np.testing.assert_allclose(
        [row["loss"] for row in rows], [row["loss"] for row in expected], rtol=1e-5
    )


MISTAKES = {
    "language": ({"languages": ["en", "jp"]}, r"XNLI has no language 'jp'"),
    "folder": ({"data_dir": "nowhere"}, r"nowhere: no XNLI train in this folder; expected XNLI-MT"),
    "device": ({"device": "gpu"}, r"--device gpu: this PaddlePaddle is a CPU build"),
    "amp": ({"use_amp": "true"}, r"--use_amp: PaddlePaddle has no mixed precision on a CPU"),
    "model": ({"model_name_or_path": "ernie-m-bse"}, r"did you mean 'ernie-m-base'"),
    "resume": ({"resume_from_checkpoint": "ernie_m_ft_model_7.pdparams"}, r"ft_model_7"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str, encoder: Path, tmp_path: Path) -> None:
    changes, message = MISTAKES[case]
    with refused(message) as error:
        main(encoder, tmp_path / "out", **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_language_is_one_line_and_exit_code_2(encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(DATA / "xnli", data)
    (data / "XNLI-MT-1.0/multinli/multinli.train.sw.tsv").unlink()
    output = tmp_path / "out"
    flags = arguments(encoder, output, data_dir=data, task_type="translate-train-all")
    code, _, errors = multilingual.launch(SCRIPT, flags)
    assert code == 2
    found = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(found) == 1
    assert "multinli.train.sw.tsv: no such file, while other languages of XNLI" in found[0]
    assert "Traceback" not in errors
    assert not output.exists()
