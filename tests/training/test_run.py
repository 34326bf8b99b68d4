"""The set-up of a run: settings from flags, its order, and when a checkpoint is due."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.training.events import Evaluated, Interrupted, Progress, StepDone
from paddlenlp_ext.training.loaders import RunData
from paddlenlp_ext.training.run import Run, Training
from paddlenlp_ext.training.settings import RunSettings

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
FLAGS: dict[str, Any] = {
    "model_name_or_path": "{folder}/model", "output_dir": "{folder}/out", "device": "cpu",
    "batch_size": 3, "learning_rate": 0.1, "num_train_epochs": 2, "logging_steps": 1,
    "save_steps": 2, "max_steps": -1, "max_seq_length": 7, "n_gpu": 0, "verbose": False,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/vocab.txt").write_text("\n".join(WORDS) + "\n")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(WORDS), intermediate_size=5, **sizes)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    return tmp_path


def settings(folder: Path, **changes: Any) -> RunSettings:
    flags = {
        name: value.format(folder=folder) if isinstance(value, str) else value
        for name, value in FLAGS.items()
    }
    return RunSettings.from_flags(flags, **changes)


def rows(count: int) -> list[Features]:
    return [Features(np.array([2, 5 + n % 8, 3], np.int32), None, n % 2) for n in range(count)]


def data(splits: int = 1, digest: str = "d") -> RunData[Loader]:
    train = Loader(rows(10), BatchOrder(10, 3), pad_token_id=0)
    held_out = Loader(rows(4), EvaluationOrder(4, 3), pad_token_id=0)
    return RunData(train, {f"dev_{n}": held_out for n in range(splits)}, [""] * 10, 7, digest)


def prepare(run: Run, found: RunData[Loader]) -> Training:
    model = BertForSequenceClassification.from_pretrained(run.source)
    tokenizer = BertTokenizer.from_pretrained(run.vocabulary)
    return run.prepare(
        model, tokenizer, found, task="t",
        log_step=lambda event, pace: "", log_evaluation=lambda event, seconds: "",
    )  # fmt: skip


def step_done(step: int) -> StepDone:
    return StepDone(step, 8, 0, step - 1, 1.0, 0.1, 3, 0.1, progress=Progress(step))


def evaluated(step: int, number: int, acc: float) -> Evaluated:
    progress = Progress(step, number + 1)
    return Evaluated(step, f"dev_{number}", 1.0, {"acc": acc, "f1": 0.0}, 4, 0.1, progress)


def test_settings_take_the_flags_of_their_names(folder):
    found = settings(folder, batch_size=5, adam_betas=(0.9, 0.99))
    assert (found.save_steps, found.batch_size, found.adam_betas) == (2, 5, (0.9, 0.99))
    assert not hasattr(found, "n_gpu")
    with pytest.raises(AttributeError):
        found.batch_size = 1  # type: ignore[misc]


def test_an_updates_batches_and_epochs_make_the_length(folder):
    with Run(settings(folder, gradient_accumulation_steps=3), {}) as run:
        training = prepare(run, data())
    assert training.total_steps == 2 * 2  # 10 rows, 9 an update
    assert training.updates.accumulate == 3


def test_a_checkpoint_is_due_after_the_last_split_and_when_interrupted(folder):
    with Run(settings(folder), {}) as run:
        training = prepare(run, data(splits=2))
    due = training.is_checkpoint_due
    assert [due(step_done(step)) for step in (1, 2, 8)] == [False] * 3
    assert [due(evaluated(2, number, 0.5)) for number in (0, 1)] == [False, True]
    assert due(Interrupted(3, 15, Progress(3)))


def test_without_a_split_it_is_due_after_the_same_steps(folder):
    with Run(settings(folder), {}) as run:
        training = prepare(run, data(splits=0))
    assert [training.is_checkpoint_due(step_done(step)) for step in (1, 2, 3, 8)] == [
        False, True, False, True,
    ]  # fmt: skip


def test_a_last_evaluation_that_was_interrupted_is_begun_again(folder):
    with Run(settings(folder), {}) as run:
        training = prepare(run, data(splits=2))
        training.report.add(step_done(8))
        training.report.add(evaluated(8, 0, 0.75))
        training.save("model_8", Interrupted(8, 15, Progress(8, 1)))
    with Run(settings(folder, resume_from_checkpoint="latest"), {}) as run:
        training = prepare(run, data(splits=2))
        assert training.progress == Progress(8, 0)
        assert training.report.score(8) is None
        training.report.add(evaluated(8, 0, 0.75))
        training.report.add(evaluated(8, 1, 0.25))
        assert training.report.score(8) == 0.5
    lines = (folder / "out/results.jsonl").read_text().splitlines()
    assert [json.loads(line)["metrics"]["acc"] for line in lines] == [0.75, 0.25]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_complete_run_without_its_results_is_evaluated_again(folder, kept):
    """Its disk was full, or somebody has deleted them."""
    with Run(settings(folder), {}) as run:
        training = prepare(run, data(splits=2))
        training.report.add(step_done(8))
        for number, acc in enumerate((0.75, 0.25)):
            training.report.add(evaluated(8, number, acc))
        training.save("model_8", evaluated(8, 1, 0.25))
    path = folder / "out/results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:kept]))
    with Run(settings(folder, resume_from_checkpoint="latest"), {}) as run:
        assert prepare(run, data(splits=2)).progress == Progress(8, 2 if kept == 2 else 0)


@pytest.mark.parametrize("patience", [0, 1, 2])
@pytest.mark.parametrize("has_results", [True, False])
def test_a_run_that_is_over_without_its_results_is_evaluated_again(folder, patience, has_results):
    with Run(settings(folder, early_stopping_patience=1), {}) as run:
        training = prepare(run, data())
        for step, acc in ((2, 0.75), (4, 0.5)):
            training.report.add(step_done(step))
            training.report.add(evaluated(step, 0, acc))
            training.save(f"model_{step}", evaluated(step, 0, acc))
    path = folder / "out/results.jsonl"
    assert len(path.read_text().splitlines()) == 1
    if not has_results:
        path.unlink()
    resumed = {"resume_from_checkpoint": "latest", "early_stopping_patience": patience}
    with Run(settings(folder, **resumed), {}) as run:
        training = prepare(run, data())
        is_over_without = patience == 1 and not has_results
        assert training.progress == Progress(4, 0 if is_over_without else 1)
        if is_over_without:
            training.report.add(evaluated(4, 0, 0.5))
            assert training.report.is_over(4)
    assert path.exists() == (has_results or is_over_without)


def test_a_resumed_run_must_have_the_same_data_and_length(folder):
    with Run(settings(folder), {"task": "x"}) as run:
        prepare(run, data()).save("model_2", evaluated(2, 0, 0.5))
    resumed = {"resume_from_checkpoint": "latest"}
    with (
        Run(settings(folder, **resumed), {"task": "x"}) as run,
        pytest.raises(UserError, match=r"data of digest d \(now e\)"),
    ):
        prepare(run, data(digest="e"))
    with (
        Run(settings(folder, **resumed, max_steps=9), {"task": "x"}) as run,
        pytest.raises(UserError, match=r"8 steps in all \(now 9\)"),
    ):
        prepare(run, data())
    run = Run(settings(folder, **resumed), {"task": "y"})
    with pytest.raises(UserError, match=r"`task` 'x' \(now 'y'\)"), run:
        pass
    Run(settings(folder), {}).__enter__().checkpoints.close()  # the folder is not locked


def test_trimmed_tables_stay_float32(folder):
    amp = {"trim_vocab": True, "use_amp": True, "amp_level": "O2"}
    with (
        Run(settings(folder, **amp), {}) as run,
        pytest.raises(UserError, match=r"`trim_vocab`: keeps float32 tables.*`amp_level` O1"),
    ):
        prepare(run, data())
