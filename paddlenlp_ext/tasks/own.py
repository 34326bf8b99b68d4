"""A task of a user's own files: which columns are read, what the labels are, which rows are what.

What is not given is guessed from the training file's columns and labels, where one guess is
possible, and said. Rows that cannot be used are named by file and line; see `tasks.rows`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from paddlenlp_ext.errors import DataError, one_line, shown
from paddlenlp_ext.settings import Settings
from paddlenlp_ext.tasks.columns import Columns, find_columns
from paddlenlp_ext.tasks.cross_lingual import ALL, ExamplesByLanguage
from paddlenlp_ext.tasks.own_rows import SplitRows, read_split
from paddlenlp_ext.tasks.records import Record, find_tables, read_records
from paddlenlp_ext.tasks.rows import Examples, refuse_row
from paddlenlp_ext.tasks.task import Table, Task, TextExample
from paddlenlp_ext.tasks.written_labels import (
    ProblemType,
    given_labels,
    guess_problem,
    label_reader,
    metric_of,
    sorted_labels,
)

SEPARATOR = ","  # of several labels in one field


@dataclass(frozen=True, kw_only=True)
class OwnDataSettings(Settings):
    """Where a user's data are and how they are read: the scripts' flags of the same names.

    Attributes:
        labels: In the order of their numbers, or one path of a file with a label a line; None
            takes those of the training file, sorted.
        validation_share: Part of the training rows that is evaluated on, where there is no
            `validation_file`.
        seed: Of that choice.
    """

    train_file: Sequence[str] = ()
    validation_file: Sequence[str] = ()
    test_file: Sequence[str] = ()
    text_column_name: str | None = None
    text_pair_column_name: str | None = None
    label_column_name: str | None = None
    language_column_name: str | None = None
    labels: Sequence[str] | None = None
    label_separator: str | None = None
    problem_type: ProblemType | None = None
    validation_share: float = 0.1
    on_bad_row: Literal["error", "skip"] = "error"
    seed: int = 42


@dataclass(frozen=True)
class OwnData:
    """The data of a user.

    Attributes:
        task: Its labels, metric and files.
        splits: "train" first, then "dev" and "test", as far as there are any.
        languages: Of each row of a split; of no split where no column names them.
        notes: What was guessed and what is done, a line each.
    """

    task: Task
    splits: Mapping[str, Examples]
    languages: Mapping[str, Sequence[str]]
    notes: Sequence[str]

    def to_use(self, *, trains: bool, predicts: bool) -> dict[str, list[TextExample]]:
        """Return what a trained model is used on, of which what has labels is evaluated.

        Args:
            trains: Whether the run trains it, and so has evaluated it on "dev".
            predicts: Whether it predicts "test".

        Raises:
            DataError: There are no rows to predict.
        """
        if predicts and "test" not in self.splits:
            raise DataError("`test_file`: expected rows to predict, got none")
        wanted = {*self.task.splits} - {"train", *(("dev",) if trains else ())}
        wanted |= {"test"} if predicts else set()
        return {split: rows for split, rows in self.splits.items() if split in wanted}

    def splits_by_language(
        self,
        wanted: Mapping[str, Sequence[str] | None],
        *,
        max_samples: Mapping[str, int | None],
        settings: Mapping[str, str] | None = None,
    ) -> dict[str, ExamplesByLanguage]:
        """Put the rows of splits by their language, as `languages.read_splits` reads them.

        Args:
            wanted: Languages of each split, None for all; splits that there are not are left out.
            max_samples: Rows of each language to use, the first ones, by split; None uses all.
            settings: Where the languages of a split were given, if not as `languages`.
        """
        splits = {}
        for split, codes in wanted.items():
            if split in self.splits:
                setting = (settings or {}).get(split, "languages")
                splits[split] = self.by_language(split, codes, setting=setting)
                for rows in splits[split].values():
                    del rows[max_samples.get(split) or len(rows) :]
        return splits

    def by_language(
        self, split: str, only: Sequence[str] | None = None, *, setting: str = "languages"
    ) -> ExamplesByLanguage:
        """Put the rows of a split by their language, or under `ALL` where no column names it.

        Args:
            split: One of `splits`.
            only: The languages that are wanted, in their order; None wants all, as they come.
            setting: Where they were given, for messages.

        Raises:
            DataError: No row has a wanted language.
        """
        examples = self.splits[split]
        codes = self.languages.get(split) or [ALL] * len(examples)
        known = dict.fromkeys(codes)
        for code in only or ():
            if code not in known:
                raise DataError(
                    f"`{setting}`: {split} has no row in {shown(code, 40)}; known: "
                    f"{', '.join(known)}; give `language_column_name` if a column names them"
                )
        found = ExamplesByLanguage(only or [*known])
        for code, example in zip(codes, examples, strict=True):
            if code in found:
                found[code].append(example)
        found.bad_rows.extend(examples.bad_rows)
        return found


def read_own_data(settings: OwnDataSettings) -> OwnData:
    """Read all files of a user.

    Without training files there must be `labels`, or a regression: nothing tells them.

    Raises:
        DataError: A file cannot be read, a column cannot be found, or a row cannot be used.
    """
    given = {"train": "train_file", "dev": "validation_file", "test": "test_file"}
    files = {
        split: find_tables(getattr(settings, setting), setting)
        for split, setting in given.items()
        if getattr(settings, setting)
    }
    if not files:
        raise DataError("`train_file`: expected a file, got none")
    columns, first = _first_record(
        next(iter(files.values())), settings, labelled={*files} != {"test"}
    )
    labels = given_labels(settings.labels) if settings.labels else ()
    problem = settings.problem_type
    if labels and problem is None:
        several = settings.label_separator or isinstance(first, list)
        problem = "multi_label" if several else "single_label"
    if "train" not in files and not labels and problem != "regression":
        raise DataError("`labels`: expected them, since no `train_file` tells what they are")
    read = (
        label_reader(problem, labels) if problem and (labels or problem == "regression") else None
    )
    separator = settings.label_separator or (SEPARATOR if problem == "multi_label" else None)
    splits: dict[str, SplitRows] = {}

    def rows_of(split: str) -> SplitRows:
        return read_split(
            files[split], columns, separator, read, split, on_bad_row=settings.on_bad_row
        )

    for split in files:
        splits[split] = rows_of(split)
        if read is None:  # of the training file, which tells what the labels are
            written = [row[2] for row in splits[split].rows]
            problem = problem or guess_problem(written)
            labels = sorted_labels(written, problem, columns.label)
            read = label_reader(problem, labels)
            try:
                splits[split].number_labels(read)
            except ValueError:  # of a score that is none; reading again says where it stands
                del splits[split]
                splits[split] = rows_of(split)
    assert problem is not None
    notes = [_described(columns, labels, problem)]
    if "train" in splits and "dev" not in splits and settings.validation_share:
        splits["train"], dev = splits["train"].parted(
            settings.validation_share, problem, settings.seed
        )
        splits = {"train": splits.pop("train"), "dev": dev} | splits
        notes.append(
            f"sets {len(dev.rows):,} of the training file's rows apart to evaluate on "
            f"(validation_share {settings.validation_share:g})"
        )
    counts = [f"{len(one.rows):,} in {split}" for split, one in splits.items()]
    notes.append(f"rows: {', '.join(counts)}")
    unlabelled = [split for split, one in splits.items() if not one.has_labels]
    notes += [f"{split} has no labels: there are no metrics of it" for split in unlabelled]

    def table_of(split: str) -> Table:
        return Table(tuple(map(str, files.get(split, ()))), columns.texts, columns.label)

    name = re.sub(r"[^\w.-]", "_", next(iter(files.values()))[0].name.partition(".")[0]) or "data"
    task = Task(
        name,
        {split: table_of(split) for split in splits if split not in unlabelled},
        metric_of(problem, labels),
        labels=None if problem == "regression" else labels,
        is_multi_label=problem == "multi_label",
        unlabelled={split: replace(table_of(split), label=None) for split in unlabelled},
        folder=f"own/{name}",
    )
    return OwnData(
        task,
        {split: Examples(one.rows, one.bad_rows) for split, one in splits.items()},
        {split: one.languages for split, one in splits.items() if one.languages},
        notes,
    )


def _first_record(
    paths: Sequence[Path], settings: OwnDataSettings, *, labelled: bool
) -> tuple[Columns, Any]:
    """Find the columns in the first record that there is, and return its label too."""
    given = Columns(
        settings.text_column_name or "",
        settings.text_pair_column_name,
        settings.label_column_name,
        settings.language_column_name,
    )
    for path in paths:
        for record in read_records(path):
            if isinstance(record, Record):
                if settings.train_file and given.language not in record.values:
                    given = replace(given, language=None)  # the others may have it
                columns = find_columns(given, [*record.values], str(path), labelled=labelled)
                columns = replace(columns, language=settings.language_column_name)
                return columns, record.values.get(columns.label or "")
            if settings.on_bad_row == "error":
                refuse_row(path, record)
    raise DataError(f"{', '.join(map(str, paths))}: expected rows, got none")


def _described(columns: Columns, labels: Sequence[str], problem: ProblemType) -> str:
    """Say what is read from which columns."""
    texts = " and ".join(repr(name) for name in columns.texts)
    if columns.label is None:
        return f"reads text from {texts}, {problem}"
    listed = one_line(", ".join(labels), 100)
    counted = f" ({len(labels)}: {listed})" if labels else ""
    return f"reads text from {texts}, labels from {columns.label!r}{counted}, {problem}"
