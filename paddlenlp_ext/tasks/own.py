"""A task of a user's own files: which columns are read, what the labels are, which rows are what.

What is not given is guessed from the training file's columns and labels, where one guess is
possible, and said. Rows that cannot be used are named by file and line; see `tasks.rows`.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from paddlenlp_ext import metrics
from paddlenlp_ext.errors import DataError, WeightsError, one_line, shown
from paddlenlp_ext.files.disk import MAX_JSON, read_file
from paddlenlp_ext.tasks.columns import Columns, find_columns
from paddlenlp_ext.tasks.cross_lingual import ALL, ExamplesByLanguage
from paddlenlp_ext.tasks.records import Record, fault_of, find_tables, read_records
from paddlenlp_ext.tasks.rows import BadRow, Examples, read_score, refuse_row
from paddlenlp_ext.tasks.task import Metric, Table, Task, TextExample

ProblemType = Literal["single_label", "multi_label", "regression"]
Label = int | float | npt.NDArray[np.float32]
Written = str | tuple[str, ...]  # a label as it is written; several at once are a tuple
ReadLabel = Callable[[Written], Label]

SEPARATOR = ","  # of several labels in one field


@dataclass(frozen=True, kw_only=True)
class OwnDataSettings:
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

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], **settings: Any) -> "OwnDataSettings":
        """Make them of a script's flags, of which those of other names and None are left out."""
        names = {one.name for one in fields(cls)}
        given = {name: flags[name] for name in names & flags.keys() if flags[name] is not None}
        return cls(**given | settings)


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
        _label_reader(problem, labels) if problem and (labels or problem == "regression") else None
    )
    separator = settings.label_separator or (SEPARATOR if problem == "multi_label" else None)
    splits: dict[str, _Split] = {}
    for split, paths in files.items():
        splits[split] = _read_split(paths, columns, separator, read, settings, split)
        if read is None:  # of the training file, which tells what the labels are
            written = [row[2] for row in splits[split].rows]
            problem = problem or _guess(written)
            if problem != "regression":
                labels = _sorted_labels(written, problem, columns)
            read = _label_reader(problem, labels)
            splits[split].number_labels(read)
    assert problem is not None
    notes = [_described(columns, labels, problem)]
    if "train" in splits and "dev" not in splits and settings.validation_share:
        splits["train"], dev = splits["train"].parted(settings, problem)
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
        _metric(problem, labels),
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


@dataclass
class _Split:
    """Rows of a split, as `TextExample` or still without number of their label, by four fields."""

    rows: list[Any]
    languages: list[str]
    bad_rows: list[BadRow]
    has_labels: bool = True

    def number_labels(self, read: ReadLabel) -> None:
        """Make examples of the rows in their place, so that there are no two of each."""
        for at, (text_a, text_b, written, source) in enumerate(self.rows):
            self.rows[at] = TextExample(text_a, text_b, read(written), source)

    def parted(self, settings: OwnDataSettings, problem: ProblemType) -> tuple["_Split", "_Split"]:
        """Choose a part of the rows by their labels, and return the others and it, in order."""
        keys = [
            0
            if problem == "regression"
            else getattr(row.label, "tobytes", lambda row=row: row.label)()
            for row in self.rows
        ]
        chosen = _choose(keys, settings.validation_share, settings.seed)
        return self._of(~chosen, self.bad_rows), self._of(chosen, [])

    def _of(self, chosen: npt.NDArray[np.bool_], bad_rows: list[BadRow]) -> "_Split":
        return _Split([*compress(self.rows, chosen)], [*compress(self.languages, chosen)], bad_rows)


def _read_split(
    paths: Sequence[Path],
    columns: Columns,
    separator: str | None,
    read: ReadLabel | None,
    settings: OwnDataSettings,
    split: str,
) -> _Split:
    """Read files; labels stay as they are written where nothing reads them yet."""
    found = _Split([], [], [])
    names = Counter(path.name for path in paths)
    same: dict[Any, Any] = {}  # of equal labels and languages one object for all rows
    for path in paths:
        own: Columns | None = None
        for record in read_records(path, path.name if names[path.name] == 1 else str(path)):
            try:
                if isinstance(record, BadRow):
                    raise ValueError(record.reason)
                if own is None:
                    own = _columns_of(path, record, columns, split)
                    found.has_labels = found.has_labels and own.label is not None
                row = _row(record, own, separator, read, same)
            except ValueError as error:
                bad = BadRow(record.source, str(error))
                if settings.on_bad_row == "error":
                    refuse_row(path, bad)
                found.bad_rows.append(bad)
                continue
            found.rows.append(row[0])
            if row[1] is not None:
                found.languages.append(row[1])
    if not found.rows:
        listed = ", ".join(map(str, paths))
        raise DataError(f"{listed}: no usable row ({len(found.bad_rows)} that cannot be used)")
    if found.languages and len(found.languages) < len(found.rows):
        raise DataError(f"{paths[0]}: some files have the `language_column_name`, and others not")
    return found


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


def _columns_of(path: Path, record: Record, columns: Columns, split: str) -> Columns:
    """Return the columns of one file; only a test file needs no labels.

    Raises:
        DataError: It lacks one.
    """
    if path.name.lower().removesuffix(".gz").endswith(".txt"):
        columns = Columns("text", columns.pair and "text_pair", "label")
    if split == "train" and columns.language not in record.values:
        columns = replace(columns, language=None)
    if split == "test" and columns.label not in record.values:
        columns = replace(columns, label=None)
    for name in (*columns.texts, columns.label, columns.language):
        if name is not None and name not in record.values:
            known = ", ".join(shown(one, 30) for one in record.values)
            raise DataError(
                f"{path}: expected the column {shown(name, 40)}, as the other files have it, got "
                f"{known}"
            )
    return columns


def _row(
    record: Record,
    columns: Columns,
    separator: str | None,
    read: ReadLabel | None,
    same: dict[Any, Any],
) -> tuple[Any, str | None]:
    """Make an example of a record, and name its language; ValueError says what it lacks."""
    values = record.values
    text_a = _text(values, columns.text)
    text_b = None if columns.pair is None else _text(values, columns.pair)
    language = None
    if columns.language is not None:
        language = _text(values, columns.language)
        language = same.setdefault(language, language)
    if columns.label is None:
        return TextExample(text_a, text_b, 0, record.source), language
    written = _written(values.get(columns.label), columns.label, separator)
    written = same.setdefault(written, written)
    if read is None:
        return (text_a, text_b, written, record.source), language
    return TextExample(text_a, text_b, read(written), record.source), language


def _text(values: Mapping[str, Any], name: str) -> str:
    text = values.get(name)
    if not isinstance(text, str) or not text.strip():
        got = "none" if text is None or text == "" or isinstance(text, str) else shown(text, 40)
        raise ValueError(f"expected a text, got {got} in column {shown(name, 40)}")
    if reason := fault_of(text):
        raise ValueError(reason)
    return text


def _written(value: Any, name: str, separator: str | None) -> Written:
    """Return a label, or several, as text."""
    if isinstance(value, list):
        return tuple(dict.fromkeys(_one_written(one, name) for one in value))
    if separator is not None and isinstance(value, str):
        parts = (part.strip() for part in value.split(separator))
        return tuple(dict.fromkeys(part for part in parts if part))
    return _one_written(value, name)


def _one_written(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    text = repr(value) if isinstance(value, float) else value
    if not isinstance(text, str) or not text.strip():
        got = "none" if text is None or isinstance(text, str) else shown(text, 40)
        raise ValueError(f"expected a label, got {got} in column {shown(name, 40)}")
    if reason := fault_of(text):
        raise ValueError(reason)
    return text.strip()


def _guess(written: Iterable[Written]) -> ProblemType:
    """Guess the kind of problem: lists are several labels, numbers with fractions are scores."""
    has_fraction = False
    is_score = True
    for one in {*written}:
        if isinstance(one, tuple):
            return "multi_label"
        is_score = is_score and _is_number(one)
        has_fraction = has_fraction or not one.lstrip("+-").isdecimal()
    return "regression" if is_score and has_fraction else "single_label"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(read_score(text))
    except ValueError:
        return False


def _sorted_labels(
    written: Iterable[Written], problem: ProblemType, columns: Columns
) -> tuple[str, ...]:
    """Number the labels that occur: numbers by their size, texts as they are sorted."""
    found = {label for one in {*written} for label in ((one,) if isinstance(one, str) else one)}
    if not found or (problem == "single_label" and len(found) < 2):
        raise DataError(
            f"`train_file`: expected two labels or more in column {shown(columns.label, 40)}, got "
            f"{', '.join(found) or 'none'}; give the right `label_column_name`, or all `labels`"
        )
    is_numbers = all(label.isdecimal() for label in found)
    return tuple(sorted(found, key=(lambda label: (int(label), label)) if is_numbers else None))


def given_labels(given: Sequence[str]) -> tuple[str, ...]:
    """Return labels that are given in their order, or in a file with one a line.

    Raises:
        DataError: The file cannot be read, or a label comes twice.
    """
    labels = [*given]
    if len(labels) == 1 and os.path.isfile(os.path.expanduser(labels[0])):
        path = Path(labels[0]).expanduser()
        try:
            lines = read_file(path, MAX_JSON).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise DataError(f"{path}: expected labels in UTF-8, one a line") from None
        except WeightsError as error:
            raise DataError(str(error)) from None
        labels = [line.strip() for line in lines if line.strip()]
    twice = next((label for label, count in Counter(labels).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"`labels`: {shown(twice, 40)} comes twice; give each once")
    if not labels:
        raise DataError("`labels`: expected labels, got none")
    return tuple(labels)


def _label_reader(problem: ProblemType, labels: Sequence[str]) -> ReadLabel:
    """Return what numbers a written label; its ValueError says what is wrong with it."""
    if problem == "regression":
        return lambda written: read_score(_single(written))
    numbers = {label: number for number, label in enumerate(labels)}

    def number_of(label: str) -> int:
        if label not in numbers:
            raise ValueError(f"expected a label of {', '.join(labels)}, got {shown(label, 40)}")
        return numbers[label]

    if problem == "single_label":
        return lambda written: number_of(_single(written))
    vectors: dict[Written, npt.NDArray[np.float32]] = {}  # one object for all rows alike

    def vector_of(written: Written) -> npt.NDArray[np.float32]:
        if written not in vectors:
            vector = np.zeros(len(labels), np.float32)
            for label in (written,) if isinstance(written, str) else written:
                vector[number_of(label)] = 1
            vectors[written] = vector
        return vectors[written]

    return vector_of


def _single(written: Written) -> str:
    if isinstance(written, tuple):
        raise ValueError(f"expected one label, got a list of {len(written)}")
    return written


def _metric(problem: ProblemType, labels: Sequence[str]) -> Metric:
    if problem == "regression":
        return metrics.regression
    by_labels = metrics.multi_label if problem == "multi_label" else metrics.single_label
    return partial(by_labels, names=labels)


def _choose(keys: Sequence[Any], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Choose a part of the rows, of each label as many as its part is.

    Args:
        keys: The label of each row.
        share: The part; at least one row is chosen, and one is not.
        seed: Of the choice.
    """
    if len(keys) < 2 or share >= 1:
        raise DataError(
            f"`validation_share` {share:g}: expected a part of {len(keys)} training rows that "
            "leaves some to train on; give a `validation_file`, or 0"
        )
    groups: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    wanted = min(max(round(len(keys) * share), 1), len(keys) - 1)
    exact = [len(rows) * wanted / len(keys) for rows in groups.values()]
    counts = [int(one) for one in exact]
    rest = sorted(range(len(exact)), key=lambda group: counts[group] - exact[group])
    for group in rest[: wanted - sum(counts)]:
        counts[group] += 1
    # As in `batches.BatchOrder`: the same numbers in every release of NumPy.
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, len(keys)))))
    chosen = np.zeros(len(keys), np.bool_)
    for rows, count in zip(groups.values(), counts, strict=True):
        chosen[random.permutation(rows)[:count]] = True
    return chosen


def _described(columns: Columns, labels: Sequence[str], problem: ProblemType) -> str:
    """Say what is read from which columns."""
    texts = " and ".join(repr(name) for name in columns.texts)
    if columns.label is None:
        return f"reads text from {texts}, {problem}"
    listed = one_line(", ".join(labels), 100)
    counted = f" ({len(labels)}: {listed})" if labels else ""
    return f"reads text from {texts}, labels from {columns.label!r}{counted}, {problem}"
