"""The flags of ConvBERT's pretraining script."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.test_readmes import script_of
from tests.scripts.test_convbert_run_pretrain import (
    SCRIPT,
    arguments,
    corpus,  # noqa: F401  (fixtures)
    models,  # noqa: F401
)


def test_defaults_are_the_original_s(tmp_path: Path) -> None:
    args = script_of(SCRIPT).parse_args(["--input_dir", "x", "--output_dir", str(tmp_path)])
    for name, value in {
        "model_type": "convbert", "model_name_or_path": "convbert-small", "max_seq_length": 128,
        "mask_prob": 0.15, "train_batch_size": 96, "eval_batch_size": 96, "learning_rate": 5e-4,
        "weight_decay": 0.01, "adam_epsilon": 1e-6, "num_train_epochs": 4, "max_steps": -1,
        "warmup_steps": 10000, "logging_steps": 100, "save_steps": 1000, "init_from_ckpt": False,
        "use_amp": False, "scale_loss": 1024, "seed": 42, "eager_run": True, "max_grad_norm": 1.0,
    }.items():  # fmt: skip
        assert getattr(args, name) == value, name


def test_a_row_has_room_for_a_token(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--input_dir", "x", "--output_dir", str(tmp_path), "--max_seq_length"]
    with pytest.raises(SystemExit):
        script_of(SCRIPT).parse_args([*flags, "2"])
    assert "--max_seq_length: expected at least 3" in capsys.readouterr().err
    assert script_of(SCRIPT).parse_args([*flags, "3"]).max_seq_length == 3


def test_new_weights_follow_from_the_seed(
    models: dict[str, Path],  # noqa: F811
    corpus: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """`--from_scratch` takes the shape of a folder and nothing else."""
    (tmp_path / "shape").mkdir()
    shutil.copy(models["convbert"] / "config.json", tmp_path / "shape")
    for name, seed in {"one": 1, "again": 1, "other": 2}.items():
        flags = arguments(
            tmp_path / "shape", corpus, tmp_path / name,
            tokenizer_name=models["convbert"], max_steps=1, seed=seed,
        )  # fmt: skip
        script_of(SCRIPT).main([*flags, "--from_scratch"])
    one, again, other = (
        (tmp_path / name / "model_1.pdparams/model_state.pdparams").read_bytes()
        for name in ("one", "again", "other")
    )
    assert one == again
    assert one != other
