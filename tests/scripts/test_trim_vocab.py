"""The scripts with --trim_vocab save what they save without, also from two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.weights.files import read_weights
from paddlenlp_ext.weights.formats.safe_tensors import read_safetensors
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual, test_bert_run_glue
from tests.scripts.multilingual import DATA, ROOT, json_lines
from tests.scripts.refusals import refused

EXAMPLES = ROOT / "examples/language_model"
COMMON: dict[str, Any] = {
    "max_seq_length": 40,
    "max_train_samples": 40,
    "max_eval_samples": 12,
    "learning_rate": 3e-3,
    "weight_decay": 0.3,
    "num_train_epochs": 1,
    "device": "cpu",
}
# Languages are few, so that some of the words do not occur.
SCRIPTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "ernie_m": (
        "ernie_m/run_classifier.py",
        {"task_type": "cross-lingual-transfer", "batch_size": 8, "languages": ["en", "th"]},
        "ernie_m_final_model_5.pdparams",
    ),
    "xlm_r": (
        "ernie_m/run_classifier.py",
        {"task_type": "translate-train-all", "batch_size": 8, "languages": ["en", "th"],
         "max_steps": 5},
        "ernie_m_final_model_5.pdparams",
    ),
    "rembert": (
        "rembert/main.py",
        {"task": "xnli", "do_train": True, "do_eval": True, "train_batch_size": 4,
         "languages": ["en", "th"], "eval_step": 3},
        "model_5",
    ),
    "bert": (
        "bert/run_glue.py",
        {"model_type": "bert", "task_name": "RTE", "batch_size": 8, "save_steps": 3},
        "model_5",
    ),
}  # fmt: skip


def arguments(encoder: Path, output: Path, family: str, **changes: Any) -> list[str]:
    data = DATA / "glue" if family == "bert" else DATA
    flags = {"model_name_or_path": encoder, "output_dir": output, "data_dir": data}
    return multilingual.command_line(flags | COMMON | SCRIPTS[family][1] | changes)


def run(encoder: Path, output: Path, family: str, **changes: Any) -> dict[str, float]:
    script = script_of(EXAMPLES / SCRIPTS[family][0])
    return script.main(arguments(encoder, output, family, **changes))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp
    return {
        "ernie_m": multilingual.ernie_m(folder("ernie_m")),
        "rembert": multilingual.rembert(folder("rembert")),
        "xlm_r": multilingual.xlm_r(folder("xlm_r")),
        "bert": test_bert_run_glue.tiny_bert(folder("bert")),
    }


def assert_same_checkpoint(left: Path, right: Path, rtol: float, atol: float) -> None:
    def saved(folder: Path) -> dict[str, np.ndarray]:
        weights = read_weights(folder / "model_state.pdparams")
        return weights | read_safetensors(folder / "optimizer.safetensors")

    ours, theirs = saved(left), saved(right)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        if "k_proj.bias" in name:  # moves nothing: its gradient is rounding, which Adam magnifies
            continue
        np.testing.assert_allclose(array, theirs[name], rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("family", SCRIPTS)
def test_checkpoints_and_results_are_the_plain_runs(
    family: str, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plain = run(encoders[family], tmp_path / "plain", family)
    assert "trim_vocab" not in capsys.readouterr().out
    trimmed = run(encoders[family], tmp_path / "trimmed", family, trim_vocab=True)
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("trim_vocab: ")]
    used, total = (int(word.replace(",", "")) for word in line.split() if word[0].isdigit())
    assert 100 < used < total - 100
    assert trimmed == pytest.approx(plain, rel=1e-5)
    name = SCRIPTS[family][2]
    assert_same_checkpoint(tmp_path / "trimmed" / name, tmp_path / "plain" / name, 1e-4, 2e-6)


def test_two_processes_train_the_words_of_both(encoders: dict[str, Path], tmp_path: Path) -> None:
    epsilon = {"adam_epsilon": 1e-6}  # above the rounding of gradients that cancel out
    run(encoders["ernie_m"], tmp_path / "one", "ernie_m", **epsilon)
    halves = arguments(
        encoders["ernie_m"], tmp_path / "two", "ernie_m", batch_size=4, trim_vocab=True, **epsilon
    )
    script = EXAMPLES / SCRIPTS["ernie_m"][0]
    code, printed, errors = multilingual.launch(script, halves, processes=2)
    assert code == 0, errors
    assert printed.count("trim_vocab: ") == 1
    name = SCRIPTS["ernie_m"][2]
    assert_same_checkpoint(tmp_path / "two" / name, tmp_path / "one" / name, 1e-3, 2e-5)
    one, two = (json_lines(tmp_path / n / "results.jsonl")[-1] for n in ("one", "two"))
    assert two["metrics"] == one["metrics"]


def test_half_precision_tables_are_refused(encoders: dict[str, Path], tmp_path: Path) -> None:
    flags = {"trim_vocab": True, "use_amp": "true", "amp_level": "O2"}
    with refused(r"--trim_vocab: keeps float32 tables.*--amp_level O1"):
        run(encoders["ernie_m"], tmp_path / "output", "ernie_m", **flags)
