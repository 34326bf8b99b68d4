"""SIGKILL at random moments, and everything continued.

    python -m tests.faults.kills PROCESSES KILLS FOLDER

A program of its own, because it forks: Paddle is imported once, and every run is a child that has
computed nothing before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.faults.injected import SCRIPT
from tests.faults.runs import encoder, flags, result
from tests.faults.table import Fault, Measured, Scale, all_of, joined
from tests.scripts.test_bert_run_glue import ROOT, script_of
from tests.training.kill_run import kill


def kills(scale: Scale) -> Measured:
    """Kill runs of one process and of two."""
    parts = []
    for processes, count in ((1, scale.of(50, 4)), (2, scale.of(20, 2))):
        folder = scale.folder / str(processes)
        folder.mkdir()
        command = [sys.executable, "-m", "tests.faults.kills", str(processes), str(count)]
        done = subprocess.run(
            [*command, str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )
        if done.returncode:
            return Measured(done.stderr.splitlines()[-1], False)
        report = json.loads(done.stdout.splitlines()[-1])
        same = len(report["digests"]) == 1 and report["losses"] == [1]
        parts.append(all_of(report["kills"] * same, count, f"identical (processes: {processes})"))
    return joined(*parts)


# Flags of the engine that a run must continue with as it began.
ENGINE = {
    "lr_scheduler_type": "cosine", "label_smoothing_factor": 0.1, "class_weights": "balanced",
    "freeze_embeddings": True, "freeze_layers": 1, "metric_for_best_model": "loss",
    "early_stopping_patience": 3, "keep_checkpoints": 2,
}  # fmt: skip

FAULTS = (
    Fault(
        1,
        "SIGKILL at random moments from the start to the last save",
        "every run continues without help to the same losses, weights and optimizer state",
        kills,
    ),
)


if __name__ == "__main__":
    processes, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    script = script_of(SCRIPT)
    encoder(folder)

    def train(processes: int, output: Path) -> dict[str, Any]:
        given = flags(
            folder, output, processes, resume_from_checkpoint="latest", save_steps=2, **ENGINE
        )
        script.main(given)
        digest, losses = result(output)
        for step, loss in enumerate(losses, start=1):
            print(f"STEP {step} {loss!r}", flush=True)
        return {"digest": digest}

    print(json.dumps(kill(train, processes, count, folder)))
