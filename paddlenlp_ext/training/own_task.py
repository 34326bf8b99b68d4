"""A run on a user's own files in place of a task that is known by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.auto import AutoConfig
from paddlenlp_ext.tasks.cross_lingual import CrossLingualTask, ExamplesByLanguage
from paddlenlp_ext.tasks.label_orders import is_unnamed
from paddlenlp_ext.tasks.own import OwnData, OwnDataSettings, ProblemType, read_own_data
from paddlenlp_ext.tasks.predictions import kind_of
from paddlenlp_ext.training.languages import read_splits
from paddlenlp_ext.training.loaders import report_skipped_rows
from paddlenlp_ext.training.report import say

FILES = ("train_file", "validation_file", "test_file")
PROBLEMS: Mapping[str, ProblemType] = {
    "softmax": "single_label",
    "sigmoid": "multi_label",
    "none": "regression",
}


def read_own(flags: Mapping[str, Any], model: str, *, trains: bool) -> OwnData | None:
    """Read a user's files, and say what was guessed; None where there are none.

    Args:
        flags: A script's, by their names.
        model: Where the model comes from; without training it is a trained one, and its config
            says what the labels are.
        trains: Whether the run trains.

    Raises:
        UserError: A file, a column or a row cannot be used, or there is no training file.
    """
    if not any(flags[name] for name in FILES):
        return None
    settings = OwnDataSettings.from_flags(flags)
    if trains and not settings.train_file:
        raise UserError("`train_file`: expected a file to train on beside the others, got none")
    if not trains:
        config = AutoConfig.from_pretrained(model)
        changes: dict[str, Any] = {"train_file": None}
        kind = settings.problem_type or PROBLEMS[kind_of(config.num_labels, config.problem_type)]
        changes["problem_type"] = kind
        if kind != "regression" and not settings.labels:
            names = config.label_names
            changes["labels"] = [*map(str, range(len(names)))] if is_unnamed(names) else names
        settings = OwnDataSettings.from_flags({**flags, **changes})
    own = read_own_data(settings)
    for note in own.notes:
        say(f"{note}\n")
    for examples in own.splits.values():
        report_skipped_rows(examples.bad_rows)
    return own


def read_languages(
    flags: Mapping[str, Any],
    source: CrossLingualTask | OwnData,
    train_languages: Sequence[str] | None,
    *,
    trains: bool,
    tests: bool,
) -> dict[str, ExamplesByLanguage]:
    """Read what a run trains on and evaluates, and what its model is tested on, by language.

    Args:
        flags: A script's, by their names; `train_languages` may be one of them.
        source: A task of several languages, or a user's files.
        train_languages: Of "train"; None for all.
        trains: Whether "train" and "dev" are wanted.
        tests: Whether "test" is.
    """
    wanted = {"train": train_languages, "dev": flags["languages"]} if trains else {}
    if tests:
        wanted["test"] = flags["languages"]
    limits = dict.fromkeys(wanted, flags["max_eval_samples"])
    limits |= {"train": flags["max_train_samples"]}
    settings = {"train": "train_languages"} if "train_languages" in flags else None
    if isinstance(source, OwnData):
        return source.splits_by_language(wanted, max_samples=limits, settings=settings)
    return read_splits(
        source,
        wanted,
        flags["data_dir"],
        max_samples=limits,
        on_bad_row=flags["on_bad_row"],
        settings=settings,
    )
