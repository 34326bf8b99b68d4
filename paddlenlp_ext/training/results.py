"""Keep what a run achieved: its history, and its results with a signature.

A signature, after sacreBLEU, names everything that a number depends on, so that two numbers can be
compared, or not: `convbert-small|glue/sst-2|dev|acc|bs256|lr1e-4|ep3|len128|seed42|gpu1|...`. A run
whose length was given in steps has `steps2000` in place of `ep3`, and one that only evaluates has
nothing of training: `model_500|glue/sst-2|dev|acc|len128|gpu1|...`. What is trained otherwise than
by default comes after the length: `...|ep3|cosine|smooth0.1|frozen-layers2|len128|...`.
"""

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files import disk
from paddlenlp_ext.files.scratch import WORK, discard, make_scratch
from paddlenlp_ext.metrics import class_scores
from paddlenlp_ext.process import devices
from paddlenlp_ext.reporting.lines import (
    HISTORY,
    RESULTS,
    Line,
    is_history_row,
    read_history,
    read_lines,
    read_results,
    split_of,
)
from paddlenlp_ext.training.events import Evaluated, Progress, StepDone

logger = logging.getLogger(__name__)


def signature(
    *,
    model: str,
    task: str,
    split: str,
    metric: str,
    max_length: int,
    device: str,
    processes: int = 1,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    changes: Sequence[str] = (),
    seed: int | None = None,
) -> str:
    """Name what a result depends on; what is None took no part in it and is left out.

    A "|" in a name is written as "_", so that parts stay in their places.

    Args:
        model: A preset; of a folder, only its name is kept.
        task: With its collection: "glue/sst-2".
        split: "dev", "dev_matched", ...
        metric: Names of the reported numbers: "acc".
        max_length: Most tokens of an example.
        device: "cpu", "gpu" or "xpu".
        processes: Number of devices.
        batch_size: Examples of an update, over all processes and accumulated batches.
        learning_rate: The highest of the run.
        epochs: Passes over the training data that set the length of the run.
        steps: Updates that set it instead.
        changes: What is trained otherwise than by default: "cosine".
        seed: Of data order, dropout and new weights.
    """
    rate = learning_rate
    parts = (
        Path(model).name or model,
        task.lower(),
        split,
        metric,
        None if batch_size is None else f"bs{batch_size}",
        None if rate is None else "lr" + np.format_float_scientific(rate, trim="-", exp_digits=1),
        None if epochs is None else f"ep{epochs:g}",
        None if steps is None else f"steps{steps}",
        *changes,
        f"len{max_length}",
        None if seed is None else f"seed{seed}",
        f"{devices.kind_of(device)}{processes}",
        f"paddle{_paddle_version()}",
        f"ext{__version__}",
    )
    return "|".join(_part(part) for part in parts if part is not None)


def append_result(
    folder: str | Path, signature: str, metrics: Mapping[str, float], **facts: object
) -> Path:
    """Add a line to the results of a folder, unless it is there: a resumed run measures again.

    What cannot be written is a warning.

    Args:
        folder: The run's output folder.
        signature: What the numbers depend on.
        metrics: The numbers; those of each class are kept as "classes".
        facts: What else is worth keeping: step, loss, examples, seconds.

    Returns:
        The file, `results.jsonl`.
    """
    path = Path(folder) / RESULTS
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    line = _line({"signature": signature, **_numbers(metrics), **facts, "date": date})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = [_measured(row) for row in read_lines(path) if row is not None]
        if _measured(json.loads(line)) not in known:
            with path.open("ab") as file:
                file.write((line if _is_whole(path) else f"\n{line}").encode())
    except OSError as error:
        logger.warning("%s; the result is printed only", disk.unwritten(error, path))
    return path


def append_evaluation(
    folder: str | Path, event: Evaluated, facts: Mapping[str, Any], **more: object
) -> None:
    """Add an evaluation to the results of a folder.

    Args:
        folder: The run's output folder.
        event: Of one split.
        facts: Of the signature, but for split and metric.
        more: What else is worth keeping.
    """
    append_result(
        folder,
        signature(split=event.split, metric="+".join(event.metrics), **facts),
        event.metrics,
        **more,
        loss=event.loss,
        examples=event.examples,
        seconds=round(event.seconds, 2),
    )


def has_results(folder: str | Path, splits: Iterable[str], step: int) -> bool:
    """Return whether a folder has results of a step for all splits."""
    rows = read_results(Path(folder) / RESULTS)
    return {split_of(row) for row in rows if row.get("step") == step} >= {*map(_part, splits)}


def _part(name: str) -> str:
    """Write what may not end a part of a signature."""
    return name.replace("|", "_")


def _numbers(metrics: Mapping[str, float]) -> Line:
    """Return metrics, and those of each class if there are any, as parts of a line."""
    classes = {name: one._asdict() for name, one in class_scores(metrics).items()}
    return {"metrics": dict(metrics)} | ({"classes": classes} if classes else {})


def _measured(result: Line) -> Line:
    others = ("classes", "seconds", "date")  # of which an older version kept no classes
    return {name: fact for name, fact in result.items() if name not in others}


def _is_whole(path: Path) -> bool:
    """Return whether a file ends with a line's end; a process that was killed may leave half."""
    with path.open("rb") as file:
        return (
            not file.seek(0, os.SEEK_END) or (file.seek(-1, os.SEEK_END), file.read())[1] == b"\n"
        )


class History:
    """The losses and evaluations of a run, in `history.jsonl` of its output folder.

    Losses are kept in the file only: a run may have a million updates. The history of an earlier
    run, and one with lines that are no rows of a history, is kept as `history.before-<n>.jsonl`.

    Args:
        folder: The run's output folder.
        progress: Where the run continues: what a run that was stopped later wrote about the time
            after it is dropped. None starts a new history.

    Attributes:
        path: The file.
        evaluations: Its rows of evaluations.

    Raises:
        UserError: The folder cannot be written to.
    """

    def __init__(self, folder: str | Path, progress: Progress | None = None):
        self.path = Path(folder) / HISTORY
        self.evaluations: list[Line] = []
        self._is_written = True
        with _writing(self.path):
            earlier = self._set_aside(is_new=progress is None)
            # In a marked folder, so that a later run knows what a killed one leaves.
            scratch = make_scratch(self.path.parent, HISTORY)
            try:
                rewritten = scratch / WORK / HISTORY
                with rewritten.open("w", encoding="utf-8") as file:
                    for row in () if progress is None else _until(progress, read_history(earlier)):
                        file.write(_line(row))
                        if "split" in row:
                            self.evaluations.append(row)
                os.replace(rewritten, self.path)
            finally:
                discard(scratch)

    def _set_aside(self, *, is_new: bool) -> Path:
        """Keep what would be lost under another name; return where the earlier history is."""
        try:
            bad = sum(row is None or not is_history_row(row) for row in read_lines(self.path))
        except OSError as error:
            logger.warning("%s: cannot be read: %s", self.path, error.strerror)
            bad = 1
        is_there = os.path.lexists(self.path)
        if not is_there or not (bad or (is_new and self.path.stat().st_size)):
            return self.path
        number = 1
        while os.path.lexists(kept := self.path.with_name(f"history.before-{number}.jsonl")):
            number += 1
        os.rename(self.path, kept)
        if not is_new:
            logger.warning(
                "%s: %d lines are no rows of a history and are left out; kept as %s",
                *(self.path, bad, kept.name),
            )
        return kept

    @property
    def rows(self) -> list[Line]:
        """All that was written down."""
        return list(read_history(self.path))

    def since(self, step: int) -> Iterator[Line]:
        """Yield what was written down of a step and of those after it."""
        return (row for row in read_history(self.path) if row["step"] >= step)

    def add(self, event: StepDone | Evaluated) -> Line:
        """Write down an update or an evaluation; what cannot be written is a warning, once.

        Returns:
            The row, as it is read again.
        """
        row: Line = {"step": event.step, "loss": event.loss}
        if isinstance(event, StepDone):
            row |= {"learning_rate": event.learning_rate, "seconds": round(event.seconds, 4)}
        else:
            row |= {"split": event.split, **_numbers(event.metrics)}
            self.evaluations.append(_finite(row))
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row))
            self._is_written = True
        except OSError as error:
            if self._is_written:
                logger.warning("%s; the run goes on without", disk.unwritten(error, self.path))
            self._is_written = False
        finite: Line = _finite(row)
        return finite


def _until(progress: Progress, rows: Iterable[Line]) -> Iterator[Line]:
    here = []
    for row in rows:
        if row["step"] < progress.step:
            yield row
        elif row["step"] == progress.step:
            here.append(row)
    yield from [row for row in here if "split" not in row][-1:]
    yield from [row for row in here if "split" in row][: progress.evaluations]


def _line(row: Line) -> str:
    """Write a row as JSON, which has no numbers that are not finite: null.

    Names of folders that are not UTF-8 are written as JSON's escapes.
    """
    text = json.dumps(_finite(row), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(
            f"{disk.unwritten(error, path)}; checkpoints saved before are whole; make room, "
            "or choose another `output_dir`"
        ) from error


@cache  # it looks through all that is installed, a quarter of a second
def _paddle_version() -> str:
    installed = metadata.packages_distributions().get("paddle", ["paddlepaddle"])
    try:
        return metadata.version(installed[0])
    except metadata.PackageNotFoundError:
        return "-unknown"
