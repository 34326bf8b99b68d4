"""A run on a user's own files in place of a task that is known by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError, one_line
from paddlenlp_ext.models.auto import AutoConfig
from paddlenlp_ext.tasks.cross_lingual import CrossLingualTask, ExamplesByLanguage
from paddlenlp_ext.tasks.own import OwnData, OwnDataSettings, read_own_data
from paddlenlp_ext.tasks.predictions import kind_of
from paddlenlp_ext.tasks.written_labels import ProblemType, given_labels
from paddlenlp_ext.training.checkpoint import labels_to_keep
from paddlenlp_ext.training.languages import read_splits
from paddlenlp_ext.training.loaders import FILES, report_skipped_rows
from paddlenlp_ext.training.report import say

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
        trains: Whether the run trains. One that is continued keeps its labels and their order.

    Raises:
        UserError: A file, a column or a row cannot be used, there is no training file, or the run
            that is continued has other labels.
    """
    if not any(flags[name] for name in FILES.values()):
        return None
    settings = OwnDataSettings.from_flags(flags)
    if trains and not settings.train_file:
        raise UserError("`train_file`: expected a file to train on beside the others, got none")
    changes: dict[str, Any] = {}
    if not trains:
        config = AutoConfig.from_pretrained(model)
        kind = settings.problem_type or PROBLEMS[kind_of(config.num_labels, config.problem_type)]
        changes = {"train_file": None, "problem_type": kind}
        if kind != "regression" and not settings.labels:
            changes["labels"] = config.label_names
    elif kept := labels_to_keep(flags["output_dir"], flags["resume_from_checkpoint"]):
        folder, (known, are_several) = kept
        kind = settings.problem_type or ("multi_label" if are_several else "single_label")
        labels = _as_kept(settings.labels, folder, known)
        changes = {"problem_type": kind, "labels": labels}
    settings = OwnDataSettings.from_flags({**flags, **changes})
    own = read_own_data(settings)
    for note in own.notes:
        say(f"{note}\n")
    for examples in own.splits.values():
        report_skipped_rows(examples.bad_rows)
    return own


def _as_kept(given: Sequence[str] | None, folder: Path, kept: Sequence[str]) -> Sequence[str]:
    """Return the labels of a run that is continued, in its order.

    Raises:
        UserError: Others are given.
    """
    labels = given_labels(given) if given else kept
    differ = {
        "new": [one for one in labels if one not in kept],
        "missing": [one for one in kept if one not in labels],
    }
    if any(differ.values()):
        lists = {how: one_line(", ".join(names), 50) for how, names in differ.items() if names}
        what = "; ".join(f"{how}: {names}" for how, names in lists.items())
        raise UserError(
            f"`labels`: not those of {folder} ({what}); give the same in any order, or none, or "
            "start from the beginning in another `output_dir`"
        )
    if [*labels] != [*kept]:
        say(f"labels in the order of {folder}: {', '.join(kept)}\n")
    return kept


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
