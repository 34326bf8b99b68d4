"""Multiple choice on a user's own files: what is read, and the rows that a model reads of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paddlenlp_ext.metrics import IGNORED, accuracy
from paddlenlp_ext.settings import Settings
from paddlenlp_ext.tasks.choices import (
    ChoiceColumns,
    ChoiceExample,
    Choices,
    grouped,
    held_out,
    pairs,
    read_choices,
)
from paddlenlp_ext.tasks.prediction_files import choice_writer
from paddlenlp_ext.tasks.predictions import probabilities
from paddlenlp_ext.tasks.records import find_tables
from paddlenlp_ext.training.languages import split_name
from paddlenlp_ext.training.loaders import FILES, Batching, report_skipped_rows
from paddlenlp_ext.training.report import say
from paddlenlp_ext.training.settings import RunSettings
from paddlenlp_ext.training.task_files import Splits, TaskRows


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings(Settings):
    """Where rows are and how they are read: the flags of the script of the same names."""

    train_file: Sequence[str] | None = None
    validation_file: Sequence[str] | None = None
    test_file: Sequence[str] | None = None
    validation_share: float = 0.1
    context_column_name: str | None = None
    question_column_name: str | None = None
    choices_column_names: Sequence[str] = ()
    label_column_name: str | None = None
    language_column_name: str | None = None
    first_label: int = 0

    @property
    def columns(self) -> ChoiceColumns:
        """What was given of the columns."""
        return ChoiceColumns(
            context=self.context_column_name,
            question=self.question_column_name,
            choices=tuple(self.choices_column_names),
            label=self.label_column_name,
            language=self.language_column_name,
            first_label=self.first_label,
        )


def read_splits(
    own: ChoiceSettings, wanted: Sequence[str], settings: RunSettings
) -> Splits[ChoiceExample]:
    """Read all rows before anything is tokenized or trained, and say what of them is read.

    Args:
        own: Where they are; without files of "validation", a part of "train" is.
        wanted: The splits that are needed.
        settings: Of the run.

    Raises:
        DataError: A file or a row cannot be used.
    """
    given = {split: getattr(own, FILES[split]) for split in wanted}
    files = {split: find_tables(names, FILES[split]) for split, names in given.items() if names}
    share, on_bad_row = own.validation_share, settings.on_bad_row
    found_in: dict[str, Choices] = {}
    for split, paths in files.items():
        found = read_choices(paths, own.columns, labelled=split != "test", on_bad_row=on_bad_row)
        report_skipped_rows(found.bad_rows)
        say(f"{split}: {len(found)} rows of {_names(paths)} ({found.columns})\n")
        found_in[split] = found
    if "train" in found_in and "validation" not in found_in and share:
        found_in["train"], found_in["validation"] = held_out(
            found_in["train"], share, settings.seed
        )
        say(f"validation: {len(found_in['validation'])} of these rows (`validation_share`)\n")
    splits: dict[str, dict[str, list[ChoiceExample]]] = {split: {} for split in FILES}
    for split, found in found_in.items():
        limit = settings.max_eval_samples if split != "train" else settings.max_train_samples
        limit = limit or len(found)
        del found[limit:], found.languages[limit:]
        parts = {"": found} if split == "train" else found.by_language()
        splits[split] = {split_name(split, part): rows for part, rows in parts.items()}
    return splits


def _names(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{len(paths)} files"


def rows_of(batching: Batching, examples: Sequence[ChoiceExample]) -> TaskRows:
    """Make the rows that a model reads."""
    return TaskRows(
        grouped(examples, batching.features(pairs(examples))),
        [one.source for one in examples],
        accuracy,
        lambda logits: map(_scores, examples, logits),
        partial(choice_writer, width=max(len(one.choices) for one in examples)),
    )


def _scores(example: ChoiceExample, logits: Any) -> Any:
    """Return the probabilities of an example's own choices; float64 [C]."""
    return probabilities(logits[: len(example.choices)], "softmax")


def labelled(files: Mapping[str, Sequence[ChoiceExample]]) -> dict[str, list[ChoiceExample]]:
    """Leave out rows of which no label is known, and files that have no other ones."""
    known = {split: [one for one in rows if one.label != IGNORED] for split, rows in files.items()}
    return {split: rows for split, rows in known.items() if rows}
