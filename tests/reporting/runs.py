"""Folders of runs as training leaves them, without training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LANGUAGES = "en fr es de el bg ru tr ar vi th zh hi sw ur".split()  # noqa: SIM905


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def make_run(
    folder: Path,
    *,
    seed: int = 1,
    splits: Sequence[str] = ("dev",),
    metrics: Sequence[str] = ("acc",),
    rate: str = "2e-5",
    steps: int = 60,
    task: str = "glue/sst-2",
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """A run that was evaluated every 20 steps; without facts, as before there were any."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = 0.4 + math.exp(-step / 20) + random.normal(0, 0.05)
        learning_rate = float(rate) * (1 - step / steps)
        rows.append({"step": step, "loss": loss, "learning_rate": learning_rate, "seconds": 0.125})
        for place, split in enumerate(splits if step % 20 == 0 else ()):
            score = 0.8 - 0.01 * place - 1 / step + random.normal(0, 0.002)
            values = {name: score * 0.9**number for number, name in enumerate(metrics)}
            rows.append({"step": step, "loss": 1 - score, "split": split, "metrics": values})
    write_lines(folder / "history.jsonl", rows)
    signature = f"minilm|{task}|{splits[0]}|{'+'.join(metrics)}|bs8|lr{rate}|len64|seed{seed}|cpu1"
    result = {"signature": signature, "metrics": values, "step": steps, "loss": 0.4}
    write_lines(folder / "results.jsonl", [result])
    if facts is not None:
        (folder / "record.json").write_text(json.dumps(facts), "utf-8")
    return folder


def outcome(labels: Sequence[str], text: str = "a text") -> dict[str, Any]:
    """What is told of a split with three errors."""
    right = 20 * np.eye(len(labels), dtype=int) + 1
    errors = [
        {
            "source": f"dev.tsv:{row}", "text": text, "label": labels[0], "predicted": labels[1],
            "probability": 0.9, "loss": row / 2,
        }
        for row in (2, 3, 5)
    ]  # fmt: skip
    calibration = [[0, 0.0, 0]] * 8 + [[10, 8.5, 7], [30, 28.5, 29]]
    return {
        "labels": [*labels], "confusion": right.tolist(), "calibration": calibration,
        "errors": errors,
    }  # fmt: skip
