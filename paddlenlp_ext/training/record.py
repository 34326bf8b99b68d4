"""What was run, where, and how far it has come: `record.json` and `outcomes.json` for reports.

Both are written whole, whenever a step has been evaluated, so that they can be read at any time.
What cannot be written is a warning, and the run goes on.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import as_line, one_line
from paddlenlp_ext.files import disk
from paddlenlp_ext.process import devices, runtime
from paddlenlp_ext.process.signals import Terminated
from paddlenlp_ext.reporting.lines import ENDED_WELL, OUTCOMES, RECORD, RUN, read_facts
from paddlenlp_ext.training import distributed, folders, outcomes
from paddlenlp_ext.training.events import Evaluated, Predicted, Progress, StepDone

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.base import Tokenizer
    from paddlenlp_ext.training.loaders import RunData

FORMAT = "paddlenlp_ext run 1"  # of both files
CONSOLE = "paddlenlp-ext"

Object = dict[str, Any]

logger = logging.getLogger(__name__)


class Record:
    """Keeps what reports tell of a run besides its history and results; on the first process only.

    Args:
        folder: The run's.
        facts: What is run, as JSON values.
        resume: Where the run continues; its earlier starts, times, outcomes and best step are kept.
        labels: Their names, in the order of the logits that `columns` gives.
        columns: Of the logits, in the order of the labels; None for all as they are.
        describe: Tells of the rows of each split.
        judge: Sums up what a model says of a split, where that is no label: of its logits.
    """

    def __init__(
        self,
        folder: Path,
        facts: Mapping[str, Any],
        *,
        resume: Progress | None,
        labels: Sequence[str] = (),
        columns: Sequence[int] | None = None,
        describe: Mapping[str, outcomes.Describe] | None = None,
        judge: Mapping[str, Callable[[Any], Object]] | None = None,
    ) -> None:
        self.folder = folder
        before = read_facts(folder / RUN, RECORD) if resume else {}
        before = before if before.get("format") == FORMAT else {}
        start = {"date": _now(), "step": resume.step if resume else 0, "command": command()}
        self._facts: Object = {
            "format": FORMAT,
            **facts,
            "labels": [*labels],
            "versions": versions(),
            "process": {"number": os.getpid(), "host": socket.gethostname()},
            "starts": [*before.get("starts", ()), start],
            "evaluation_seconds": before.get("evaluation_seconds", 0.0),
        }
        best_step = before.get("best_step")
        if resume and best_step is not None and best_step <= resume.step:
            self._facts["best_step"] = best_step  # until another is evaluated
        kept = read_facts(folder / OUTCOMES) if resume else {}
        self._outcomes: Object = kept if kept.get("format") == FORMAT else {"format": FORMAT}
        self._labels, self._columns = labels, columns
        self._describe, self._judge = describe or {}, judge or {}
        self._now: Object = {}  # outcomes of the step that is being evaluated, by split
        self._step = resume.step if resume else 0
        self._unwritten: set[str] = set()
        for name in (RUN, OUTCOMES):
            self._keep_others(folder / name)
        self._write(RUN, self._facts)
        if not kept and (folder / OUTCOMES).exists():  # of an earlier run
            self._write(OUTCOMES, self._outcomes)

    def add(self, event: StepDone | Evaluated) -> None:
        """Take note of an update, and of a split that was evaluated."""
        if event.step != self._step:
            self._step, self._now = event.step, {}
        if isinstance(event, StepDone):
            return
        self._facts["evaluation_seconds"] += round(event.seconds, 2)
        predicted = event.predicted
        if predicted is None or not event.is_finite:
            return
        if judge := self._judge.get(event.split):
            self._now[event.split] = judge(predicted.logits)
            return
        if self._columns is not None:
            logits = np.asarray(predicted.logits)[..., [*self._columns]]
            predicted = Predicted(logits, predicted.labels)
        describe = self._describe.get(event.split, lambda row: {"source": f"row {row + 1}"})
        found = outcomes.outcome(predicted, self._labels, describe)
        if found is not None:
            self._now[event.split] = found

    def evaluated(self, step: int, best_step: int | None) -> None:
        """Write down what is known after all splits of a step were evaluated."""
        if self._now:
            found = {"step": step, "splits": self._now}
            self._outcomes["last"] = found
            if best_step == step:
                self._outcomes["best"] = found
            self._write(OUTCOMES, self._outcomes)
        self._facts["best_step"] = best_step
        self._write(RUN, self._facts)

    def end(self, error: BaseException | None) -> None:
        """Write down how the run has ended."""
        if isinstance(error, KeyboardInterrupt):
            number = f"signal {error.number}" if isinstance(error, Terminated) else "Ctrl-C"
            how = f"stopped by {number}"
        elif error is not None:
            how = f"failed: {one_line(str(error) or type(error).__name__)}"
        else:
            how = ENDED_WELL[self._step < self._facts["total_steps"]]
        self._write(RUN, {**self._facts, "ended": how})

    def _keep_others(self, path: Path) -> None:
        """Keep a file that was not written here under another name."""
        with suppress(OSError):
            if os.path.lexists(path) and read_facts(path).get("format") != FORMAT:
                kept = folders.set_aside(path, path)
                logger.warning("%s was not written here; it is kept as %s", path, kept.name)

    def _write(self, name: str, value: Object) -> None:
        path = self.folder / name
        if name == RUN:
            value = {**value, **used_memory(), "date": _now()}
        try:
            text = json.dumps(value, ensure_ascii=False, indent=1 if name == RUN else None)
            with disk.replacing(path) as temporary:
                temporary.write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")
            self._unwritten.discard(name)
        except OSError as error:
            if name not in self._unwritten:
                logger.warning("%s; the run goes on without", disk.unwritten(error, path))
            self._unwritten.add(name)


def descriptions(
    data: RunData[Any], tokenizer: Tokenizer, *, has_texts: bool
) -> dict[str, outcomes.Describe]:
    """Tell of the rows that are evaluated, by split: where they stand, and their texts if wanted.

    A row whose text is not known is told by its tokens.
    """

    def describe(split: str, row: int) -> Object:
        known = data.rows.get(split)
        source, text = known(row) if known else (f"row {row + 1}", "")
        if not has_texts:
            return {"source": source}
        if not text:
            text = tokenizer.decode(data.evaluate_on[split].features[row].input_ids)
        return {"source": source, "text": as_line(text, outcomes.LONGEST)}

    return {split: partial(describe, split) for split in data.evaluate_on}


def command() -> str:
    """Return what this process was started by."""
    name, *words = sys.argv
    is_console = name.startswith(f"{CONSOLE} ") or Path(name).name == CONSOLE
    return f"{name if is_console else f'python {shlex.quote(name)}'} {shlex.join(words)}".strip()


def versions() -> Object:
    """Return the versions of what computes."""
    found = {"python": platform.python_version(), "paddlenlp_ext": __version__}
    for name in ("paddlepaddle", "paddlepaddle-gpu", "numpy", "tokenizers", "sentencepiece"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def machine(device: str) -> Object:
    """Describe the machine."""
    found: Object = {
        "device": device,
        "processes": distributed.world_size(),
        "processor": runtime.processor().get("model name") or platform.processor(),
        "cores": runtime.available_cores(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "system": platform.platform(),
    }
    with suppress(ValueError, OSError, AttributeError):
        bytes_of_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{bytes_of_memory / 2**30:.1f} GiB"
    kind = devices.kind_of(device)
    if name := devices.model_of(kind):
        found[kind] = name
    return found


def used_memory() -> Object:
    """Return the most bytes that this process has had in use, and on its GPU."""
    found: Object = {}
    with suppress(ImportError):  # Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if peak := devices.peak_memory(devices.current().kind):
        found["device_memory"] = peak
    return found


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
