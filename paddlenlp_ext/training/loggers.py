"""Loggers that people have, fed with the rows of `history.jsonl`: TensorBoard, VisualDL, wandb.

Scalars are called as transformers calls them: "train/loss", "eval/acc". What a run writes that
continues stands there once, also where a killed one had gone further than its checkpoint:

- TensorBoard is told from which step on earlier files do not count (`purge_step` of others).
- VisualDL shows whatever its file holds, so the file is written anew, from the history.
- wandb continues the run of the same id and knows how far it came. Offline it does not, and a
  killed process may take its last rows along, so there, too, the history is written anew.

A logger that fails is left out of the rest of the run, with one warning: training goes on.

The flags import this file, so that it imports nothing heavy: `--help` is there at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from paddlenlp_ext.errors import UserError, one_line
from paddlenlp_ext.process.redaction import hide

if TYPE_CHECKING:
    from paddlenlp_ext.reporting.lines import Line
    from paddlenlp_ext.training.results import History

NONE = "none"
PROJECT = "paddlenlp-ext"  # of wandb, unless WANDB_PROJECT names one

logger = logging.getLogger(__name__)


def chosen(text: str) -> tuple[str, ...]:
    """Parse names of loggers with commas between them; "none" is no logger.

    Raises:
        UserError: There is no such logger, or it is not installed.
    """
    names = dict.fromkeys(name.strip().lower() for name in text.split(","))
    found = tuple(name for name in names if name not in ("", NONE))
    for name in found:
        if name not in LOGGERS:
            raise UserError(f"`report_to`: expected some of {', '.join(LOGGERS)}, got {name!r}")
        if find_spec(name) is None:
            raise UserError(f"`report_to`: {name} is not installed; {_cure(name)}")
    return found


def require(names: Sequence[str]) -> None:
    """Import loggers, so that one that does not work is known before a run begins.

    Raises:
        UserError: One is not there, or cannot be imported.
    """
    for name in chosen(",".join(names)):
        _import(name)


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:  # protobuf's are TypeErrors
        raise UserError(f"`report_to`: {name} fails ({error}); {_cure(name)}") from error


def _cure(name: str) -> str:
    return f"pip install 'paddlenlp-ext[{name}]'"


def scalars(row: Line, steps_per_epoch: float) -> dict[str, float]:
    """Name the numbers of a row of a history; those that are not finite are left out.

    Args:
        row: Of an update or an evaluation. The metrics of split "dev" are "eval/acc", of
            "dev_matched" "eval/matched_acc", of "test_de" "test/de_acc".
        steps_per_epoch: Updates.
    """
    if "split" not in row:
        found = {f"train/{name}": row.get(name) for name in ("loss", "learning_rate", "grad_norm")}
        found["train/epoch"] = row["step"] / steps_per_epoch
    else:
        kind, _, part = row["split"].partition("_")
        before = f"{'eval' if kind == 'dev' else kind}/{part}{'_' * bool(part)}"
        found = {f"{before}loss": row["loss"]}
        found |= {before + name.replace(" ", "_"): v for name, v in row["metrics"].items()}
    return {name: float(value) for name, value in found.items() if value is not None}


class Logger(Protocol):
    """What is told of a run; whatever it raises is its end.

    Attributes:
        reached: Steps up to this one are there already.
    """

    reached: int

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars of a step; steps never become less."""

    def close(self, *, failed: bool) -> None:
        """Write down what is left."""


class TensorBoard:
    """Event files in `tensorboard` of the output folder, which are whole after every row."""

    def __init__(self, output_dir: Path, step: int | None, run: str, facts: Mapping[str, Any]):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = _place(output_dir / "tensorboard", step)
        is_there = next(folder.glob("events.*"), None) is not None
        self.reached = step - 1 if step is not None and is_there else -1
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer = EventFileWriter(str(folder))
        if is_there:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=self.reached + 1, file_version="brain.Event:2")
            self._write(step=self.reached + 1, session_log=start)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write an event, down to the file."""
        pairs = [self._summary.Value(tag=tag, simple_value=one) for tag, one in values.items()]
        self._write(step=step, summary=self._summary(value=pairs))
        self._writer.flush()

    def close(self, *, failed: bool) -> None:
        """Close the file."""
        self._writer.close()

    def _write(self, **what: Any) -> None:
        self._writer.add_event(self._event(wall_time=time.time(), **what))


class VisualDL:
    """A file of records in `visualdl` of the output folder."""

    reached = -1

    def __init__(self, output_dir: Path, step: int | None, run: str, facts: Mapping[str, Any]):
        from visualdl import LogWriter

        folder = _place(output_dir / "visualdl", step)
        for earlier in folder.glob("*vdlrecords*"):
            earlier.unlink()
        self._writer = LogWriter(logdir=str(folder))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write a record each, down to the file."""
        for tag, value in values.items():
            self._writer.add_scalar(tag=tag, value=value, step=step)
        self._writer.flush()

    def close(self, *, failed: bool) -> None:
        """Close the file."""
        self._writer.close()


class WandB:
    """A run of wandb, which sends it to its server, or with WANDB_MODE=offline keeps it in `wandb`.

    It takes all scalars of a step at once, and then no more of that step. A run that fails, or is
    stopped, may have more to say of its last step when it continues, and leaves that open.
    """

    def __init__(self, output_dir: Path, step: int | None, run: str, facts: Mapping[str, Any]):
        import wandb

        run = os.environ.get("WANDB_RUN_ID", run)
        for earlier in (output_dir / "wandb").glob(f"offline-run-*-{escape(run)}"):
            earlier.rename(earlier.with_name(f"before-{earlier.name}"))  # `wandb sync` passes by
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", output_dir.resolve().name),
            id=run,
            resume="allow",
            dir=str(output_dir),
            config=dict(facts),
            settings=wandb.Settings(console="off"),  # log lines stay what they are
        )
        self.reached = self._run.step - 1
        self._step, self._values = -1, dict[str, float]()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Keep them until the step is over."""
        if step != self._step:
            self._send()
        self._step = step
        self._values |= values

    def close(self, *, failed: bool) -> None:
        """Send the last step unless that may go on, and end."""
        if not failed:
            self._send()
        self._run.finish(exit_code=int(failed))

    def _send(self) -> None:
        if self._values:
            self._run.log(self._values, step=self._step, commit=True)
        self._values = {}


# By name, which is also that of the extra and of the module.
LOGGERS: Mapping[str, type[TensorBoard | VisualDL | WandB]] = {
    "tensorboard": TensorBoard,
    "visualdl": VisualDL,
    "wandb": WandB,
}


class Loggers:
    """The loggers of a run, on its first process.

    Args:
        names: Which.
        output_dir: The run's folder.
        run: Its id, which continued runs have in common.
        facts: What wandb shows as the config.
        steps_per_epoch: Updates.
    """

    def __init__(
        self,
        names: Sequence[str],
        output_dir: str | Path,
        *,
        run: str,
        facts: Mapping[str, Any],
        steps_per_epoch: float,
    ):
        self._names, self._output_dir = tuple(names), Path(output_dir)
        self._run, self._facts, self._steps_per_epoch = run, facts, steps_per_epoch
        self._open: dict[str, Logger] = {}

    def begin(self, history: History, step: int | None) -> None:
        """Open them, and tell them what they lack of the history.

        Args:
            history: As far as it counts.
            step: Where the run continues; None at its beginning.
        """
        for name in self._names:
            with self._or_without(name):
                self._open[name] = LOGGERS[name](self._output_dir, step, self._run, self._facts)
        if self._open:
            first = min(one.reached for one in self._open.values()) + 1
            for row in history.since(first):
                self.add(row)

    def add(self, row: Line) -> None:
        """Write down a row of the history."""
        values = scalars(row, self._steps_per_epoch) if self._open else {}
        for name, one in [*self._open.items()]:
            if row["step"] > one.reached:
                with self._or_without(name):
                    one.add(row["step"], values)

    def close(self, *, failed: bool) -> None:
        """Write down what is left; a run that failed may continue."""
        for name, one in [*self._open.items()]:
            with self._or_without(name):
                one.close(failed=failed)
        self._open.clear()

    @contextmanager
    def _or_without(self, name: str) -> Iterator[None]:
        """Leave a logger out from when it fails."""
        try:
            yield
        except Exception as error:
            self._open.pop(name, None)
            why = hide(one_line(f"{type(error).__name__}: {error}"))
            logger.warning("%s fails (%s); the run goes on without it", name, why)


def _place(folder: Path, step: int | None) -> Path:
    """Return where a logger writes; what another run has written there is kept beside it."""
    from paddlenlp_ext.training.folders import set_aside

    if step is None and os.path.lexists(folder):
        set_aside(folder, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
