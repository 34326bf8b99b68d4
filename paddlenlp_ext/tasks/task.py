"""What a text classification task is: its files, columns, labels and metric, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from paddlenlp_ext.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Makes numbers of the predictions and the labels of all rows, in their order: arrays [N, ...], or
# lists of arrays where rows have lengths of their own.
Metric = Callable[[Any, Any], dict[str, float]]


@dataclass(frozen=True, slots=True)
class TextExample:
    """One row of a task: a text or a pair of texts, and what it is labelled with.

    Attributes:
        text_a: The only, or the first text.
        text_b: The second text of a pair.
        label: Position in `Task.labels`; the score itself where the task is a regression; a one for
            each of the row's labels among zeros, float32 [C], where it may have several. 0 where
            the file has no labels.
        source: Where the row stands, for messages: "train.tsv:17".
    """

    text_a: str
    text_b: str | None
    label: int | float | npt.NDArray[np.float32]
    source: str


@dataclass(frozen=True)
class Table:
    """Where a split stands: its tab-separated files and the columns of theirs that are read.

    Attributes:
        files: Paths below the task's folder, read one after the other.
        text: Names of one or two columns.
        label: Name of the label's column; None where the rows have none.
        columns: The names of all columns, for a file without a header row.
    """

    files: tuple[str, ...]
    text: tuple[str, ...]
    label: str | None
    columns: tuple[str, ...] | None = None

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that are read, the label's last."""
        return self.text if self.label is None else (*self.text, self.label)


@dataclass(frozen=True)
class Archive:
    """A published file.

    Attributes:
        url: Its address.
        size: Its bytes.
        sha256: Their digest, as the data set collections of Hugging Face or TensorFlow publish it.
        folder: What the paths of a task's files begin with in it ("SST-2/").
        splits: Those that it holds, if not all.
    """

    url: str
    size: int
    sha256: str
    folder: str = ""
    splits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Task:
    """A text classification or regression task.

    Attributes:
        checks_official_rows: Whether rows of the official files that cannot be read are left out
            when they are unpacked; if not, it is up to the task's reader.
        name: The paper's name, which is also the name of the official folder: "SST-2".
        splits: "train" first, then the splits to evaluate on.
        metric: Makes the reported numbers from predictions (logits [N, C], or [N] for a
            regression) and labels [N].
        labels: The labels as they stand in the files; a label's position is its class number.
            None for a regression.
        label_names: What they are called elsewhere, where the files have numbers.
        is_multi_label: Whether a row has any number of the labels, and not one.
        label_range: Lowest and highest score of a regression.
        folder: Where its files are kept in the cache of data sets: "glue/SST-2"; `name` if empty.
        archives: Where its official files are had, if they can be.
        unpack: Makes the files in a folder of the opened archives, where they are not members.
        unlabelled: Splits to predict, whose labels are not published.
    """

    checks_official_rows: ClassVar[bool] = True

    name: str
    splits: Mapping[str, Table]
    metric: Metric
    labels: tuple[str, ...] | None = None
    label_names: tuple[str, ...] = ()
    is_multi_label: bool = False
    label_range: tuple[float, float] | None = None
    folder: str = ""
    archives: tuple[Archive, ...] = ()
    unpack: Callable[..., None] | None = None
    unlabelled: Mapping[str, Table] = field(default_factory=dict)

    def table(self, split: str) -> Table:
        """Return where a split stands.

        Raises:
            DataError: There is no such split.
        """
        tables = {**self.splits, **self.unlabelled}
        if split not in tables:
            raise DataError(f"{self.name} has no split {split!r}; it has {', '.join(tables)}")
        return tables[split]

    def official_files(self, split: str) -> tuple[str, ...]:
        """Return the paths of a split's files below `folder`, and below `Archive.folder`."""
        return self.table(split).files

    @property
    def num_labels(self) -> int:
        """Width of the classifier: the number of labels, 1 for a regression."""
        return 1 if self.labels is None else len(self.labels)
