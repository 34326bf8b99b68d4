"""Multiple choice: read rows that have a text and several choices, of which one is right.

Tables have a column a choice ("ending0" to "ending3"), records of JSON too, or a list of choices.
Which columns are read is guessed by names that many data sets have (SWAG, COPA and XCOPA, RACE,
ARC, CommonsenseQA, PIQA …) where it is not given, and said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from paddlenlp_ext.errors import DataError, shown
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.features import ChoiceFeatures, Features
from paddlenlp_ext.tasks.held_out import hold_out
from paddlenlp_ext.tasks.records import Record, fault_of, language_in, read_records, text_in
from paddlenlp_ext.tasks.rows import BadRow, refuse_row
from paddlenlp_ext.tasks.task import TextExample

# Names in lower case; of those that a record has, the first one is meant.
CONTEXTS = (
    *("context", "sent1", "premise", "passage", "article", "startphrase", "ctx", "background"),
    *("story", "paragraph", "text", "goal"),
)
QUESTIONS = ("question", "query", "question_stem", "prompt")
STEMS = ("sent2",)  # begins each choice
LISTS = ("choices", "options", "endings", "candidates", "answers")
NUMBERED = ("ending", "choice", "option", "candidate", "answer", "solution", "sol")
LABELS = ("label", "answerkey", "answer_key", "correct", "gold", "answer", "target")
# COPA names its questions; as its authors ask them (Roemmele et al., 2011).
COPA = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
# "val.et.jsonl", "dev_zh-tw.csv": a language at the end of a file's name.
LANGUAGE = re.compile(r"[._-]([a-z]{2,3}(?:-[A-Za-z]{2,4})?)\.(?:jsonl?|ndjson|csv|tsv)(?:\.gz)?$")
NUMBERED_NAME = re.compile(r"(.*[^\d_])_?(\d+|[A-Ea-e])")


@dataclass(frozen=True, slots=True)
class ChoiceExample:
    """A text, and choices to follow or to answer it.

    Attributes:
        text: The context, and the question, if there is one.
        choices: Two or more.
        label: Place of the right one, from 0; `IGNORED` where it is not known.
        source: Where the row stands: "train.csv:17".
        belongs_to: The context, about which other rows may ask, too.
    """

    text: str
    choices: tuple[str, ...]
    label: int
    source: str
    belongs_to: tuple[str] = field(default=("",), compare=False)


@dataclass(frozen=True)
class ChoiceColumns:
    """Which columns are read: the settings `context_column_name` and so on.

    Attributes:
        context: Of the text; None where there is only a question.
        question: Of the question; None where there is none.
        stem: Of what begins each choice; None where there is none.
        choices: One column of lists, or a column a choice.
        label: Of the right choice; None where rows have none.
        language: Of the row's language; None where no column names it.
        first_label: The number that means the first choice.
    """

    context: str | None = None
    question: str | None = None
    stem: str | None = None
    choices: tuple[str, ...] = ()
    label: str | None = None
    language: str | None = None
    first_label: int = 0

    def completed(self, values: Mapping[str, Any], where: str) -> ChoiceColumns:
        """Complete what was given by the names that a record has.

        Raises:
            DataError: It lacks what was given, or no choices or no text are found in it.
        """
        given = {
            "context_column_name": self.context,
            "question_column_name": self.question,
            "label_column_name": self.label,
            "language_column_name": self.language,
        }
        wanted = [(setting, name) for setting, name in given.items() if name]
        wanted += [("choices_column_names", name) for name in self.choices]
        for setting, name in wanted:
            if name not in values:
                raise DataError(
                    f"{where}: has no column {shown(name)} (`{setting}`), but {_listed(values)}"
                )
        names = {name.lower(): name for name in reversed([*values])}

        def first(known: Sequence[str]) -> str | None:
            return next((names[name] for name in known if name in names), None)

        stem = first(STEMS) if self.context is None else None
        context, question = self.context, self.question
        if context is None and question is None:
            context, question = first(CONTEXTS), first(QUESTIONS)
        choices = self.choices or _choices_of(values, names)
        taken = {context, question, *choices}
        label = self.label or next(
            (names[name] for name in LABELS if name in names and names[name] not in taken), None
        )
        if not choices:
            raise DataError(
                f"{where}: expected choices, in columns like 'ending0' to 'ending3' or a list like "
                f"'choices', got {_listed(values)}; name them by `choices_column_names`"
            )
        if context is None and question is None:
            raise DataError(
                f"{where}: expected a text in a column like 'context' or 'question', got "
                f"{_listed(values)}; name it by `context_column_name`"
            )
        found = replace(self, context=context, question=question, stem=stem, choices=choices)
        return replace(found, label=label)

    def __str__(self) -> str:
        """Say what is read, for a note."""
        text = " and ".join(filter(None, (self.context, self.question)))
        choices = ", ".join(self.choices) + (f" (after {self.stem})" if self.stem else "")
        return f"text {text}; choices {choices}; label {self.label or 'none'}"


class Choices(list[ChoiceExample]):
    """The usable rows of some files in their order.

    Attributes:
        columns: Which were read.
        languages: Of the rows, if files or a column name them.
        bad_rows: Those that were left out; empty unless that is allowed.
    """

    columns: ChoiceColumns
    languages: list[str | None]
    bad_rows: list[BadRow]

    def by_language(self) -> dict[str, list[ChoiceExample]]:
        """Part the rows by their language, in the order of the first ones; all are "" without."""
        parts: dict[str, list[ChoiceExample]] = {}
        for example, language in zip(self, self.languages, strict=True):
            parts.setdefault(language or "", []).append(example)
        return parts


def read_choices(
    files: Sequence[Path],
    given: ChoiceColumns,
    *,
    labelled: bool,
    on_bad_row: Literal["error", "skip"] = "error",
) -> Choices:
    """Read the rows of a split.

    Args:
        files: In this order.
        given: What was given of the columns.
        labelled: Whether rows must have labels; else those without get `IGNORED`.
        on_bad_row: Stop at a row that cannot be used, or leave it out and list it.

    Raises:
        DataError: A file cannot be used, or a row.
    """
    found = Choices()
    found.languages, found.bad_rows = [], []
    by_file = {path: LANGUAGE.search(path.name) for path in files}
    codes = {path: code[1] for path, code in by_file.items() if code}
    named = len({*codes.values()}) == len(files) > 0
    found.columns = find_choices(files, given, labelled=labelled)
    for path in files:
        for row, language in iterate_choices(path, found.columns, labelled=labelled):
            if isinstance(row, ChoiceExample):
                found.append(row)
                found.languages.append(language or (codes.get(path) if named else None))
            elif on_bad_row == "skip":
                found.bad_rows.append(row)
            else:
                refuse_row(path, row)
    if not found:
        raise DataError(f"{', '.join(map(str, files))}: no usable row; give a file with some")
    return found


def find_choices(files: Sequence[Path], given: ChoiceColumns, *, labelled: bool) -> ChoiceColumns:
    """Find the columns of files by the first record that they have; those given without one.

    Raises:
        DataError: The record lacks what must be there.
    """
    for path in files:
        for record in read_records(path):
            if isinstance(record, Record):
                values = _flat(record.values)
                columns = given.completed(values, str(path))
                if labelled and columns.label is None:
                    raise DataError(
                        f"{path}: expected a column with the right choice, like 'label', got "
                        f"{_listed(values)}; name it by `label_column_name`"
                    )
                return columns
    return given


def iterate_choices(
    path: Path, columns: ChoiceColumns, *, labelled: bool
) -> Iterator[tuple[ChoiceExample | BadRow, str | None]]:
    """Yield the rows of a file one by one, and the language of each where a column names it.

    Args:
        path: Of the file.
        columns: Of `find_choices`.
        labelled: Whether rows must have labels.

    Raises:
        DataError: The file cannot be read.
    """
    are_texts = cache(lambda: _are_texts(path, columns))
    for record in read_records(path):
        row: ChoiceExample | BadRow
        language = None
        if isinstance(record, BadRow):
            row = record
        else:
            values = _flat(record.values)
            try:
                row = _example(values, columns, record.source, are_texts, labelled=labelled)
                language = language_in(values, columns.language) if columns.language else None
            except ValueError as error:
                row = BadRow(record.source, str(error))
        yield row, language


def held_out(examples: Choices, share: float, seed: int) -> tuple[Choices, Choices]:
    """Part rows into those to train on and those to evaluate on, chosen by a seed.

    Questions about one text stay together, and each language has its part.

    Raises:
        DataError: One of the parts would be empty.
    """
    chosen = hold_out([one.belongs_to for one in examples], share, seed, examples.languages)
    parts = []
    for rows in (np.flatnonzero(~chosen), np.flatnonzero(chosen)):
        part = Choices(examples[row] for row in rows)
        part.columns, part.bad_rows = examples.columns, []
        part.languages = [examples.languages[row] for row in rows]
        parts.append(part)
    return parts[0], parts[1]


def pairs(examples: Iterable[ChoiceExample]) -> list[TextExample]:
    """Pair each text with each of its choices."""
    return [
        TextExample(one.text, choice, 0, one.source) for one in examples for choice in one.choices
    ]


def grouped(
    examples: Sequence[ChoiceExample], features: Sequence[Features]
) -> list[ChoiceFeatures]:
    """Put the features of the choices of each example together.

    Args:
        examples: Those with fewer choices than others get lacking ones.
        features: Of `pairs`.
    """
    width = max((len(one.choices) for one in examples), default=0)
    of_pairs = iter(features)
    rows = ([next(of_pairs) for _ in one.choices] for one in examples)
    labels = (one.label for one in examples)
    return [ChoiceFeatures.of(row, label, width) for row, label in zip(rows, labels, strict=True)]


def _flat(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lay the parts of a question side by side, as CommonsenseQA and ARC nest them."""
    question = values.get("question")
    if not isinstance(question, dict):
        return values
    return {**values, "question": question.get("stem"), "choices": question.get("choices")}


def _choices_of(values: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    """Guess the columns of choices; none if nothing looks like them."""
    for name in LISTS:
        if name in names and isinstance(values[names[name]], list | dict):
            return (names[name],)
    columns: dict[str, list[str]] = {}
    for name in values:
        if found := NUMBERED_NAME.fullmatch(name):
            columns.setdefault(found[1].lower(), []).append(name)
    for base in NUMBERED:
        if len(columns.get(base, ())) > 1:
            return tuple(sorted(columns[base], key=_number_of))
    return ()


def _number_of(name: str) -> tuple[int, str]:
    """Return what sorts the columns of choices by their numbers or letters."""
    number = NUMBERED_NAME.sub(r"\2", name).lower().lstrip("0")
    return len(number), number


def _are_texts(path: Path, columns: ChoiceColumns) -> bool | None:
    """Whether the labels of a file are the texts of choices, by those that are nothing else.

    None where some are texts and others places, or none tells.
    """
    found = set()
    for record in read_records(path):
        if isinstance(record, Record) and columns.label:
            values = _flat(record.values)
            with suppress(ValueError):
                choices, keys = _choices_in(values, columns)
                places = _places(values.get(columns.label), choices, keys, columns.first_label)
                found |= {"text" in places} if len(places) == 1 else set()
    return found.pop() if len(found) == 1 else None


def _example(
    values: Mapping[str, Any],
    columns: ChoiceColumns,
    source: str,
    are_texts: Callable[[], bool | None],
    *,
    labelled: bool,
) -> ChoiceExample:
    """Read a record; ValueError says what is wrong with it."""
    texts = [text_in(values, name).strip() for name in (columns.context, columns.question) if name]
    if texts and columns.question and columns.context and texts[-1] in COPA:
        texts[-1] = COPA[texts[-1]]
    stem = f"{text_in(values, columns.stem).strip()} " if columns.stem else ""
    choices, keys = _choices_in(values, columns)
    written = values.get(columns.label) if columns.label else None
    label = IGNORED
    if written not in (None, "") or labelled:
        places = _places(written, choices, keys, columns.first_label)
        if len({*places.values()}) > 1:
            is_text = are_texts()
            places = {how: at for how, at in places.items() if is_text in (None, how == "text")}
        label = _label(places, written, choices, columns.first_label)
    whole = tuple(f"{stem}{choice}" for choice in choices)
    return ChoiceExample(" ".join(texts), whole, label, source, (texts[0],))


def _choices_in(
    values: Mapping[str, Any], columns: ChoiceColumns
) -> tuple[list[str], Sequence[Any]]:
    """Read the choices of a record, and what they are called; ValueError says what is wrong."""
    keys: Sequence[Any]
    if len(columns.choices) == 1:
        choices, keys = _listed_choices(values, columns.choices[0])
    else:
        # Tables of questions with few choices leave the last columns empty.
        keys = [*columns.choices]
        while len(keys) > 2 and values.get(keys[-1]) in (None, ""):
            del keys[-1]
        choices = [text_in(values, name).strip() for name in keys]
    if len(choices) < 2:
        raise ValueError(f"expected at least two choices, got {len(choices)}")
    return choices, keys


def _listed_choices(values: Mapping[str, Any], name: str) -> tuple[list[str], list[Any]]:
    """Read a list of texts, of objects with text and label, or an object of two such lists."""
    found: Any = values.get(name)
    texts: Any = found
    keys: Any = []
    if isinstance(found, dict):
        texts, keys = found.get("text"), found.get("label") or []
    elif isinstance(found, list) and all(isinstance(one, dict) for one in found):
        texts, keys = [[one.get(part) for one in found] for part in ("text", "label")]
    is_list = isinstance(texts, list) and isinstance(keys, list) and len(keys) in (0, len(texts))
    if not is_list or not all(isinstance(one, str) and one.strip() for one in texts):
        raise ValueError(f"expected a list of texts in {shown(name)}, got {shown(found)}")
    if reason := fault_of("".join(texts)):
        raise ValueError(f"{reason} in {shown(name)}")
    return [one.strip() for one in texts], keys


def _places(
    written: Any, choices: Sequence[str], keys: Sequence[Any], first: int
) -> dict[str, int]:
    """Find what a label may mean: the place of a choice by its key, number, letter or own text."""
    text = "" if written is None or isinstance(written, bool) else str(written).strip()
    if text and text in (names := ["" if key is None else str(key) for key in keys]):
        return {"key": names.index(text)}
    places = {}
    if re.fullmatch(r"\d{1,4}(\.0)?", text, re.ASCII):
        places["number"] = int(float(text)) - first
    elif len(text) == 1 and text.isascii():
        places["letter"] = ord(text.upper()) - ord("A")
    places = {how: place for how, place in places.items() if 0 <= place < len(choices)}
    if isinstance(written, str) and choices.count(text) == 1:
        places["text"] = choices.index(text)
    return places


def _label(places: Mapping[str, int], written: Any, choices: Sequence[str], first: int) -> int:
    """Choose the place that a label means; ValueError says that it means none, or several."""
    if len({*places.values()}) > 1:
        (how, place), _ = places.items()
        other = "letter" if how == "number" else "number"
        raise ValueError(
            f"expected a label that means one choice, got {shown(written)}, the {how} of "
            f"{shown(choices[place])} and the text of another, and other rows do not tell; give "
            f"the {other} of the right one"
        )
    if places:
        return next(iter(places.values()))
    last = len(choices) - 1 + first
    got = "none" if written in (None, "") else shown(written)
    raise ValueError(
        f"expected the number of a choice from {first} to {last} (`first_label` {first}), its "
        f"letter or its text as label, got {got}"
    )


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, values)) or "none"
