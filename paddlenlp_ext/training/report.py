"""What a run leaves to be read: its log lines, history, results and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddlenlp_ext.metrics import class_table
from paddlenlp_ext.process.streams import progress_bar
from paddlenlp_ext.training import distributed, results
from paddlenlp_ext.training.checkpoint import best
from paddlenlp_ext.training.events import Evaluated, Event, Progress, StepDone


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
    ) -> None:
        self.output_dir = Path(output_dir)
        self.log_step = log_step
        self.log_evaluation = log_evaluation
        self.logging_steps = logging_steps
        self.splits = splits
        self.total_steps = total_steps
        self.facts = facts
        self.metrics: dict[str, float] = {}  # the last ones of each split, by "split name"
        self._history = results.History(output_dir, resume) if distributed.rank() == 0 else None
        self._pace = Pace()
        self._not_finite = 0  # last step that an evaluation was worth nothing of
        self._evaluating = 0.0  # seconds, of the splits of this step
        done = resume.step if resume else 0
        hidden = distributed.rank() > 0
        self.bar = progress_bar(total_steps, hidden=hidden, initial=done, unit="step", leave=False)

    def add(self, event: Event) -> None:
        """Print and keep an event; results are kept of the last step's evaluations."""
        self.bar.clear()
        if isinstance(event, StepDone):
            self.bar.set_postfix(loss=f"{event.loss:.4f}", refresh=False)
            self.bar.update()
            self._evaluating = 0.0
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
            if event.step == self.total_steps:
                say(class_table(event.metrics))
            if self._history is not None and event.step == self.total_steps:
                self._record(event)
        if self._history is not None and isinstance(event, (StepDone, Evaluated)):
            self._history.add(event)

    def is_complete(self, event: Event) -> bool:
        """Whether this event is the evaluation of a step's last split."""
        return isinstance(event, Evaluated) and event.progress.evaluations == self.splits

    def is_finite(self, step: int) -> bool:
        """Whether nothing that was measured of a step's model says that it is worth nothing."""
        return step != self._not_finite

    def score(self, step: int) -> float | None:
        """Average the scores of a step's splits, whichever process measured them.

        None while splits are missing, where a number is not finite, and on other processes than
        the first.
        """
        return self._scores().get(step)

    def is_best(self, step: int) -> bool:
        """Whether no step of the run so far has a higher score, and no earlier one an equal one."""
        return best(self._scores()) == step

    def best(self) -> tuple[int | None, dict[str, float]]:
        """Return the best step of the run, and its metrics by "split name"."""
        step = best(self._scores())
        rows = self._history.evaluations if self._history is not None else []
        here = [row for row in rows if row["step"] == step]
        return step, {f"{row['split']} {n}": v for row in here for n, v in row["metrics"].items()}

    def draw(self) -> None:
        """Draw the curves of the run, `curves.png`."""
        self.bar.close()
        if self._history is not None:
            results.plot_curves(self.output_dir)

    def _scores(self) -> dict[int, float]:
        """Take the scores from the history, which knows what was measured before a resume."""
        values: dict[int, list[float]] = {}
        for row in self._history.evaluations if self._history is not None else ():
            if None not in (row["loss"], *row["metrics"].values()):
                values.setdefault(row["step"], []).append(next(iter(row["metrics"].values())))
        complete = (one for one in values.items() if len(one[1]) == self.splits)
        return {step: sum(found) / len(found) for step, found in complete}

    def _record(self, event: Evaluated) -> None:
        signature = results.signature(
            split=event.split, metric="+".join(event.metrics), **self.facts
        )
        results.append_result(
            self.output_dir,
            signature,
            event.metrics,
            step=event.step,
            loss=event.loss,
            examples=event.examples,
            seconds=round(event.seconds, 2),
        )
