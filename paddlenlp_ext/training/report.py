"""What a run leaves to be read: its log lines, history, results and curves."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import class_table
from paddlenlp_ext.process.streams import progress_bar
from paddlenlp_ext.reporting.lines import Line
from paddlenlp_ext.reporting.plot import plot_curves
from paddlenlp_ext.reporting.scores import best, by_step, is_stale, scores_of, spelled
from paddlenlp_ext.training import distributed, results
from paddlenlp_ext.training.events import Evaluated, Event, Progress, StepDone
from paddlenlp_ext.training.loggers import Loggers
from paddlenlp_ext.training.record import Record


def say(text: str) -> None:
    """Print on the first process; line ends are the text's own."""
    if distributed.rank() == 0:
        print(text, end="", flush=True)


@dataclass
class Pace:
    """The updates since the log line before: how many, and their sums.

    Attributes:
        steps: Updates.
        examples: Of all processes.
        seconds: What they took, reading their batches included.
        reading_seconds: What of it was waiting for the batches.
        losses: Sum of their losses.
    """

    steps: int = 0
    examples: int = 0
    seconds: float = 0.0
    reading_seconds: float = 0.0
    losses: float = 0.0

    def add(self, event: StepDone) -> None:
        """Count an update."""
        self.steps += 1
        self.examples += event.examples
        self.seconds += event.seconds
        self.reading_seconds += event.reading_seconds
        self.losses += event.loss

    @property
    def speed(self) -> float:
        """Updates a second."""
        return self.steps / self.seconds


# A script's line of an update, and its text of an evaluated split, line ends included. The latter
# is given the seconds that all splits of the step took where the split is their last, else None.
LogStep = Callable[[StepDone, Pace], str]
LogEvaluation = Callable[[Evaluated, float | None], str]


class Report:
    """Prints a script's lines and keeps its numbers, on the first process only.

    Args:
        output_dir: The run's folder.
        log_step: The script's line of an update.
        log_evaluation: The script's text of an evaluated split.
        logging_steps: Updates between two lines.
        splits: How many splits are evaluated.
        total_steps: Updates of the whole run; results are those after the last.
        facts: Of the signature: what all results of the run have in common.
        resume: Where the run continues.
        metric: By which models are judged, as it is called in evaluations, or "loss"; None takes
            the first. What is better follows from the name.
        patience: Evaluations one after another without a better one after which the run is over;
            0 never ends it.
        loggers: Are told what the history is.

    Attributes:
        record: Is told what happens; None on other processes than the first.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        log_step: LogStep,
        log_evaluation: LogEvaluation,
        logging_steps: int,
        splits: int,
        total_steps: int,
        facts: Mapping[str, Any],
        resume: Progress | None = None,
        metric: str | None = None,
        patience: int = 0,
        loggers: Loggers | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.metric = metric and spelled(metric)
        self.patience = patience
        self.record: Record | None = None
        self.log_step = log_step
        self.log_evaluation = log_evaluation
        self.logging_steps = logging_steps
        self.splits = splits
        self.total_steps = total_steps
        self.facts = facts
        self.metrics: dict[str, float] = {}  # the last ones of each split, by "split name"
        self._history = results.History(output_dir, resume) if distributed.rank() == 0 else None
        self._loggers = loggers
        if self._history is not None and loggers is not None:
            loggers.begin(self._history, resume.step if resume else None)
        self._pace = Pace()
        self._unrecorded: list[Evaluated] = []  # of the last step
        self._not_finite = 0  # last step that an evaluation was worth nothing of
        self._evaluating = 0.0  # seconds, of the splits of this step
        done = resume.step if resume else 0
        hidden = distributed.rank() > 0
        self.bar = progress_bar(total_steps, hidden=hidden, initial=done, unit="step", leave=False)

    def add(self, event: Event) -> None:
        """Print and keep an event; results are kept of the last step's evaluations."""
        self.bar.clear()
        if isinstance(event, (StepDone, Evaluated)):
            self._keep(event)
        if isinstance(event, StepDone):
            self.bar.set_postfix(loss=f"{event.loss:.4f}", refresh=False)
            self.bar.update()
            self._evaluating = 0.0
            self._unrecorded = []
            self._pace.add(event)
            if event.step % self.logging_steps == 0 or event.step == self.total_steps:
                say(self.log_step(event, self._pace) + "\n")
                self._pace = Pace()
        elif isinstance(event, Evaluated):
            self.metrics |= {f"{event.split} {name}": v for name, v in event.metrics.items()}
            self._evaluating += event.seconds
            if not event.is_finite:
                self._not_finite = event.step
            say(self.log_evaluation(event, self._evaluating if self.is_complete(event) else None))
            self._unrecorded.append(replace(event, predicted=None))  # which takes memory
            if event.step == self.total_steps or (self.is_complete(event) and self._is_stale()):
                self._record()

    def _keep(self, event: StepDone | Evaluated) -> None:
        """Let the history, the loggers and the record have an event, on the first process."""
        if self._history is None:
            return
        row = self._history.add(event)
        if self._loggers is not None:
            self._loggers.add(row)
        if self.record is not None:
            self.record.add(event)
            if self.is_complete(event):
                self.record.evaluated(event.step, best(self.scores))

    def is_complete(self, event: Event) -> bool:
        """Whether this event is the evaluation of a step's last split."""
        return isinstance(event, Evaluated) and event.progress.evaluations == self.splits

    def is_finite(self, step: int) -> bool:
        """Whether nothing that was measured of a step's model says that it is worth nothing."""
        return step != self._not_finite

    def score(self, step: int) -> float | None:
        """Return the score of a step; None where it has none, and on other processes."""
        return self.scores.get(step)

    @property
    def scores(self) -> dict[int, float]:
        """Average the splits of each step, whichever process measured them; higher is better.

        Steps of which splits are missing, or a number is not finite, have no score; on other
        processes than the first there are none. The history knows what was measured before a
        resume.
        """
        return scores_of(self._evaluated(), self.metric)

    def is_best(self, step: int) -> bool:
        """Whether no step of the run so far has a higher score, and no earlier one an equal one."""
        return best(self.scores) == step

    def is_over(self, step: int) -> bool:
        """Whether to stop after a step because no evaluation was better for too long.

        All processes ask, when all splits were evaluated.

        Raises:
            UserError: The evaluations do not have the metric that models are to be judged by.
        """
        if self.metric is None and not self.patience:
            return False
        known, stale, top = distributed.gather(
            (self._metrics_of(step), self._is_stale(), best(self.scores))
        )[0]
        if self.metric and known and self.metric not in ("loss", *map(spelled, known)):
            raise UserError(
                f"`metric_for_best_model`: there is no {self.metric}; give one of "
                f"{', '.join(known)}, loss; `resume_from_checkpoint` latest goes on after step "
                f"{step}"
            )
        if not stale or step >= self.total_steps:
            return False
        if distributed.rank() == 0:
            print(
                f"the run ends early, at step {step}: no evaluation was better in the last "
                f"{self.patience} than that of step {top} (`early_stopping_patience`)",
                file=sys.stderr,
                flush=True,
            )
        return True

    def measured(self, step: int) -> dict[str, dict[str, float]]:
        """Return the metrics of each split of a step, by their names."""
        rows = self._history.evaluations if self._history is not None else []
        return {
            row["split"]: {n: math.nan if v is None else v for n, v in row["metrics"].items()}
            for row in rows
            if row["step"] == step
        }

    def close(self, *, failed: bool) -> None:
        """End the bar and the loggers; a run that failed may continue."""
        self.bar.close()
        if self._loggers is not None:
            self._loggers.close(failed=failed)

    def draw(self) -> None:
        """Draw the curves of the run, `curves.png`."""
        self.bar.close()
        if self._history is not None:
            plot_curves(self.output_dir)

    def _evaluated(self) -> dict[int, list[Line]]:
        """Return the rows of the history of each step of which all splits were evaluated."""
        return by_step(self._history.evaluations if self._history is not None else (), self.splits)

    def _metrics_of(self, step: int) -> list[str]:
        """Name the metrics that all splits of a step have."""
        rows = self._evaluated().get(step, [])
        names = [name for row in rows for name in row["metrics"]]
        return [name for name in dict.fromkeys(names) if names.count(name) == len(rows)]

    def _is_stale(self) -> bool:
        """Whether no evaluation was better for too long."""
        return is_stale(self._evaluated(), self.metric, self.patience)

    def _record(self) -> None:
        """Show and write down the last results; one that is there already is left out."""
        for event in self._unrecorded if self._history is not None else ():
            say(class_table(event.metrics))
            results.append_evaluation(self.output_dir, event, self.facts, step=event.step)
        self._unrecorded = []
