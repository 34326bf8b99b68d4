"""What a run leaves to be read: its log lines, history, results and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from paddlenlp_ext.training import distributed, results
from paddlenlp_ext.training.events import Evaluated, Event, Position, StepDone


class Report:
    """Prints a script's lines and keeps its numbers, on the first process only.

    Args:
        output_dir: The run's folder.
        log_step: The script's line of an update and its speed in updates a second.
        log_evaluation: The script's text of an evaluated split, its line ends included, and whether
            the split is the step's last.
        logging_steps: Updates between two lines.
        splits: How many splits are evaluated.
        facts: Of the signature: what all results of the run have in common.
        resume: Where the run continues.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        log_step: Callable[[StepDone, float], str],
        log_evaluation: Callable[[Evaluated, bool], str],
        logging_steps: int,
        splits: int,
        facts: Mapping[str, Any],
        resume: Position | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.log_step = log_step
        self.log_evaluation = log_evaluation
        self.logging_steps = logging_steps
        self.splits = splits
        self.facts = facts
        self.scores: dict[str, float] = {}
        self._first = distributed.rank() == 0
        self._history = results.History(output_dir, resume) if self._first else None
        self._steps, self._seconds = 0, 0.0  # since the last line
        self._total = 0  # updates of the whole run

    def add(self, event: Event) -> None:
        """Print and keep an event; results are kept of the last step's evaluations."""
        if isinstance(event, StepDone):
            self._total = event.total_steps
            self._steps, self._seconds = self._steps + 1, self._seconds + event.seconds
            if event.step % self.logging_steps == 0 or event.step == event.total_steps:
                self.say(self.log_step(event, self._steps / self._seconds) + "\n")
                self._steps, self._seconds = 0, 0.0
        elif isinstance(event, Evaluated):
            self.scores |= {f"{event.split} {name}": v for name, v in event.metrics.items()}
            self.say(self.log_evaluation(event, self.is_complete(event)))
            if self._first and event.step == self._total:
                self._record(event)
        if self._history is not None and isinstance(event, (StepDone, Evaluated)):
            self._history.add(event)

    def is_complete(self, event: Event) -> bool:
        """Whether this event is the evaluation of a step's last split."""
        return isinstance(event, Evaluated) and event.position.evaluations == self.splits

    def score(self, step: int) -> float | None:
        """Average the first metric over a step's splits, whichever process measured them.

        None while splits are missing, and on other processes than the first.
        """
        return self._scores().get(step)

    def is_best(self, step: int) -> bool:
        """Whether no step of the run so far has a higher score; the first of equal ones is best."""
        scores = self._scores()
        return bool(scores) and max(scores, key=scores.__getitem__) == step

    def draw(self) -> None:
        """Draw the curves of the run, `curves.png`."""
        if self._history is not None:
            results.plot_curves(self.output_dir, self._history)

    def say(self, text: str) -> None:
        """Print on the first process."""
        if self._first:
            print(text, end="", flush=True)

    def _scores(self) -> dict[int, float]:
        """Read the scores from the history, which knows what was measured before a resume."""
        values: dict[int, list[float]] = {}
        for row in self._history.rows if self._history is not None else ():
            if "split" in row:
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
