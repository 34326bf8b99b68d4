"""BERT's GLUE script with a fault in it, which the variable FAULT describes.

A program of its own, because a launcher starts it: tests.faults.runs says what it is given.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from paddlenlp_ext.cli import program
from paddlenlp_ext.process import runtime

SCRIPT = Path(__file__).parents[2] / "examples/language_model/bert/run_glue.py"
# Where a run is when the function is called: module, object in it if any, function.
PHASES = {
    "join": ("paddlenlp_ext.training.distributed", "", "start"),
    "data preparation": ("paddlenlp_ext.training.loaders", "", "make_features"),
    "step": ("paddlenlp_ext.training.updates", "Updater", "update"),
    "forward pass": ("paddlenlp_ext.training.finetune", "_TaskObjective", "losses"),
    "evaluation": ("paddlenlp_ext.training.finetune", "", "_score"),
    "save": ("paddlenlp_ext.training.checkpoint", "", "write_state"),
}
ALONE = 35  # seconds that one works alone: gloo waits for 30
HELD = 4  # seconds: a signal reaches the processes through the launcher, which looks now and then


def arm(phase: str, rank: int, calls: int, act: Callable[[], None]) -> None:
    """Act when a phase's function is called for the last of some times, on one process."""
    if int(os.environ.get("PADDLE_TRAINER_ID", "0")) != rank:
        return
    module, holder, name = PHASES[phase]
    owner = importlib.import_module(module)
    owner = getattr(owner, holder) if holder else owner
    original = getattr(owner, name)
    called = 0

    @wraps(original)
    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal called
        called += 1
        if called == calls:
            act()
        return original(*args, **options)

    setattr(owner, name, wrapped)


def action(kind: str, mark: Path) -> Callable[[], None]:
    """Do what is asked for, after the time was noted."""

    def act() -> None:
        mark.write_text(str(time.time()))
        name, _, target = kind.partition(" to ")
        if target == "the machine":  # its launcher first, which would end what is left
            for process in (os.getppid(), os.getpid()):
                os.kill(process, signal.Signals[name])
        elif target == "the launcher":
            os.kill(os.getppid(), signal.Signals[name])
            time.sleep(HELD)
        elif name in signal.Signals.__members__:
            os.kill(os.getpid(), signal.Signals[name])
        elif name == "exit":
            os._exit(7)
        elif name == "wait":
            time.sleep(ALONE)
        elif name == "memory":
            importlib.import_module("paddle").zeros([1 << 45])
        else:
            raise RuntimeError("injected")

    return act


def main() -> object:
    fault = json.loads(os.environ["FAULT"])
    spec = importlib.util.spec_from_file_location("run_glue", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    runtime.tune()
    runtime.import_paddle()
    mark = Path(fault["mark"])
    if not mark.exists():  # once, however often the run is started again
        arm(fault["phase"], fault["rank"], fault["calls"], action(fault["action"], mark))
    return script.main(sys.argv[1:])


if __name__ == "__main__":
    program.run(main)
