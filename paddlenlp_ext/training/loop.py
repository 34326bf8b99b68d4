"""The loop of every kind of training: updates, evaluations and signals as a sequence of events.

`finetune` and `pretrain` say where batches come from, what is minimised and how to evaluate; when
which of it happens, on all processes alike, is decided here.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from paddlenlp_ext.process.signals import StopRequest
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated, Event, Interrupted, Position, StepDone
from paddlenlp_ext.training.optimization import learning_rate_of
from paddlenlp_ext.training.updates import Updater


@dataclass(frozen=True, slots=True)
class Share:
    """What one update takes from the data, on this process.

    Attributes:
        epoch: From 0.
        number: Of the update in its epoch, from 0.
        batches: That are accumulated; as many on every process.
        after: Where the run is when the update is done.
    """

    epoch: int
    number: int
    batches: Sequence[Batch]
    after: Position


class Scores(NamedTuple):
    """What an evaluation found; the fields are those of `Evaluated`."""

    loss: float
    metrics: Mapping[str, float]
    examples: int
    seconds: float


# Evaluates on a split, together with all processes; None when a signal came in between.
Evaluation = Callable[[StopRequest], Scores | None]


def train(
    updater: Updater,
    shares: Iterator[Share],
    evaluations: Mapping[str, Evaluation],
    *,
    max_steps: int,
    evaluate_every: int,
    position: Position,
) -> Iterator[Event]:
    """Make updates until there were `max_steps`, and evaluate in between.

    Args:
        updater: Makes the updates.
        shares: What each takes from the data, from `position` on.
        evaluations: By the name of the split.
        max_steps: Updates of the whole run, those before `position` included.
        evaluate_every: Updates between evaluations; after the last there always is one. 0 means
            only then.
        position: Where to begin.

    Yields:
        `StepDone` after every update, `Evaluated` for every split, `Interrupted` at last. After
        that the process ends (`SystemExit`) when the caller asks for more.

    Raises:
        NonFiniteLossError: A loss is not finite.
    """
    if position.step >= max_steps and position.evaluations >= len(evaluations):
        _tell_complete(max_steps)
    with StopRequest() as stop:
        while True:
            step = position.step
            if step and (step == max_steps or (evaluate_every and step % evaluate_every == 0)):
                for split, evaluate in list(evaluations.items())[position.evaluations :]:
                    scores = evaluate(stop)
                    if scores is None:
                        yield from _end(distributed.agreed_signal(stop), position)
                        return
                    position = replace(position, evaluations=position.evaluations + 1)
                    yield Evaluated(step, split, *scores, position=position)
            if step >= max_steps:
                return
            began = time.perf_counter()
            share = next(shares)
            reading = time.perf_counter() - began
            totals = distributed.all_reduce([*stop.flags, *updater.count(share.batches)])
            if signal := stop.signal_of(totals[:2]):
                yield from _end(signal, position)
            outcome = updater.update(step + 1, share.batches, totals[2:])
            position = share.after
            yield StepDone(
                step=step + 1,
                total_steps=max_steps,
                epoch=share.epoch,
                batch=share.number,
                loss=outcome.loss,
                learning_rate=learning_rate_of(updater.optimizer),
                examples=outcome.examples,
                seconds=time.perf_counter() - began,
                reading_seconds=reading,
                skipped=outcome.skipped,
                position=position,
            )


def _tell_complete(max_steps: int) -> None:
    if distributed.rank() == 0:
        print(f"the run is complete: all {max_steps} steps were made", file=sys.stderr, flush=True)


def _end(signal: int, position: Position) -> Iterator[Interrupted]:
    """Let the caller save, then end the process as a signal ends one."""
    yield Interrupted(position.step, signal, position)
    raise SystemExit(128 + signal)
