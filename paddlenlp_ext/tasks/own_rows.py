"""Rows of a user's own files: texts, labels and languages from the columns that hold them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import DataError, shown
from paddlenlp_ext.tasks.columns import Columns
from paddlenlp_ext.tasks.records import Record, language_in, read_records, text_in
from paddlenlp_ext.tasks.rows import BadRow, refuse_row
from paddlenlp_ext.tasks.task import TextExample
from paddlenlp_ext.tasks.written_labels import ProblemType, ReadLabel, written_label


@dataclass
class SplitRows:
    """Rows of a split, as `TextExample` or still without number of their label, by four fields."""

    rows: list[Any]
    languages: list[str]
    bad_rows: list[BadRow]
    has_labels: bool = True

    def number_labels(self, read: ReadLabel) -> None:
        """Make examples of the rows in their place, so that there are no two of each."""
        for at, (text_a, text_b, written, source) in enumerate(self.rows):
            self.rows[at] = TextExample(text_a, text_b, read(written), source)

    def parted(
        self, share: float, problem: ProblemType, seed: int
    ) -> tuple["SplitRows", "SplitRows"]:
        """Choose a part of the rows by their labels, and return the others and it, in order.

        Raises:
            DataError: One of both would be empty.
        """
        keys = [
            0
            if problem == "regression"
            else getattr(row.label, "tobytes", lambda row=row: row.label)()
            for row in self.rows
        ]
        chosen = _choose(keys, share, seed)
        return self._of(~chosen, self.bad_rows), self._of(chosen, [])

    def _of(self, chosen: npt.NDArray[np.bool_], bad_rows: list[BadRow]) -> "SplitRows":
        return SplitRows(
            [*compress(self.rows, chosen)], [*compress(self.languages, chosen)], bad_rows
        )


def read_split(
    paths: Sequence[Path],
    columns: Columns,
    separator: str | None,
    read: ReadLabel | None,
    split: str,
    *,
    on_bad_row: Literal["error", "skip"],
) -> SplitRows:
    """Read the files of a split.

    Args:
        paths: Of the files, whose columns may stand in another order.
        columns: That they have; those to predict need no labels.
        separator: What parts several labels in a field; None where a field is one.
        read: Numbers labels; without it they stay as they are written.
        split: "train", "dev" or "test".
        on_bad_row: Stop at a row that cannot be used, or leave it out and list it.

    Raises:
        DataError: A file, or a row, cannot be used.
    """
    found = SplitRows([], [], [])
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
                if on_bad_row == "error":
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


def _columns_of(path: Path, record: Record, columns: Columns, split: str) -> Columns:
    """Return the columns of one file; only a test file needs no labels.

    Raises:
        DataError: It lacks one.
    """
    if path.name.lower().removesuffix(".gz").endswith(".txt"):
        columns = Columns("text", columns.pair and "text_pair", "label")
    if split == "train" and columns.language not in record.values:
        columns = replace(columns, language=None)
    label = columns.label
    if split == "test" and label is not None:
        is_there = label in record.values and _has_labels(path, label)
        columns = replace(columns, label=label if is_there else None)
    for name in (*columns.texts, columns.label, columns.language):
        if name is not None and name not in record.values:
            known = ", ".join(shown(one, 30) for one in record.values)
            raise DataError(
                f"{path}: expected the column {shown(name, 40)}, as the other files have it, got "
                f"{known}"
            )
    return columns


def _has_labels(path: Path, column: str) -> bool:
    """Whether a file has a label at all: those of some competitions have an empty column."""
    rows = (one.values.get(column) for one in read_records(path) if isinstance(one, Record))
    return any(label is not None and str(label).strip() for label in rows)


def _row(
    record: Record,
    columns: Columns,
    separator: str | None,
    read: ReadLabel | None,
    same: dict[Any, Any],
) -> tuple[Any, str | None]:
    """Make an example of a record, and name its language; ValueError says what it lacks."""
    values = record.values
    text_a = text_in(values, columns.text)
    text_b = None if columns.pair is None else text_in(values, columns.pair)
    language = None
    if columns.language is not None:
        language = language_in(values, columns.language)
        language = same.setdefault(language, language)
    if columns.label is None:
        return TextExample(text_a, text_b, 0, record.source), language
    written = written_label(values.get(columns.label), columns.label, separator)
    written = same.setdefault(written, written)
    if read is None:
        return (text_a, text_b, written, record.source), language
    return TextExample(text_a, text_b, read(written), record.source), language


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
