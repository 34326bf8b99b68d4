"""Predict the rows of a user's file with a saved model, an exported program or an ONNX file.

The class of the model says what the rows are; see `inference.file_tasks`. A file is read twice:
first all of it is looked at, so that what is wrong with it is said before anything is computed,
then it is predicted window by window. Neither rows nor predictions are held as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import Literal

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.inference.file_tasks import FILE_TASKS, FileSettings, FileTask, Item
from paddlenlp_ext.inference.runners import exported_path, load
from paddlenlp_ext.models.auto import AutoConfig
from paddlenlp_ext.process.devices import Type
from paddlenlp_ext.process.streams import progress_bar
from paddlenlp_ext.tasks.prediction_files import path_of
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.weights import folders

LANGUAGES = 200  # files that a file is parted into; more are no languages


@dataclass
class Predicted:
    """What became of a file.

    Attributes:
        rows: How many were predicted, by language; the language is "" where none is named.
        width: Of the widest row.
        bad_rows: How many were left out.
        first_bad: The first of them.
        note: What was read.
        tables: The files `predictions_<file>.tsv`, one a language; others lie beside them.
    """

    rows: Counter[str] = field(default_factory=Counter)
    width: int = 1
    bad_rows: int = 0
    first_bad: BadRow | None = None
    note: str = ""
    tables: list[Path] = field(default_factory=list)

    @property
    def left_out(self) -> str:
        """What was left out, in a line."""
        if self.first_bad is None:
            return ""
        first = f"{self.first_bad.source}: {self.first_bad.reason}"
        return f"{self.bad_rows:,} rows that cannot be used are left out, first {first}"


def predict_file(
    model: str | Path,
    path: Path,
    folder: Path | None = None,
    settings: FileSettings | None = None,
    *,
    device: str | None = None,
    amp_dtype: Type | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
) -> Predicted:
    """Predict the rows of a file, and write the predictions down as the scripts do.

    Args:
        model: What `pipeline` takes, but for a model that is loaded already.
        path: The file; its name says its format.
        folder: For the predictions; None is that of the file.
        settings: What there is to say of the file.
        device: As `pipeline` takes it.
        amp_dtype: The same.
        batch_size: Rows that are computed together.
        max_length: Longer texts are cut, or parted where the scripts part them.
        on_bad_row: Whether a row that cannot be used is an error or left out.

    Raises:
        UserError: A row, a setting or the model cannot be used; nothing was written.
    """
    settings = settings or FileSettings()
    if path.is_dir():
        raise DataError(f"{path}: is a folder; expected the file whose rows are to be predicted")
    task = file_task(model, settings)
    found = _look_at(task, path, on_bad_row)
    loaded = load(model, task.head, device=device, amp_dtype=amp_dtype)
    answering = task.answering(loaded, batch_size=batch_size, max_length=max_length)
    stem = Path(path.name.removesuffix(".gz")).stem
    parts = {one: f"{stem}_{one}" if one else stem for one in found.rows}
    target = folder or path.parent
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar(found.rows.total(), desc="predicting", unit="row"))
        write = {
            language: stack.enter_context(task.writer(target, part, found.width))
            for language, part in parts.items()
        }
        items, waiting = tee(_items(task, path))
        answers = answering(item.sample for item in waiting)
        count = Counter[str]()
        for item, answer in zip(items, answers, strict=True):
            count[item.language] += 1
            if count[item.language] > found.rows[item.language]:
                break
            write[item.language](*task.row(item, answer))
            bar.update()
        if count != found.rows:
            raise DataError(f"{path}: was changed while its rows were predicted; run it again")
    found.tables = [path_of(target, part) for part in parts.values()]
    return found


def file_task(model: str | Path, settings: FileSettings) -> FileTask:
    """Find what a model's class is for.

    Raises:
        UserError: There is no such model, it is for other than files, or a setting is not for it.
    """
    exported = exported_path(model)
    if exported is None and Path(model).expanduser().is_file():
        raise UserError(f"{model}: is a file; expected a model, and after it the file to predict")
    source = resolve(exported.parent if exported else model)
    config = AutoConfig.from_pretrained(source)
    name = _class_name(source)
    known = {one.head: one for one in FILE_TASKS}
    cls = next((one for head, one in known.items() if name.endswith(head)), None)
    if cls is None:
        raise UserError(
            f"{model}: is a {name}; expected a model that was fine-tuned, of a class "
            f"{', '.join(known)}"
        )
    for setting in settings.given():
        if setting not in cls.settings:
            takes = ", ".join(f"`{one}`" for one in cls.settings)
            raise UserError(f"`{setting}`: means nothing to {model}, a {name}; it takes {takes}")
    return cls(settings, config)


def _class_name(source: Source) -> str:
    """Return the class that a model was saved from; the first in `FILE_TASKS` where none is named.

    `load` then says what the model lacks.
    """
    values = {} if source.preset else folders.read_config(source)
    return str((values.get("architectures") or [FILE_TASKS[0].head])[0])


def _items(task: FileTask, path: Path) -> Iterator[Item]:
    return (one for one in task.read(path) if isinstance(one, Item))


def _look_at(task: FileTask, path: Path, on_bad_row: Literal["error", "skip"]) -> Predicted:
    """Read a whole file, and say what is in it.

    Raises:
        DataError: There are no rows, or one that cannot be used.
    """
    found = Predicted()
    for item in task.read(path):
        if isinstance(item, BadRow):
            if on_bad_row == "error":
                raise DataError(
                    f"{path.parent / item.source}: {item.reason}; mend the row, or leave such rows "
                    "out with `on_bad_row` skip"
                )
            found.bad_rows += 1
            found.first_bad = found.first_bad or item
            continue
        found.rows[item.language] += 1
        found.width = max(found.width, task.width(item.sample))
        if len(found.rows) > LANGUAGES:
            raise DataError(
                f"{path.parent / item.source}: has the language number {LANGUAGES + 1}; expected "
                f"at most {LANGUAGES} in the file: give the right `language_column_name`"
            )
    if not found.rows:
        raise DataError(f"{path}:1: expected rows, got none that can be used")
    found.note = task.note
    return found
