"""Multiple choice on a user's own files: batches of all splits, evaluation and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from paddlenlp_ext import metrics
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tasks.choices import (
    ChoiceColumns,
    ChoiceExample,
    Choices,
    grouped,
    held_out,
    pairs,
    read_choices,
)
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.tasks.prediction_files import choice_writer, path_of, write_all
from paddlenlp_ext.tasks.predictions import probabilities
from paddlenlp_ext.tasks.records import find_files
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.finetune import evaluate, predict
from paddlenlp_ext.training.loaders import FILES, Batching, RunData, report_skipped_rows
from paddlenlp_ext.training.losses import cross_entropy
from paddlenlp_ext.training.report import say
from paddlenlp_ext.training.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings:
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

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any]) -> ChoiceSettings:
        """Make them of a script's flags, of which those of other names are left out."""
        return cls(**{one.name: flags[one.name] for one in fields(cls) if one.name in flags})

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
    own: ChoiceSettings, splits: Sequence[str], settings: RunSettings
) -> dict[str, Choices]:
    """Read all rows before anything is tokenized or trained, and say what of them is read.

    Args:
        own: Where they are; without files of "validation", a part of "train" is, if that is wanted.
        splits: Those that are wanted: "train", "validation" and "test".
        settings: Of the run.

    Raises:
        DataError: A file or a row cannot be used.
    """
    given = {split: getattr(own, FILES[split]) for split in splits}
    files = {split: find_files(names, FILES[split]) for split, names in given.items() if names}
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
    for split, found in found_in.items():
        limit = settings.max_eval_samples if split != "train" else settings.max_train_samples
        limit = limit or len(found)
        del found[limit:], found.languages[limit:]
    return found_in


def _names(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{len(paths)} files"


def features(batching: Batching, examples: Sequence[ChoiceExample]) -> Sequence[Features]:
    """Tokenize examples."""
    return grouped(examples, batching.features(pairs(examples)))


def batch(batching: Batching, splits: Mapping[str, Choices]) -> RunData[Loader]:
    """Make batches of the rows to train on, and of those of each language to evaluate on."""
    train = splits["train"]
    return batching.data_of(
        features(batching, train),
        {
            split: features(batching, rows)
            for split, rows in by_language(splits, "validation").items()
        },
        [one.source for one in train],
    )


def by_language(splits: Mapping[str, Choices], split: str) -> dict[str, list[ChoiceExample]]:
    """Part a split by language: "test_et", "test_zh"; as it is where no language is named."""
    parts = splits[split].by_language() if split in splits else {}
    return {f"{split}_{code}" if code else split: rows for code, rows in parts.items()}


def evaluate_splits(
    model: Model, batching: Batching, parts: Mapping[str, Sequence[ChoiceExample]]
) -> Iterator[Evaluated]:
    """Evaluate on each part in turn; all processes iterate, and each gets all results.

    Parts of which no label is known are left out.
    """
    for split, examples in parts.items():
        known = [one for one in examples if one.label != IGNORED]
        if known:
            loader = batching.evaluation_loader(features(batching, known))
            yield evaluate(model, loader, loss=cross_entropy, metric=metrics.accuracy, split=split)


def write_predictions(
    model: Model,
    batching: Batching,
    parts: Mapping[str, Sequence[ChoiceExample]],
    folder: str | Path,
) -> list[Path]:
    """Write what a model chooses: `predictions.tsv` and `.jsonl`, of each language its own.

    Returns:
        The tables; the first process writes.
    """
    written: list[Path] = []
    for split, examples in parts.items():
        loader = batching.evaluation_loader(features(batching, examples))
        scores = predict(model, loader)
        found = (
            probabilities(logits[: len(one.choices)], "softmax")
            for one, logits in zip(examples, scores, strict=True)
        )
        language = split.partition("_")[2]
        written.append(path_of(Path(folder), language))
        if distributed.rank() == 0:
            width = max(len(one.choices) for one in examples)
            writer = choice_writer(Path(folder), language, width)
            write_all(writer, zip(examples, found, strict=True))
    return written
