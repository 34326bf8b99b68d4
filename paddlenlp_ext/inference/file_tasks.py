"""What is read of a user's file for each task, how it is answered, and what is written of it.

Rows are read as the scripts read those of `test_file`, answered as they evaluate, and written as
they write what `do_predict` asks for.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import shown
from paddlenlp_ext.inference.base import Pipeline, Row
from paddlenlp_ext.inference.classification import (
    ChoiceOptions,
    ClassificationOptions,
    MultipleChoice,
    TextClassification,
)
from paddlenlp_ext.inference.runners import Loaded, Outputs
from paddlenlp_ext.inference.spans import AnswerOptions, QuestionAnswering
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.tasks.choices import (
    ChoiceColumns,
    ChoiceExample,
    find_choices,
    iterate_choices,
)
from paddlenlp_ext.tasks.columns import TEXTS, Columns, find_columns
from paddlenlp_ext.tasks.prediction_files import (
    Writer,
    answer_writer,
    choice_writer,
    label_writer,
    tag_writer,
)
from paddlenlp_ext.tasks.predictions import kind_of, probabilities
from paddlenlp_ext.tasks.questions import iterate_questions
from paddlenlp_ext.tasks.records import first_lines, language_in, read_records, text_in
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.tasks.spans import Found
from paddlenlp_ext.tasks.token_labels import (
    COMMENTED,
    DOCUMENT,
    IDEOGRAPH,
    JSON_ENDINGS,
    TaggedSentence,
    iterate_sentences,
    make_token_rows,
    split_words,
    tags_of,
)

Scores = npt.NDArray[np.float64]
LINES, LONGEST = 1_000, 10_000  # by which a file is known, and the characters of one
SEVERAL_WORDS = re.compile(rf"\S\s+\S|{IDEOGRAPH.pattern}{{2}}")  # in a field of a table


class Item(NamedTuple):
    """A row of a file: where it stands ("new.csv:2"), what is asked, its language, or ""."""

    source: str
    sample: Any
    language: str = ""


Items = Iterator[Item | BadRow]


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """What a user says of a file: the flags of the scripts of the same names; None is not said."""

    text_column_name: str | None = None
    text_pair_column_name: str | None = None
    context_column_name: str | None = None
    question_column_name: str | None = None
    choices_column_names: Sequence[str] | None = None
    language_column_name: str | None = None
    doc_stride: int | None = None
    max_query_length: int | None = None
    max_answer_length: int | None = None
    n_best_size: int | None = None
    version_2_with_negative: bool | None = None
    null_score_diff_threshold: float | None = None

    def given(self) -> dict[str, Any]:
        """Return what is said."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


class FileTask(ABC):
    """A task whose rows are in a file.

    Args:
        settings: What the user says.
        config: The model's.
    """

    head: ClassVar[str]  # what the names of the model's classes end with
    settings: ClassVar[tuple[str, ...]]  # of `FileSettings`, that mean something
    pipeline: ClassVar[type[Pipeline[Any]]]

    def __init__(self, settings: FileSettings, config: ModelConfig) -> None:
        self.given = settings
        self.config = config
        self.note = ""  # what is read of the file, once a row was

    def options(self) -> dict[str, Any]:
        """Return the options of the pipeline."""
        return {}

    def answering(self, loaded: Loaded, **settings: Any) -> Pipeline[Any]:
        """Make the pipeline that answers the rows."""
        return self.pipeline(loaded, **settings, **self.options())

    @abstractmethod
    def read(self, path: Path) -> Items:
        """Yield the rows of a file, and what of it cannot be used."""

    @abstractmethod
    def writer(self, folder: Path, part: str, width: int) -> Writer:
        """Write a row and its answer; some need to know the width of the widest row."""

    def row(self, item: Item, answer: Any) -> tuple[Any, Any]:
        """Return what the writer takes."""
        return item.sample, answer

    def width(self, sample: Any) -> int:
        """Return the width of a row."""
        return 1

    def _texts(self, path: Path, columns: Columns) -> Items:
        """Yield one text or two of each row of a table or of lines."""
        found: Columns | None = None
        for record in read_records(path):
            if isinstance(record, BadRow):
                yield record
                continue
            if found is None:
                found = find_columns(columns, [*record.values], f"{path}:1", labelled=False)
                self.note = f"reads text from {' and '.join(map(shown, found.texts))}"
            try:
                texts = [text_in(record.values, name) for name in found.texts]
                language = language_in(record.values, found.language) if found.language else ""
            except ValueError as error:
                yield BadRow(record.source, str(error))
                continue
            yield Item(record.source, (texts[0], texts[1] if len(texts) > 1 else None), language)


class _Labels(TextClassification):
    """Answers with the scores of all labels; float64 [C]."""

    def answer(self, sample: Any, found: list[Any], options: ClassificationOptions) -> Scores:
        """Return the scores."""
        scores: Scores = found[0]
        return scores


class LabelledTexts(FileTask):
    """Texts, alone or in pairs, and their labels or scores."""

    head = "ForSequenceClassification"
    settings = ("text_column_name", "text_pair_column_name", "language_column_name")
    pipeline = _Labels

    def read(self, path: Path) -> Items:
        """Yield texts; labels beside them are not read."""
        given = self.given
        columns = Columns(
            given.text_column_name or "",
            given.text_pair_column_name,
            language=given.language_column_name,
        )
        return self._texts(path, columns)

    def row(self, item: Item, answer: Any) -> tuple[Any, Any]:
        """Return where the row stands, and its scores."""
        return item.source, answer

    def writer(self, folder: Path, part: str, width: int) -> Writer:
        """Write the label and the probability of each."""
        config = self.config
        kind = kind_of(config.num_labels, config.problem_type)
        return label_writer(folder, part, () if kind == "none" else config.label_names, kind)


class _Tags(Pipeline[ChoiceOptions]):
    """Answers with the tags of a sentence's words."""

    head = "ForTokenClassification"
    options_class = ChoiceOptions

    def rows(self, samples: Sequence[TaggedSentence], options: ChoiceOptions) -> list[Row]:
        """Tokenize words; long sentences have several rows."""
        made = make_token_rows(samples, (), self.tokenizer, self.max_length)
        return [
            Row(features, row.sentence, replace(row, sentence=0))
            for features, row in zip(made.features, made.rows, strict=True)
        ]

    def read(self, row: Row, outputs: Outputs, options: ChoiceOptions) -> Any:
        """Keep the scores of the row's own tokens."""
        return outputs[0][: len(row.features)], row.origin

    def answer(self, sample: Any, found: list[Any], options: ChoiceOptions) -> list[str]:
        """Name the tags."""
        logits, rows = zip(*found, strict=True)
        (tags,) = tags_of(logits, rows, [sample], self.config.label_names)
        return tags


class TaggedWords(FileTask):
    """Sentences, and the tags of their words.

    They are columns with a word a line, JSON of words, or plain text: a table with a column of
    texts, or a sentence a line.
    """

    head = "ForTokenClassification"
    settings = ("text_column_name",)
    pipeline = _Tags

    def read(self, path: Path) -> Items:
        """Yield sentences; tags beside them are not used."""
        column = self.given.text_column_name
        if self._is_plain(path, column):
            for item in self._texts(path, Columns(column or "")):
                if isinstance(item, Item):
                    words = split_words(item.sample[0])
                    item = item._replace(sample=TaggedSentence(words, (), item.source))
                yield item
            return
        self.note = "reads words"
        for found in iterate_sentences(path, column, is_labelled=False):
            yield found if isinstance(found, BadRow) else Item(found.source, found)

    def _is_plain(self, path: Path, column: str | None) -> bool:
        """Whether a file has texts and not columns: its first lines say it where no name does."""
        name = path.name.lower().removesuffix(".gz")
        if name.endswith((*JSON_ENDINGS, ".conllu")) or (column or "").isdecimal():
            return False
        if name.endswith(".csv") or column:
            return True
        return name.endswith((".txt", ".tsv")) and not _has_columns(path, self.config.label_names)

    def writer(self, folder: Path, part: str, width: int) -> Writer:
        """Write a word and its tag a line."""
        return tag_writer(folder, part)


def _has_columns(path: Path, tags: Sequence[str]) -> bool:
    """Whether lines are a word and what is known of it, by those of the first sentence.

    All have as many columns then, and there is one alone, or the last one is a tag, or an empty
    line ends the sentence and the file is no table: one has a header, and texts of several words.
    """
    lines = (line[:LONGEST] for line in first_lines(path, LINES))
    fields = (
        line.split("\t" if "\t" in line else None)
        if line.strip() and not line.startswith(DOCUMENT)
        else []
        for line in lines
        if not line.startswith(COMMENTED)
    )
    rows = [*dropwhile(lambda row: not row, fields)]
    sentence = [*takewhile(bool, rows)]
    if not sentence:
        return True
    has_header = path.name.lower().removesuffix(".gz").endswith(".tsv") and any(
        name.strip(' "').lower() in TEXTS for name in rows[0]
    )
    has_texts = any(SEVERAL_WORDS.search(field) for row in rows[1:] for field in row)
    is_sentence = 1 < len(sentence) < len(rows) and not (has_header and has_texts)
    widths = {*map(len, sentence)}
    return len(widths) == 1 and (widths == {1} or sentence[0][-1] in tags or is_sentence)


class _Answers(QuestionAnswering):
    """Answers with all that the script writes of a question."""

    def answer(self, sample: Any, found: list[Any], options: AnswerOptions) -> Found:
        """Return what was found."""
        return self.found(sample, found, options)


class AnsweredQuestions(FileTask):
    """Questions about passages, and their answers."""

    head = "ForQuestionAnswering"
    settings = (
        *("context_column_name", "question_column_name", "doc_stride", "max_query_length"),
        *("max_answer_length", "n_best_size", "version_2_with_negative"),
        "null_score_diff_threshold",
    )
    pipeline = _Answers

    def options(self) -> dict[str, Any]:
        """Return the options of the pipeline, which has some of transformers' names."""
        names = {
            "doc_stride": "doc_stride",
            "max_query_length": "max_question_len",
            "max_answer_length": "max_answer_len",
            "n_best_size": "n_best_size",
            "version_2_with_negative": "handle_impossible_answer",
            "null_score_diff_threshold": "null_score_diff_threshold",
        }
        given = self.given.given()
        return {theirs: given[ours] for ours, theirs in names.items() if ours in given}

    def read(self, path: Path) -> Items:
        """Yield questions, each with an id of its own; answers beside them are not used."""
        given, names = self.given, set[str]()
        columns = given.question_column_name, given.context_column_name
        for found in iterate_questions(path, *columns, is_labelled=False, has_negatives=True):
            if isinstance(found, BadRow):
                yield found
            elif found.name in names:
                yield BadRow(found.source, f"expected an id of its own, got {shown(found.name)}")
            else:
                names.add(found.name)
                yield Item(found.source, found)

    def writer(self, folder: Path, part: str, width: int) -> Writer:
        """Write answers, and what the official scripts read."""
        has_negatives = bool(self.given.version_2_with_negative)
        return answer_writer(folder, part, has_negatives=has_negatives)


class _Choices(MultipleChoice):
    """Answers with the probability of each choice; float64 [C]."""

    def rows(self, samples: Sequence[ChoiceExample], options: ChoiceOptions) -> list[Row]:
        """Tokenize the text with each of its choices."""
        return super().rows([(one.text, one.choices) for one in samples], options)

    def answer(self, sample: Any, found: list[Any], options: ChoiceOptions) -> Any:
        """Return the probabilities."""
        return probabilities(np.asarray(found), "softmax")


class ChosenTexts(FileTask):
    """Texts with several choices, of which one is chosen."""

    head = "ForMultipleChoice"
    settings = (
        *("context_column_name", "question_column_name", "choices_column_names"),
        "language_column_name",
    )
    pipeline = _Choices

    def read(self, path: Path) -> Items:
        """Yield texts with choices; which one is right is not read."""
        given = ChoiceColumns(
            context=self.given.context_column_name,
            question=self.given.question_column_name,
            choices=tuple(self.given.choices_column_names or ()),
            language=self.given.language_column_name,
        )
        columns = replace(find_choices([path], given, labelled=False), label=None)
        self.note = f"reads {columns}".rpartition(";")[0]
        for found, language in iterate_choices(path, columns, labelled=False):
            if isinstance(found, BadRow):
                yield found
            else:
                yield Item(found.source, found, language or "")

    def writer(self, folder: Path, part: str, width: int) -> Writer:
        """Write the place of the chosen text, and the probability of each."""
        return choice_writer(folder, part, width)

    def width(self, sample: Any) -> int:
        """Return how many choices there are."""
        return len(sample.choices)


FILE_TASKS: tuple[type[FileTask], ...] = (
    LabelledTexts,
    TaggedWords,
    AnsweredQuestions,
    ChosenTexts,
)
