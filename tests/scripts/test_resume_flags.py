"""Every flag of a training script must be as it was in a run that is continued, or is free."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from paddlenlp_ext.training.identity import AFFECTS_RESULT, BATCH, LENGTH
from tests.docs.test_readmes import script_of

ROOT = Path(__file__).parents[2] / "examples/language_model"
SCRIPTS = (
    *("bert/run_glue.py", "bert/run_pretrain.py", "rembert/main.py"),
    *("convbert/run_glue.py", "convbert/run_pretrain.py", "ernie_m/run_classifier.py"),
)
MUST_MATCH = {*AFFECTS_RESULT, *BATCH, *LENGTH, "train_batch_size"}
# What is read, by whom and how fast, what is printed and kept, and what is without effect. Data are
# compared by their digest, and the first weights do not matter to a run that is continued.
FREE = {
    *("data_dir", "input_dir", "eval_dir", "output_dir", "on_bad_row", "token_cache"),
    *("device", "deterministic", "n_gpu", "recompute", "trim_vocab", "scale_loss", "on_non_finite"),
    *(
        "do_train",
        "do_eval",
        "do_predict",
        "submission_dir",
        "eval_step",
        "eval_batch_size",
        "max_eval_samples",
    ),
    *("load_best_model_at_end", "metric_for_best_model", "early_stopping_patience"),
    *(
        "logging_steps",
        "save_steps",
        "keep_checkpoints",
        "error_texts",
        "report_to",
        "verbose",
        "prepare_only",
    ),
    *("resume_from_checkpoint", "init_from_ckpt", "from_scratch", "tokenizer_name"),
    *("train_file", "validation_file", "test_file", "validation_share", "labels"),
    *("text_column_name", "text_pair_column_name", "label_column_name", "language_column_name"),
    *("label_separator", "problem_type"),
    *("eager_run", "fuse_transformer", "profiler_options", "memory_length", "help"),
}
ALSO_FREE = {
    # `--init_from_ckpt` continues the checkpoint that is given as the model.
    "convbert/run_pretrain.py": {"model_name_or_path"},
    "rembert/main.py": {"model_type"},  # there is one
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_flag_that_affects_the_result_must_match(name, monkeypatch):
    script = script_of(ROOT / name)
    parsers = []

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        parsers.append(parser)
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(SystemExit):
        script.parse_args([])
    flags = {action.dest for action in parsers[0]._actions}
    own = set(script.RESUME_MUST_MATCH)
    assert own <= flags
    assert flags - own - MUST_MATCH <= FREE | ALSO_FREE.get(name, set())
