"""A run that was stopped before its test is not taken for one that has been measured."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import continued_pretraining as experiment


def test_only_what_was_tested_is_measured(tmp_path: Path) -> None:
    assert experiment.test_metrics(tmp_path) is None
    results = tmp_path / "results.jsonl"
    dev = {"signature": "model_200|xnli/x|dev_en|acc|seed5", "metrics": {"acc": 0.5}}
    results.write_text(json.dumps(dev) + "\n")
    assert experiment.test_metrics(tmp_path) is None
    test = {"signature": "model_200|xnli/x|test|acc|seed5", "metrics": {"average": 0.25}}
    results.write_text(results.read_text() + json.dumps(test) + "\n")
    assert experiment.test_metrics(tmp_path) == {"average": 0.25}
