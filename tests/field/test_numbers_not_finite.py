"""What is not finite is neither applied nor kept as a good result, and never written as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import accuracy
from paddlenlp_ext.reporting.plot import plot_curves
from paddlenlp_ext.training.events import Evaluated, StepDone
from paddlenlp_ext.training.finetune import finetune
from paddlenlp_ext.training.losses import cross_entropy
from paddlenlp_ext.training.optimization import adamw, rate_schedule
from paddlenlp_ext.training.report import Report
from paddlenlp_ext.training.results import History, append_result
from paddlenlp_ext.training.updates import NonFiniteLossError, UpdateSettings
from paddlenlp_ext.transformers import BertForSequenceClassification, BertTokenizer
from tests.scripts.test_bert_run_glue import main, tiny_bert
from tests.training.tiny_run import digest, loaders, tiny_model

BAD = [np.nan, np.inf, -np.inf]


def spoilt(value: float, *steps: int) -> Any:
    """A model of which a gradient, but no loss, is not finite at some steps."""
    model, made = tiny_model(), []
    weight = next(p for p in model.parameters() if p.ndim == 2)

    def spoil(gradient: paddle.Tensor) -> paddle.Tensor | None:
        made.append(digest(model))
        if len(made) not in steps:
            return None
        array = gradient.numpy()
        array.flat[3] = value
        return paddle.to_tensor(array)

    weight.register_hook(spoil)
    return model, made


def trained(model: Any, steps: int, max_grad_norm: float, **settings: Any) -> Any:
    return finetune(
        model,
        loaders(37, 3, 8)[0],
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=adamw(model, rate_schedule(0.01, steps), max_grad_norm=max_grad_norm),
        max_steps=steps,
        settings=UpdateSettings(**settings),
    )


@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])
@pytest.mark.parametrize("value", BAD)
def test_a_gradient_that_is_not_finite_stops_before_the_update(value, max_grad_norm):
    model, made = spoilt(value, 2)
    with pytest.raises(NonFiniteLossError, match="step 2: the norm of the gradients is not finite"):
        list(trained(model, 5, max_grad_norm))
    assert digest(model) == made[1] != made[0]


@pytest.mark.parametrize("max_grad_norm", [0.3, 0.0])
def test_an_update_with_a_gradient_that_is_not_finite_can_be_skipped(max_grad_norm):
    model, made = spoilt(np.nan, 3)
    steps = list(trained(model, 5, max_grad_norm, on_non_finite="skip"))
    assert [step.skipped for step in steps] == [False, False, True, False, False]
    assert made[2] == made[3]
    assert len(set(made)) == 4


@pytest.mark.parametrize(("steps", "bad"), [(3, (1, 2, 3)), (8, (3, 4, 5, 6, 7, 8)), (1, (1,))])
def test_skipping_ends_when_hardly_anything_else_happens(steps, bad):
    model, made = spoilt(np.nan, *bad)
    with pytest.raises(UserError, match=r"updates were all left out.*lower `learning_rate`"):
        list(trained(model, steps, 1.0, on_non_finite="skip"))
    assert digest(model) == made[bad[0] - 1]


@pytest.mark.parametrize("choice", ["stop", "skip"])
def test_a_model_with_weights_of_nan_is_named_at_its_first_step(choice, tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    tiny_bert(encoder)
    model = BertForSequenceClassification.from_pretrained(encoder, num_labels=2)
    weight = next(p for name, p in model.named_parameters() if "q_proj.weight" in name)
    weight.set_value(weight * float("nan"))
    model.save_pretrained(tmp_path / "nan")
    BertTokenizer.from_pretrained(encoder).save_pretrained(tmp_path / "nan")
    flags = {"max_seq_length": 32, "batch_size": 16, "max_steps": 3, "save_steps": 1}
    with pytest.raises(UserError, match=r"q_proj\.weight has weights that are not finite"):
        main(tmp_path / "nan", tmp_path / "out", on_non_finite=choice, **flags)
    assert not [path for path in (tmp_path / "out").glob("*") if path.is_dir()]


class Judged:
    """A metric that gives its numbers one after another, and how training ends with it."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def __call__(self, predictions: Any, labels: Any) -> dict[str, float]:
        return {"acc": self.numbers.pop(0)}

    def events(self, **settings: Any) -> Any:
        model = tiny_model()
        train, dev = loaders(37, 9, 8)
        return finetune(
            model,
            train,
            evaluate_on={"dev": dev},
            loss=cross_entropy,
            metric=self,
            optimizer=adamw(model, 0.01),
            max_steps=len(self.numbers),
            evaluate_every=1,
            settings=UpdateSettings(**settings),
        )


def reported(folder: Path, steps: int) -> Report:
    return Report(
        folder,
        log_step=lambda event, pace: "",
        log_evaluation=lambda event, seconds: "",
        logging_steps=1,
        splits=1,
        total_steps=steps,
        facts={"model": "m", "task": "t", "max_length": 8, "device": "cpu"},
    )


def keep(report: Report, events: Any) -> None:
    for event in events:
        report.add(event)


@pytest.mark.parametrize("value", BAD)
def test_an_evaluation_that_is_not_finite_stops_the_run_and_is_not_the_best(value, tmp_path):
    report = reported(tmp_path, 3)
    with pytest.raises(NonFiniteLossError, match="step 2: the evaluation on dev is not finite"):
        keep(report, Judged(0.5, value, 0.6).events())
    assert (report.is_finite(1), report.is_finite(2)) == (True, False)
    assert (report.score(1), report.score(2)) == (0.5, None)
    assert report.is_best(1)
    assert not report.is_best(2)


def test_skipping_goes_on_after_an_evaluation_that_is_not_finite(tmp_path, caplog):
    report = reported(tmp_path, 3)
    keep(report, Judged(0.5, np.nan, 0.6).events(on_non_finite="skip"))
    assert [report.score(step) for step in (1, 2, 3)] == [0.5, None, 0.6]
    assert "step 2: the evaluation on dev is not finite; no checkpoint is saved" in caplog.text
    with pytest.raises(NonFiniteLossError, match="step 2"):
        list(Judged(0.5, np.nan).events(on_non_finite="skip"))


@pytest.mark.parametrize("value", BAD)
def test_numbers_that_are_not_finite_are_null_in_json(value, tmp_path):
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    history = History(tmp_path)
    history.add(StepDone(1, 2, 0, 0, value, 1e-4, 8, 0.1))
    history.add(Evaluated(1, "dev", value, {"acc": value}, 8, 0.1))
    append_result(tmp_path, "a|b", {"acc": value, "f1": 0.5}, loss=value)
    for name in ("history.jsonl", "results.jsonl"):
        for line in (tmp_path / name).read_text().splitlines():
            row = json.loads(line, parse_constant=refuse)
            assert row["loss"] is None
    assert row["metrics"] == {"acc": None, "f1": 0.5}
    assert plot_curves(tmp_path) is not None
