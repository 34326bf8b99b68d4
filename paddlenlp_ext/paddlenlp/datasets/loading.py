"""`load_dataset`: a function's examples, or those of GLUE and XNLI with PaddleNLP's columns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.paddlenlp.datasets.dataset import IterDataset, MapDataset, in_splits
from paddlenlp_ext.tasks import cross_lingual, glue
from paddlenlp_ext.tasks.download import official_folder
from paddlenlp_ext.tasks.rows import read_rows, refuse_row
from paddlenlp_ext.tasks.task import Task, TextExample

Rows = Callable[[], Iterable[dict[str, Any]]]


def load_dataset(
    path_or_read_func: str | Callable[..., Iterable[Any]],
    name: str | None = None,
    data_files: Any = None,
    splits: Any = None,
    lazy: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Return examples as a `MapDataset`, or an `IterDataset` if `lazy`; of several splits a list.

    Args:
        path_or_read_func: "glue", "xnli", or a function that returns examples and is given what
            of these arguments it takes.
        name: GLUE's task ("sst-2"), or XNLI's language ("en"; "all_languages").
        data_files: Files in the official layout; the official ones are downloaded if None.
        splits: "train", "dev" …, or several; all that have labels if None.
        lazy: Whether to return streams.
        kwargs: More for the function.

    Raises:
        UserError: There is no such data set here.
        DataError: A file is missing, or a row cannot be used.
    """
    if callable(path_or_read_func):
        given = {"name": name, "data_files": data_files, "splits": splits, **kwargs}
        takes = inspect.signature(path_or_read_func).parameters
        taken = {key: value for key, value in given.items() if key in takes}
        return _dataset(partial(path_or_read_func, **taken), lazy, None)
    if path_or_read_func not in ("glue", "xnli"):
        raise UserError(
            f"load_dataset reads glue and xnli here, not {path_or_read_func!r}; give a function "
            "that returns examples (`load_dataset(read, data_path=…, lazy=False)`)"
        )
    is_glue = path_or_read_func == "glue"
    task = glue.glue_task(name or "") if is_glue else cross_lingual.XNLI
    files = [data_files] if isinstance(data_files, str) else data_files
    wanted = [splits] if isinstance(splits, str) else [*(splits or task.splits)]
    if files is not None and len(files) != len(wanted):
        raise DataError(f"there are {len(files)} `data_files` for {len(wanted)} `splits`")
    read: Any = _read_glue if is_glue else _read_xnli
    datasets = []
    for number, split in enumerate(wanted):
        path = None if files is None else Path(files[number])
        labels = None if task.labels is None else [*task.labels]
        datasets.append(_dataset(partial(read, task, split, path, name), lazy, labels))
    return in_splits(wanted, datasets)


def _dataset(
    rows: Rows, lazy: bool | None, labels: Sequence[str] | None
) -> MapDataset | IterDataset:
    if lazy:
        return IterDataset(rows, label_list=labels)
    examples = rows()
    is_list = hasattr(examples, "__len__") and hasattr(examples, "__getitem__")
    return MapDataset(examples if is_list else [*examples], label_list=labels)


def _read_glue(
    task: Task, split: str, path: Path | None, name: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split, `sentence` or `sentence1` and `sentence2`, and `labels`."""
    table = task.table(split)
    for file in table.files if path is None else [path]:
        file = Path(file) if path else official_folder(task, split) / file
        for _, row in read_rows(file, task, table):
            if not isinstance(row, TextExample):
                refuse_row(file, row)
            texts = (
                {"sentence": row.text_a}
                if row.text_b is None
                else {"sentence1": row.text_a, "sentence2": row.text_b}
            )
            yield texts if table.label is None else {**texts, "labels": row.label}


def _read_xnli(
    task: cross_lingual.CrossLingualTask, split: str, path: Path | None, name: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split, `premise`, `hypothesis` and `label`, in one language or all."""
    languages = None if name in (None, "all_languages") else [name or ""]
    files = task.official_files(split, languages)
    folder = official_folder(task, split, files) if path is None else path
    found = cross_lingual.read_languages(task, split, folder, languages)
    for rows in found.values():
        for row in rows:
            yield {"premise": row.text_a, "hypothesis": row.text_b, "label": row.label}
