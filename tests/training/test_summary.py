"""What a run says of itself on stderr: its plan, its progress, what came of it."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.training.events import Evaluated, Progress, StepDone
from paddlenlp_ext.training.report import Report
from paddlenlp_ext.training.summary import training_memory
from tests.docs.test_readmes import script_of
from tests.scripts.test_bert_run_glue import SCRIPT, arguments, encoder  # noqa: F401
from tests.tiny import SIZES


def test_a_run_says_what_it_will_do_and_what_came_of_it(encoder, tmp_path, capsys):  # noqa: F811
    flags = arguments(encoder, tmp_path / "a b", max_steps=4, save_steps=2, eval_batch_size=5)
    script_of(SCRIPT).main(flags)
    out, err = capsys.readouterr()
    said = dict(re.findall(r"^([a-z ]+): +(.*)$", err, re.MULTILINE))
    assert said["task"] == "glue/RTE, labels entailment, not_entailment"
    assert said["rows"] == "train 40, dev 24; of up to 48 tokens"
    assert said["steps"] == (
        "4, 8 rows each, 0.8 passes over the data, evaluated and saved every 2"
    )
    assert said["device"].startswith("cpu, 1 process")
    assert said["output"] == str(tmp_path / "a b")
    assert not set(said) & {line.partition(":")[0] for line in out.splitlines()}
    rows = (tmp_path / "a b/history.jsonl").read_text().splitlines()
    scores = {r["step"]: r["metrics"]["acc"] for r in map(json.loads, rows) if "split" in r}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert said["result"] == f"step {best} is best: dev acc {scores[best]:.4f}"
    assert said["model"] == str(tmp_path / f"a b/model_{best}")
    assert said["use it"] == f"paddlenlp-ext predict '{tmp_path}/a b/model_{best}' FILE"


def test_what_is_left_of_a_pass_is_an_update(encoder, tmp_path, capsys):  # noqa: F811
    """40 rows are 3 batches of 16, and so 2 updates of up to 2 batches."""
    flags = {"batch_size": 16, "gradient_accumulation_steps": 2, "num_train_epochs": 3}
    script_of(SCRIPT).main(arguments(encoder, tmp_path, save_steps=9, **flags))
    assert "\nsteps:   6, 32 rows each, 3 passes over the data" in capsys.readouterr().err


def test_the_command_names_the_columns_that_were_given(encoder, tmp_path, capsys, monkeypatch):  # noqa: F811
    (tmp_path / "a.csv").write_text("my text,b,label\na,c,x\nd,c,y\ne,c,x\nf,c,y\n")
    flags = arguments(encoder, tmp_path / "out", max_steps=1, save_steps=1)
    at = flags.index("--task_name")
    own = ["--train_file", str(tmp_path / "a.csv"), "--text_column_name=my text"]
    flags = [*flags[:at], *flags[at + 2 :], *own, "--text_pair_column_name", "b"]
    monkeypatch.setattr(sys, "argv", ["run_glue.py", *flags])
    script_of(SCRIPT).main(flags)
    use = f"{tmp_path}/out/model_1 FILE --text_column_name 'my text' --text_pair_column_name b\n"
    assert f"paddlenlp-ext predict {use}" in capsys.readouterr().err


def test_a_run_that_goes_on_says_from_where(encoder, tmp_path, capsys):  # noqa: F811
    flags = arguments(encoder, tmp_path, max_steps=2, save_steps=2)
    script_of(SCRIPT).main(flags)
    capsys.readouterr()
    script_of(SCRIPT).main([*flags, "--resume_from_checkpoint", "latest"])
    assert "steps:   2 from step 2 on, 8 rows each" in capsys.readouterr().err


def test_memory_is_counted_as_published():
    """Of a model whose layers keep nothing but a hidden state, and of one layer that does."""
    model = BertForSequenceClassification(BertConfig(**SIZES))
    count = sum(parameter.size for parameter in model.parameters())
    b, length, h, a, layers = 3, 7, 24, 4, 3
    layer = 2 * b * length * h * (34 + 5 * a * length / h)
    assert training_memory(model, b, length, False) == pytest.approx(16 * count + layers * layer)
    assert (
        training_memory(model, b, length, True) == 16 * count + layers * 4 * b * length * h + layer
    )
    model.backbone.embeddings.word_embeddings.weight.stop_gradient = True
    frozen = 12 * model.backbone.embeddings.word_embeddings.weight.size
    assert training_memory(model, b, length, True) == (
        16 * count - frozen + layers * 4 * b * length * h + layer
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_stdout_its_lines(tmp_path, monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    report = Report(
        tmp_path,
        log_step=lambda event, pace: f"step {event.step}",
        log_evaluation=lambda event, seconds: "evaluated\n",
        logging_steps=1,
        splits=1,
        total_steps=3,
        facts={"model": "m", "task": "t", "max_length": 7, "device": "cpu"},
    )
    report.bar.mininterval = 0
    for step in (1, 2, 3):
        progress = Progress(step)
        report.add(StepDone(step, 3, 0, step, 0.25 * step, 1e-3, 8, 0.1, 0.0, False, progress))
    report.add(Evaluated(3, "dev", 0.5, {"acc": 0.5}, 8, 0.1, progress=Progress(3, 1)))
    report.bar.close()
    assert capsys.readouterr().out == "step 1\nstep 2\nstep 3\nevaluated\n"
    shown = terminal.getvalue()
    assert "2/3" in shown
    assert "loss=0.7500" in shown
    assert "step/s" in shown or "s/step" in shown
