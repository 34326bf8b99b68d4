"""A task in several languages: read its splits, evaluate language by language, make the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tasks.cross_lingual import (
    ALL,
    CrossLingualTask,
    ExamplesByLanguage,
    check_languages,
    read_languages,
)
from paddlenlp_ext.tasks.download import official_folder
from paddlenlp_ext.tasks.label_orders import is_unnamed, label_order
from paddlenlp_ext.tasks.task import Task, TextExample
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.loaders import Batching, RunData, report_skipped_rows
from paddlenlp_ext.training.report import say
from paddlenlp_ext.training.results import append_result, signature
from paddlenlp_ext.weights.folders import read_config

Languages = Sequence[str] | None  # None stands for all that there are


def read_splits(
    task: CrossLingualTask,
    languages: Mapping[str, Languages],
    data_dir: str | None,
    *,
    max_samples: Mapping[str, int | None] | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
    settings: Mapping[str, str] | None = None,
) -> dict[str, ExamplesByLanguage]:
    """Read whole splits before anything is tokenized or trained: a bad row is reported at once.

    Args:
        task: What to read.
        languages: Those of each split that is wanted.
        data_dir: Folder of the files; None downloads the official ones on the first use.
        max_samples: Rows of each language to use, the first ones, by split; None uses all.
        on_bad_row: Stop at a row that cannot be used, or leave it out and say so.
        settings: Where the languages of a split were given, for messages, if not as `languages`.

    Raises:
        DataError: A language is unknown, a file is missing or holds rows that cannot be used.
    """
    given_as = {split: (settings or {}).get(split, "languages") for split in languages}
    for split, codes in languages.items():
        check_languages(task, codes, given_as[split])
    splits = {}
    for split, codes in languages.items():
        folder = data_dir or official_folder(task, split, task.official_files(split, codes))
        examples = read_languages(task, split, folder, codes, on_bad_row=on_bad_row)
        report_skipped_rows(examples.bad_rows)
        if examples.mixed_file:
            say(
                f"note: {examples.mixed_file}: its rows do not name their language, so that none "
                f"can be chosen: all of them are used, as {ALL!r}; for single languages lay the "
                "files out as in the archive, a folder for each\n"
            )
        limit = (max_samples or {}).get(split)
        for language in examples:
            del examples[language][limit or len(examples[language]) :]
        splits[split] = examples
    return splits


def refuse_folder_of_another_task(folder: str | Path, task: Task) -> None:
    """Refuse a folder with the best model of another task, which training would replace.

    Raises:
        UserError: There is one.
    """
    if not (Path(folder) / "config.json").is_file():
        return
    names = [*(read_config(str(folder)).get("id2label") or {}).values()]
    if not is_unnamed(names) and label_order(task, names) is None:
        raise UserError(
            f"{folder}: there is the best model of another task (labels {', '.join(names)}), which "
            f"training on {task.name} would replace; give each task an `output_dir` of its own"
        )


def batch(batching: Batching, splits: Mapping[str, ExamplesByLanguage]) -> RunData[Loader]:
    """Make batches to train on of all languages of "train", and of each language of "dev".

    Args:
        batching: How examples become batches.
        splits: Of `read_splits`.
    """
    dev = {split_name("dev", language): rows for language, rows in splits.get("dev", {}).items()}
    return batching.data(all_languages(splits["train"]), dev)


def all_languages(examples: ExamplesByLanguage) -> list[TextExample]:
    """Put the examples of all languages one behind the other."""
    return [example for rows in examples.values() for example in rows]


def split_name(split: str, language: str) -> str:
    """Name a language's part of a split, "dev_ar", or where no language is known, the split."""
    return f"{split}_{language}" if language else split


def language_of(event: Evaluated) -> str:
    """Return the language that was evaluated: "ar"."""
    return part_of(event.split)


def part_of(split: str) -> str:
    """Return the language of a part of a split: "ar" of "dev_ar"; nothing of a whole one."""
    return split.partition("_")[2]


def summarize(events: Iterable[Evaluated]) -> dict[str, float]:
    """Bring the scores of several languages together, which are a task's first metric.

    Returns:
        That of all examples by its name ("acc"), "average" over the languages, and that of each
        language by its code.
    """
    found = list(events)
    score = next(iter(found[0].metrics))
    by_language = {language_of(event): event.metrics[score] for event in found}
    sum_of_all = sum(event.metrics[score] * event.examples for event in found)
    return {
        score: sum_of_all / sum(event.examples for event in found),
        "average": fmean(by_language.values()),
        **by_language,
    }


def record(folder: str | Path, facts: Mapping[str, Any], events: Sequence[Evaluated]) -> None:
    """Add a line with the accuracies of all languages to a folder's results, on one process.

    Args:
        folder: The run's output folder.
        facts: Of the signature, but for split and metric.
        events: One a language, of one split.
    """
    if distributed.rank() != 0:
        return
    split = events[0].split.partition("_")[0]
    examples = sum(event.examples for event in events)
    append_result(
        folder,
        signature(split=split, metric=next(iter(events[0].metrics)), **facts),
        summarize(events),
        loss=sum(event.loss * event.examples for event in events) / examples,
        examples=examples,
        seconds=round(sum(event.seconds for event in events), 2),
    )


def table(model: str, summary: Mapping[str, float], order: Sequence[str]) -> str:
    """Write accuracies as a Markdown table, in per cent, like those of the papers.

    Args:
        model: What the row is called.
        summary: Of `summarize`.
        order: Languages in the order of the columns; those without a number are left out.
    """
    languages = [code for code in order if code in summary]
    languages += [code for code in [*summary][2:] if code not in languages]  # after two means
    values = [summary[code] for code in (*languages, "average")]
    rows = (
        ["Model", *languages, "Avg"],
        ["---"] * (len(languages) + 2),
        [model, *(f"{100 * value:.1f}" for value in values)],
    )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
