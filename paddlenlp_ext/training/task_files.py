"""The files of a task that a script is given: read by split, tested by file, one a language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import class_table
from paddlenlp_ext.models.auto import AutoModel
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.tasks.text_lines import by_language, named_files
from paddlenlp_ext.training import distributed, languages
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.loaders import report_skipped_rows
from paddlenlp_ext.training.report import say
from paddlenlp_ext.training.results import append_result, signature
from paddlenlp_ext.training.run import require_positions
from paddlenlp_ext.training.settings import RunSettings

Row = TypeVar("Row")
Splits = Mapping[str, Mapping[str, Sequence[Row]]]
Read = Callable[[str, Sequence[Path]], tuple[Sequence[Row], Sequence[BadRow]]]


def read_splits(flags: Mapping[str, Any], settings: RunSettings, read: Read[Row]) -> Splits[Row]:
    """Read what a script is to work with, before anything is tokenized or trained.

    Args:
        flags: `train_file`, `validation_file` and `test_file`, and what is to be done.
        settings: How many rows are used.
        read: Reads files of a split, and what cannot be used of them.

    Returns:
        Rows by split, "train", "validation" and "test", and in it by the name of the file's part:
        the split's own, or one with the language as "test_de". Splits that are not needed are
        empty.
    """
    is_wanted = {
        "train": flags["do_train"],
        "validation": flags["do_train"] or flags["do_eval"],
        "test": flags["do_predict"],
    }
    splits: dict[str, dict[str, Sequence[Row]]] = {}
    for split, wanted in is_wanted.items():
        setting = f"{split}_file"
        paths = named_files(flags[setting] or (), setting) if wanted else []
        parts = {"": paths} if split == "train" else {k: [p] for k, p in by_language(paths).items()}
        limit = settings.max_train_samples if split == "train" else settings.max_eval_samples
        splits[split] = {}
        for part, files in parts.items():
            if not files:
                continue
            rows, bad_rows = read(split, files)
            report_skipped_rows(bad_rows)
            splits[split][languages.split_name(split, part) if part else split] = rows[:limit]
    return splits


def load_trained(cls: type[AutoModel] | type[Model], folder: str, settings: RunSettings) -> Model:
    """Load a model that was trained on a task.

    Raises:
        UserError: There is no model, its head is new, or it has no positions for such rows.
    """
    model = cls.from_pretrained(folder)
    if model.load_report is not None and model.load_report.missing:
        lacking = ", ".join(model.load_report.missing)
        raise UserError(
            f"{folder}: expected a model that was trained on the task, it has no {lacking}; train "
            "one with `do_train`"
        )
    require_positions(model, settings.max_seq_length, settings.pad_to_multiple_of)
    return model


def report_files(
    settings: RunSettings,
    events: Sequence[Evaluated],
    task: str,
    *,
    trained: bool,
    tables: Sequence[str],
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
        append_result(
            settings.output_dir,
            signature(split=event.split, metric="+".join(event.metrics), **facts),
            event.metrics,
            loss=event.loss,
            examples=event.examples,
            seconds=round(event.seconds, 2),
        )
    if len(events) > 1:
        model = Path(settings.model_name_or_path).name
        for name in [one for one in tables if one in events[0].metrics]:
            found = {languages.language_of(one): one.metrics[name] for one in events}
            mean = sum(found.values()) / len(found)
            means = {"of rows": mean, "average": mean}  # which `table` expects first
            say(f"{name}:\n{languages.table(model, means | found, ())}")
    return metrics
