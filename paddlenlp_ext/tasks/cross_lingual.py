"""XNLI and PAWS-X: one row of data each, and their rows by language.

XNLI: Conneau et al. 2018, https://arxiv.org/abs/1809.05053. PAWS-X: Yang et al. 2019,
https://arxiv.org/abs/1908.11828. Files may lie as in the unpacked official archives or flat in one
folder, under the same names. Rules for odd rows, all of them in `read_languages`:

- A header line that comes again is no row: files of several languages may be put together by hand.
  A flat PAWS-X file with such lines is of several parts, so that no one language can name it.
- "contradiction" (XNLI-1.0) and "contradictory" (XNLI-MT-1.0) are the same label.
- A row whose gold label is "-" (its annotators did not agree, SNLI's and MultiNLI's sign) is no
  example; it is left out and listed, because nothing in it can be mended.
- So is a row with an empty text. The official files have some, where a translation is missing, and
  PaddleNLP's readers pass over them.
- A PAWS-X text that reads "NS" was not translated. Such rows, all labelled 0, stay as they are:
  published figures count them (2,000 rows a language).
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from paddlenlp_ext import metrics
from paddlenlp_ext.errors import DataError, WeightsError, shown
from paddlenlp_ext.files.disk import open_file
from paddlenlp_ext.tasks.rows import BOM, MAX_LINE, BadRow, BlankRow, read_rows, require_text
from paddlenlp_ext.tasks.task import Archive, Table, Task, TextExample

# fmt: off
XNLI_LANGUAGES = (
    "ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh",
)
XNLI_TABLE_ORDER = (  # of the papers' tables
    "en", "fr", "es", "de", "el", "bg", "ru", "tr", "ar", "vi", "th", "zh", "hi", "sw", "ur",
)
PAWS_X_LANGUAGES = ("de", "en", "es", "fr", "ja", "ko", "zh")
# fmt: on
ALL = "all"  # stands for the language where a file does not name it
NO_LABEL = "-"
SAME_LABEL = {"contradiction": "contradictory", "contradictory": "contradiction"}


@dataclass(frozen=True, kw_only=True)
class CrossLingualTask(Task):
    """A task with the same splits in several languages.

    The `files` of a split are the places where it may lie, the archive's first. "{language}" in a
    place means a file for each language, "{train}" the name that PAWS-X gives to its training file.

    Attributes:
        languages: Their codes, in the archive's order.
        language_column: The column that names a row's language in a file of several languages.
        folder: Also the name of the task's folder in `data/`.
    """

    checks_official_rows: ClassVar[bool] = False  # `read_languages` lists them

    languages: tuple[str, ...]
    language_column: str | None

    def official_files(self, split: str, languages: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the paths of a split's files, those of all languages if none are asked for.

        Raises:
            DataError: The task does not have the split or a language.
        """
        place = self.table(split).files[0]
        codes = check_languages(self, languages)
        return tuple(dict.fromkeys(fill_in(place, code) for code in codes))


class NoExample(BadRow):
    """A row of the official files without gold label or without a text; no fault of the copy."""


class ExamplesByLanguage(dict[str, list[TextExample]]):
    """The usable rows of a split for each language, in the caller's order, and the others.

    Attributes:
        bad_rows: The rows that were left out: those without a gold label or a text, and what else
            cannot be used where the caller allowed it.
        mixed_file: The file whose rows do not name their language, although some of the languages
            were asked for; None if what was asked for is what is here.
    """

    def __init__(self, languages: Sequence[str]):
        super().__init__((language, []) for language in languages)
        self.bad_rows: list[BadRow] = []
        self.mixed_file: Path | None = None


def _xnli_tables() -> dict[str, Table]:
    train = "multinli.train.{language}.tsv"
    tables = {
        "train": Table((f"XNLI-MT-1.0/multinli/{train}", train), ("premise", "hypo"), "label")
    }
    for split in ("dev", "test"):
        name = f"xnli.{split}.tsv"
        tables[split] = Table((f"XNLI-1.0/{name}", name), ("sentence1", "sentence2"), "gold_label")
    return tables


def _paws_x_tables() -> dict[str, Table]:
    places = {
        # Flat, training is in English; the other languages' files have another name.
        "train": ("x-final/{language}/{train}.tsv", "{language}/{train}.tsv", "train.tsv"),
        "dev": ("x-final/{language}/dev_2k.tsv", "{language}/dev_2k.tsv", "dev_2k.tsv"),
        "test": ("x-final/{language}/test_2k.tsv", "{language}/test_2k.tsv", "test_2k.tsv"),
    }
    return {
        split: Table(names, ("sentence1", "sentence2"), "label") for split, names in places.items()
    }


XNLI = CrossLingualTask(
    "XNLI",
    _xnli_tables(),
    metrics.accuracy,
    # ERNIE-M's order, and that of Hugging Face's data set.
    labels=("entailment", "neutral", "contradiction"),
    languages=XNLI_LANGUAGES,
    language_column="language",
    folder="xnli",
    archives=(
        Archive(
            "https://dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip",
            17_865_352,
            "4ba1d5e1afdb7161f0f23c66dc787802ccfa8a25a3ddd3b165a35e50df346ab1",
            splits=("dev", "test"),
        ),
        Archive(
            "https://dl.fbaipublicfiles.com/XNLI/XNLI-MT-1.0.zip",
            466_098_360,
            "f732517ba2fb1d550e9f3c2aabaef6017c91ee2dcec90e878f138764d224db05",
            splits=("train",),
        ),
    ),
)
# The order of the RemBERT page's script, which decides what its checkpoints' outputs mean.
XNLI_REMBERT = replace(XNLI, labels=("neutral", "entailment", "contradictory"))
PAWS_X = CrossLingualTask(
    "PAWS-X",
    _paws_x_tables(),
    metrics.accuracy,
    labels=("0", "1"),
    label_names=("not_paraphrase", "paraphrase"),
    languages=PAWS_X_LANGUAGES,
    language_column=None,
    folder="pawsx",
    archives=(
        Archive(
            "https://storage.googleapis.com/paws/pawsx/x-final.tar.gz",
            30_282_057,
            "4146db499101d66e68ae4c8ed3cf9dadecd625f44b7d8cf3d4a0fe93afc4fd9f",
        ),
    ),
)


def read_languages(
    task: CrossLingualTask,
    split: str,
    data_dir: str | Path,
    languages: Sequence[str] | None = None,
    *,
    on_bad_row: Literal["error", "skip"] = "error",
) -> ExamplesByLanguage:
    """Read a split of a cross-lingual task, by language.

    Args:
        task: What to read.
        split: "train", "dev" or "test".
        data_dir: Folder of the flat files or of the unpacked archives, or the folder above it.
        languages: Codes, in the order of the result; all of the task's if absent, or those that
            are there where one file holds several.
        on_bad_row: "error" stops at the first row that cannot be used, "skip" leaves such rows out
            and lists them in `bad_rows` of the result. Rows without a gold label or with an empty
            text are left out and listed either way: the official files have them.

    Returns:
        The examples of each language. A flat PAWS-X file does not name languages: its rows stand
        under the one that was asked for, or under `ALL` if there were several, or if header lines
        in the middle show that the file is of several parts.

    Raises:
        DataError: No such split or language; a file is missing or has another header; a language
            has no usable row; with "error" also a row that cannot be used.
    """
    table = task.table(split)
    asked = check_languages(task, languages)
    files = _locate(task, split, Path(data_dir), asked)
    named = [code for _, code in files if code]
    result = ExamplesByLanguage(named or asked)
    parts = 1
    for path, language in files:
        for code, row in _rows(path, task, table, language):
            if code and code not in result:
                continue
            if row is None:
                parts += 1
            elif isinstance(row, TextExample):
                result[code].append(row)
            elif on_bad_row == "skip" or isinstance(row, NoExample):
                result.bad_rows.append(row)
            else:
                line = row.source.rpartition(":")[2]
                raise DataError(
                    f"{path}:{line}: {row.reason}; mend the row, or leave such rows out with "
                    "`on_bad_row` skip"
                )
    if ALL in result and languages is not None:
        if len(asked) == 1 and parts == 1:
            result[asked[0]] = result.pop(ALL)
        else:
            result.mixed_file = files[0][0]
    may_lack = languages is None and not named
    _check_rows(result, files, f"{task.name} {split}", may_lack=may_lack)
    return result


def _check_rows(
    result: ExamplesByLanguage,
    files: list[tuple[Path, str | None]],
    wanted: str,
    *,
    may_lack: bool,
) -> None:
    """Drop languages without a row, if there may be such and others have some; else refuse."""
    empty = [code for code, examples in result.items() if not examples]
    if may_lack and len(empty) < len(result):
        for code in empty:
            del result[code]
    elif empty:
        path = next(path for path, code in files if code in (None, ALL, empty[0]))
        raise DataError(
            f"{path}: no usable row of {wanted} in {', '.join(empty)} ({len(result.bad_rows)} rows "
            "that cannot be used); give a file with such rows, or ask for other languages"
        )


def check_languages(
    task: CrossLingualTask, languages: Sequence[str] | None = None, setting: str = "languages"
) -> tuple[str, ...]:
    """Return the asked languages once each, in their order; all of the task's if None.

    Args:
        task: Whose languages they must be.
        languages: Their codes.
        setting: Which one gave them, for the message.

    Raises:
        DataError: The task does not have a language.
    """
    if languages is None:
        return task.languages
    for language in languages:
        if language not in task.languages:
            raise DataError(f"`{setting}`: {task.name} has no language {_unknown(language, task)}")
    if not languages:
        raise DataError(f"expected a language of {', '.join(task.languages)}, got none")
    return tuple(dict.fromkeys(languages))


def _locate(
    task: CrossLingualTask, split: str, data_dir: Path, asked: tuple[str, ...]
) -> list[tuple[Path, str | None]]:
    """Return the split's files and the language of each.

    It is None where the rows name it, and `ALL` where nothing does.
    """
    places = task.splits[split].files
    for folder in (data_dir, data_dir / task.folder):
        for place in places:
            paths = [folder / fill_in(place, code) for code in asked]
            there = [path.is_file() for path in paths]
            if not any(there):
                continue
            if "{language}" not in place:
                return [(paths[0], ALL if task.language_column is None else None)]
            if not all(there):
                code = asked[there.index(False)]
                raise DataError(
                    f"{paths[there.index(False)]}: no such file, while other languages of "
                    f"{task.name} {split} are there; put it there, or ask for other languages "
                    f"than {code}"
                )
            return list(zip(paths, asked, strict=True))
    names = dict.fromkeys(fill_in(place, asked[0]) for place in places)
    raise DataError(
        f"{data_dir}: no {task.name} {split} in this folder; expected {' or '.join(names)}: give "
        "the right one as `data_dir`, or leave that out to download the official files"
    )


def fill_in(place: str, language: str) -> str:
    """Name the file of a language, of a place in `CrossLingualTask.splits`."""
    train = "train" if language == "en" else "translated_train"
    return place.format(language=language, train=train)


def _rows(
    path: Path, task: CrossLingualTask, table: Table, language: str | None
) -> Iterator[tuple[str, TextExample | BadRow | None]]:
    """Yield each row of one file and its language, which is "" where the row does not name it.

    None stands for a header line that comes again.
    """
    assert task.labels is not None  # both tasks are classifications
    labels: dict[str, int | None] = {label: number for number, label in enumerate(task.labels)}
    labels |= {SAME_LABEL.get(label, label): number for label, number in labels.items()}
    labels[NO_LABEL] = None
    numbers = list(labels.values())  # by what `read_rows` counts a label as
    header, column = _header(path, task if language is None else None)
    folder = f"{language}/" if path.parent.name == language else ""  # else no language in the name
    for line, row in read_rows(path, replace(task, labels=tuple(labels)), table):
        source = folder + row.source
        if line.removeprefix(BOM) == header:
            yield language or "", None
            continue
        if isinstance(row, BadRow) and not isinstance(row, BlankRow):
            yield language or "", BadRow(source, row.reason)
            continue
        code = language or line.split(b"\t")[column].decode()
        if language is None and code not in task.languages:
            yield "", BadRow(source, f"expected a language, got {_unknown(code, task)}")
        elif isinstance(row, BlankRow):
            yield code, NoExample(source, row.reason)
        elif (number := numbers[int(row.label)]) is None:
            reason = f"no gold label ({NO_LABEL!r}): the annotators did not agree"
            yield code, NoExample(source, reason)
        else:
            yield code, TextExample(row.text_a, row.text_b, number, source)


def _header(path: Path, task: CrossLingualTask | None) -> tuple[bytes, int]:
    """Return a file's first line, and which of its columns has the language (0 without a task)."""
    try:
        with open_file(path) as file:
            line = file.readline(MAX_LINE)
    except WeightsError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    require_text(path, line)
    header = line.removeprefix(BOM).removesuffix(b"\n").removesuffix(b"\r")
    if task is None or task.language_column is None:
        return header, 0
    columns = header.decode(errors="replace").split("\t")
    if task.language_column not in columns:
        raise DataError(
            f"{path}:1: expected a header row with the column {task.language_column!r}, got "
            f"{shown(columns)}; give {task.name} in its official layout (data/README.md)"
        )
    return header, columns.index(task.language_column)


def _unknown(code: str, task: CrossLingualTask) -> str:
    """Say which languages there are, and which one may be meant: "jp", "zh-CN"."""
    bare = code.lower().replace("_", "-").partition("-")[0]
    near = difflib.get_close_matches(bare, task.languages, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{shown(code, 40)}; {hint}known: {', '.join(task.languages)}"
