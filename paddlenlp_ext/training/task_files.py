"""The files of a task that a script is given: read by split, tested by file, one a language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from paddlenlp_ext.files.patterns import find_files
from paddlenlp_ext.metrics import class_table
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.tasks.held_out import hold_out
from paddlenlp_ext.tasks.prediction_files import Writer, path_of, write_all
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.tasks.task import Metric
from paddlenlp_ext.tasks.text_lines import by_language
from paddlenlp_ext.training import distributed, finetune, languages
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.loaders import FILES, Batching, RunData, report_skipped_rows
from paddlenlp_ext.training.losses import Loss
from paddlenlp_ext.training.report import say
from paddlenlp_ext.training.results import append_evaluation
from paddlenlp_ext.training.settings import RunSettings


class Grouped(Protocol):
    """A row of a file that says what it belongs to, from the largest to the smallest."""

    @property
    def belongs_to(self) -> tuple[str, ...]:
        """What other rows may be of, too: an article, a passage."""


Row = TypeVar("Row", bound=Grouped)
# Rows of "train", "validation" and "test", in each by the name of the file's part: the split's own,
# or one with the language as "test_de". Splits that are not needed are empty.
Splits = Mapping[str, Mapping[str, Sequence[Row]]]
Read = Callable[[str, Sequence[Path]], tuple[Sequence[Row], Sequence[BadRow]]]


@dataclass(frozen=True)
class TaskRows:
    """What a model reads of the rows of a file, and what is made of its predictions.

    Attributes:
        features: Of each row that it reads; a long row of the file may be several.
        sources: Where each of them stands: "train.conll:17".
        metric: Makes numbers of the predictions.
        answers: Says what they mean, row by row of the file.
        writer: Of rows and answers into a folder; see `prediction_files`.
        judge: See `RunData`; None where predictions are labels.
    """

    features: Sequence[Features]
    sources: Sequence[str]
    metric: Metric
    answers: Callable[[finetune.Predictions], Iterable[Any]]
    writer: Callable[[Path, str], Writer]
    judge: Callable[..., dict[str, Any]] | None = None


MakeRows = Callable[[Sequence[Row]], TaskRows]


def read_splits(flags: Mapping[str, Any], settings: RunSettings, read: Read[Row]) -> Splits[Row]:
    """Read what a script is to work with, before anything is tokenized or trained.

    Args:
        flags: `train_file`, `validation_file` and `test_file`, `validation_share`, and what is to
            be done.
        settings: How many rows are used.
        read: Reads files of a split, and what cannot be used of them.
    """
    splits: dict[str, dict[str, Sequence[Row]]] = {}
    limits = dict.fromkeys(FILES, settings.max_eval_samples) | {"train": settings.max_train_samples}
    for split, setting in FILES.items():
        is_wanted = split in wanted_splits(flags)
        paths = find_files(flags[setting] or (), setting) if is_wanted else []
        parts = {"": paths} if split == "train" else {k: [p] for k, p in by_language(paths).items()}
        splits[split] = {}
        for part, files in parts.items():
            if not files:
                continue
            rows, bad_rows = read(split, files)
            report_skipped_rows(bad_rows)
            splits[split][languages.split_name(split, part)] = rows
    if splits["train"] and not splits["validation"] and flags["validation_share"]:
        _hold_out(splits, flags["validation_share"], settings.seed)
    return {
        split: {part: rows[: limits[split]] for part, rows in parts.items()}
        for split, parts in splits.items()
    }


def _hold_out(splits: dict[str, dict[str, Sequence[Row]]], share: float, seed: int) -> None:
    """Take a part of the training rows to evaluate on, and say so."""
    ((name, rows),) = splits["train"].items()
    chosen = hold_out([row.belongs_to for row in rows], share, seed)
    splits["train"] = {name: [*compress(rows, ~chosen)]}
    splits["validation"] = {"validation": [*compress(rows, chosen)]}
    say(f"validation: {chosen.sum():,} of {len(rows):,} rows to train on (`validation_share`)\n")


def wanted_splits(flags: Mapping[str, Any]) -> list[str]:
    """Return the splits that a script needs for what is to be done."""
    wanted = {
        "train": flags["do_train"],
        "validation": flags["do_train"] or flags["do_eval"],
        "test": flags["do_predict"],
    }
    return [*filter(wanted.get, wanted)]


def batch(
    batching: Batching, splits: Splits[Row], make: MakeRows[Row]
) -> tuple[RunData[Loader], dict[str, Metric]]:
    """Make batches to train and to evaluate on, and the metric of each file to evaluate on."""
    (train,) = map(make, splits["train"].values())
    dev = {split: make(rows) for split, rows in splits["validation"].items()}
    features = {split: rows.features for split, rows in dev.items()}
    places = {split: partial(_place_of, rows.sources) for split, rows in dev.items()}
    data = batching.data_of(train.features, features, train.sources, places)
    judge = {split: rows.judge for split, rows in dev.items() if rows.judge}
    return replace(data, judge=judge), {split: rows.metric for split, rows in dev.items()}


def _place_of(sources: Sequence[str], row: int) -> tuple[str, str]:
    """Return where a row stands; its text is what the model reads."""
    return sources[row], ""


def evaluate(
    model: Model,
    batching: Batching,
    files: Mapping[str, Sequence[Row]],
    make: MakeRows[Row],
    loss: Loss,
) -> Iterator[Evaluated]:
    """Evaluate on each file of a split in turn; all processes iterate, and get the same."""
    for split, rows in files.items():
        made = make(rows)
        loader = batching.evaluation_loader(made.features)
        yield finetune.evaluate(model, loader, loss=loss, metric=made.metric, split=split)


def predict(
    model: Model,
    batching: Batching,
    files: Mapping[str, Sequence[Row]],
    make: MakeRows[Row],
    folder: str | Path,
) -> Iterator[Path]:
    """Predict each file of a split in turn; all processes iterate, and the first one writes.

    Yields:
        The file of each, on the first process.
    """
    for split, rows in files.items():
        made = make(rows)
        predictions = finetune.predict(model, batching.evaluation_loader(made.features))
        if distributed.rank() == 0:
            place = Path(folder), languages.part_of(split)
            answers = made.answers(predictions)
            write_all(made.writer(*place), zip(rows, answers, strict=True))
            yield path_of(*place)


def report(
    settings: RunSettings,
    events: Sequence[Evaluated],
    task: str,
    *,
    trained: bool,
    tables: Sequence[str] = (),
) -> dict[str, float]:
    """Keep the results of the files of a split; print tables by class, and one by language.

    Args:
        settings: Of the run.
        events: One a file.
        task: For the results, with its collection.
        trained: Whether the model was trained by this run.
        tables: Metrics that have a table where there are several languages.

    Returns:
        The metrics by the name of the file's part: "validation_de f1".
    """
    metrics = {f"{one.split} {name}": v for one in events for name, v in one.metrics.items()}
    for event in events if distributed.rank() == 0 else ():
        if by_class := class_table(event.metrics):
            say(f"{event.split}:\n{by_class}")
        facts = settings.facts(task, trained=trained)
        append_evaluation(settings.output_dir, event, facts)
    if len(events) > 1:
        model = Path(settings.model_name_or_path).name
        for name in [one for one in tables if one in events[0].metrics]:
            found = {languages.language_of(one): one.metrics[name] for one in events}
            mean = sum(found.values()) / len(found)
            means = {"of rows": mean, "average": mean}  # which `table` expects first
            say(f"{name}:\n{languages.table(model, means | found, ())}")
    return metrics
