"""The loop of every kind of training: updates, evaluations and signals as a sequence of events.

`finetune` and `pretrain` say where batches come from, what is minimised and how to evaluate; when
which of it happens, on all processes alike, is decided here.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from paddlenlp_ext.process.signals import StopRequest, error_of
from paddlenlp_ext.tasks.batches import Ahead, Batch
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import (
    Evaluated,
    Event,
    Interrupted,
    Predicted,
    Progress,
    StepDone,
)
from paddlenlp_ext.training.optimization import learning_rate_of
from paddlenlp_ext.training.updates import NonFiniteLossError, Updater

MOST_SKIPPED = 100  # updates one after another that may be left out

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpdateBatches:
    """What one update takes from the data, on this process.

    Attributes:
        epoch: From 0.
        number: Of the update in its epoch, from 0.
        batches: That are accumulated; as many on every process.
        after: How far the run has come when the update is done.
    """

    epoch: int
    number: int
    batches: Sequence[Batch]
    after: Progress


class Scores(NamedTuple):
    """What an evaluation found; the fields are those of `Evaluated`."""

    loss: float
    metrics: Mapping[str, float]
    examples: int
    seconds: float
    predicted: Predicted | None = None


# Evaluates on a split, together with all processes; None when a signal came in between.
Evaluation = Callable[[StopRequest], Scores | None]


def is_evaluation_due(step: int, every: int, total_steps: int) -> bool:
    """Whether a run evaluates after a step: every so many, unless that is 0, and after the last."""
    return step == total_steps or (every > 0 and step % every == 0)


def train(
    updater: Updater,
    updates: Iterator[UpdateBatches],
    evaluations: Mapping[str, Evaluation],
    *,
    max_steps: int,
    evaluate_every: int,
    progress: Progress,
) -> Iterator[Event]:
    """Make updates until there were `max_steps`, and evaluate in between.

    Args:
        updater: Makes the updates.
        updates: What each takes from the data, from `progress` on.
        evaluations: By the name of the split.
        max_steps: Updates of the whole run, those before `progress` included.
        evaluate_every: Updates between evaluations; after the last there always is one. 0 means
            only then.
        progress: Where to begin.

    Yields:
        `StepDone` after every update, `Evaluated` for every split; when a signal came,
        `Interrupted` at last.

    Raises:
        KeyboardInterrupt: A signal came (`Terminated` unless that was SIGINT), and the caller has
            asked for more after `Interrupted`.
        NonFiniteLossError: A loss, the norm of the gradients or an evaluation is not finite, and
            such updates are not to be skipped, or hardly anything else happens.
    """
    skipped, most_skipped = 0, min(MOST_SKIPPED, 1 + (max_steps - progress.step) // 2)
    if progress.step >= max_steps and progress.evaluations >= len(evaluations):
        _say_complete(max_steps)
    upcoming = Ahead(islice(updates, max(0, max_steps - progress.step)))
    with StopRequest() as stop:
        while True:
            step = progress.step
            is_due = step > 0 and is_evaluation_due(step, evaluate_every, max_steps)
            if is_due:
                for split, evaluate in list(evaluations.items())[progress.evaluations :]:
                    scores = evaluate(stop)
                    if scores is None:
                        received = distributed.agreed_signal(stop)
                        yield Interrupted(step, received, progress)
                        raise error_of(received)
                    progress = replace(progress, evaluations=progress.evaluations + 1)
                    event = Evaluated(step, split, **scores._asdict(), progress=progress)
                    yield event
                    if not event.is_finite:
                        _refuse_evaluation(updater, event, is_last=step >= max_steps)
            is_over = is_due and evaluations and updater.settings.is_over(step)
            if is_over or step >= max_steps:
                return
            began = time.perf_counter()
            taken = next(upcoming)
            reading = time.perf_counter() - began
            flags = stop.flags
            totals = distributed.all_reduce([*flags, *updater.count(taken.batches)])
            if received := stop.signal_of(totals[: len(flags)]):
                yield Interrupted(step, received, progress)
                raise error_of(received)
            outcome = updater.update(
                step + 1, taken.batches, totals[len(flags) :], meanwhile=upcoming.make
            )
            skipped = skipped + 1 if outcome.skipped else 0
            if skipped >= most_skipped:
                raise NonFiniteLossError(
                    f"step {step + 1}: the last {skipped} updates were all left out, since the "
                    f"loss or the norm of the gradients was not finite; {updater.cure()}; "
                    "checkpoints saved before are whole"
                )
            progress = taken.after
            yield StepDone(
                step=step + 1,
                total_steps=max_steps,
                epoch=taken.epoch,
                batch=taken.number,
                loss=outcome.loss,
                learning_rate=learning_rate_of(updater.optimizer),
                examples=outcome.examples,
                seconds=time.perf_counter() - began,
                reading_seconds=reading,
                skipped=outcome.skipped,
                progress=progress,
            )


def _refuse_evaluation(updater: Updater, event: Evaluated, *, is_last: bool) -> None:
    """Raise, or warn where that is wanted, that a model is worth nothing."""
    what = f"step {event.step}: the evaluation on {event.split} is not finite"
    if is_last or updater.settings.on_non_finite == "stop":
        raise NonFiniteLossError(
            f"{what}; no checkpoint is saved of it, those saved before are whole; {updater.cure()}"
        )
    if distributed.rank() == 0:
        logger.warning("%s; no checkpoint is saved of it", what)


def _say_complete(max_steps: int) -> None:
    if distributed.rank() == 0:
        print(f"the run is complete: all {max_steps} steps were made", file=sys.stderr, flush=True)
