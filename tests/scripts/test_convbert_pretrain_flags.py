"""The flags of ConvBERT's pretraining script."""

from __future__ import annotations

from pathlib import Path

from tests.docs.test_readmes import script_of
from tests.scripts.test_convbert_run_pretrain import SCRIPT


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
