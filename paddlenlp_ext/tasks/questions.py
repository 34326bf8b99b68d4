"""Questions about passages: SQuAD's files, and tables of questions.

SQuAD 1.1 and 2.0, XQuAD and MLQA are written alike, as one object of JSON (`.json`). Tables and
JSON Lines have a question and its passage a row, as `datasets` writes SQuAD.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from paddlenlp_ext.errors import DataError, shown
from paddlenlp_ext.tasks.records import Decoder, fault_of, read_records
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.tasks.text_lines import read_text

# Names in lower case; of those that a row has, the first one is meant.
CONTEXTS = ("context", "passage", "paragraph", "document", "text", "article")
QUESTIONS = ("question", "query")
NAMES = ("id", "qid", "question_id", "guid")
ID = re.compile(r'"id"\s*:\s*("(?:[^"\\]|\\.)*")')  # in SQuAD's JSON
TABLES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a passage.

    Attributes:
        name: Its id.
        answers: The right ones, any of them; none where the passage has no answer.
        start: Place of the first answer's first character; -1 without one.
        is_labelled: Whether anything is known of its answer.
        source: Where it stands: "train.json:17: question '56be'".
        belongs_to: What other questions are of, too: its article, as far as it is known, and its
            passage.
    """

    name: str
    text: str
    context: str
    answers: tuple[str, ...]
    start: int
    is_labelled: bool
    source: str
    belongs_to: tuple[str, str] = field(default=("", ""), compare=False)

    @property
    def file(self) -> str:
        """The name of the file that it stands in."""
        return self.source.partition(":")[0]


def read_questions(
    paths: Iterable[Path],
    *,
    for_training: bool = False,
    is_labelled: bool = True,
    has_negatives: bool = False,
    on_bad_row: Literal["error", "skip"] = "error",
) -> tuple[list[Question], list[BadRow]]:
    """Read questions.

    Args:
        paths: `.json` is SQuAD's, others are tables or JSON Lines.
        for_training: Whether answers must stand where the file says.
        is_labelled: Whether something must be known of the answer of each question.
        has_negatives: Whether questions may have no answer, as in SQuAD 2.0.
        on_bad_row: Whether a question that cannot be used is an error or left out.

    Returns:
        The questions, and what was left out.

    Raises:
        DataError: A file or a question cannot be used.
    """
    questions: list[Question] = []
    bad_rows: list[BadRow] = []
    names: set[str] = set()
    paths = [*paths]
    files = Counter(path.name for path in paths)
    for path in paths:
        before = len(questions)
        for found in iterate_questions(
            path,
            for_training=for_training,
            is_labelled=is_labelled,
            has_negatives=has_negatives,
            has_namesake=files[path.name] > 1,
        ):
            if isinstance(found, Question) and found.name not in names:
                names.add(found.name)
                questions.append(found)
                continue
            reason = "expected an id of its own, got that of another question"
            bad = found if isinstance(found, BadRow) else BadRow(found.source, reason)
            if on_bad_row == "error":
                raise DataError(
                    f"{path.parent / bad.source}: {bad.reason}; mend the question, or leave such "
                    "ones out with `on_bad_row` skip"
                )
            bad_rows.append(bad)
        if len(questions) == before:
            raise DataError(f"{path}: expected questions, got none that can be used")
    return questions, bad_rows


def iterate_questions(
    path: Path,
    question: str | None = None,
    context: str | None = None,
    *,
    for_training: bool = False,
    is_labelled: bool = True,
    has_negatives: bool = False,
    has_namesake: bool = False,
) -> Iterator[Question | BadRow]:
    """Yield the questions of a file one by one, and what of it cannot be used.

    Args:
        path: See `read_questions`, as for the others.
        question: Column of the question, of a table; None guesses it by its name.
        context: Column of the passage.
        for_training: Whether answers must stand where the file says.
        is_labelled: Whether something must be known of each answer.
        has_negatives: Whether questions may have no answer.
        has_namesake: Whether rows without ids are told by their file's whole path.

    Raises:
        DataError: The file cannot be read, or has no such columns.
    """
    name = path.name.lower().removesuffix(".gz")
    if is_labelled and name.endswith(TABLES):
        raise DataError(
            f"{path}: expected questions with answers, which a table cannot hold; write them as "
            "JSON Lines (.jsonl) or as SQuAD's .json"
        )
    is_squad = name.endswith(".json")
    rows = _squad_rows(path) if is_squad else _table_rows(path, question, context, has_namesake)
    for source, row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            yield _question(row, source, for_training, is_labelled, has_negatives)
        except ValueError as error:
            yield BadRow(source, str(error))


def _table_rows(
    path: Path, question: str | None, context: str | None, has_namesake: bool
) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    """Yield rows of a table or of JSON Lines, named as SQuAD names what they have."""
    columns: dict[str, str] = {}
    for record in read_records(path):
        if isinstance(record, BadRow):
            yield record.source, record
            continue
        values = record.values
        columns = columns or _columns(path, [*values], question, context)
        row = {key: values.get(name) for key, name in columns.items()}
        own = path.parent / record.source if has_namesake else record.source
        name = row.get("id")
        row["id"] = str(own if name in (None, "") else name)
        given = values.get("answers")
        if isinstance(given, dict):  # lists side by side, as `datasets` has them
            texts, starts = given.get("text"), given.get("answer_start")
            if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
                pairs = zip(texts, starts, strict=True)
                given = [{"text": text, "answer_start": start} for text, start in pairs]
        row |= {"answers": given} if not isinstance(given, str) else {}
        row["title"] = values.get("title")
        if isinstance(values.get("is_impossible"), bool):
            row["is_impossible"] = values["is_impossible"]
        yield record.source, row


def _columns(
    path: Path, names: Sequence[str], question: str | None, context: str | None
) -> dict[str, str]:
    """Find the columns of a table by their names.

    Raises:
        DataError: It has none for the question or its passage.
    """
    by_name = {name.lower(): name for name in reversed(names)}
    found: dict[str, str] = {}
    for key, given, known in (("question", question, QUESTIONS), ("context", context, CONTEXTS)):
        name = given or next((by_name[one] for one in known if one in by_name), None)
        if name is None or name not in names:
            raise DataError(
                f"{path}:1: expected a column {shown(given or key)}, got "
                f"{', '.join(shown(one, 30) for one in names)}; name it by `{key}_column_name`"
            )
        found[key] = name
    name = next((by_name[one] for one in NAMES if one in by_name), None)
    return found | ({"id": name} if name else {})


def _squad_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the questions of SQuAD's JSON, each with its passage."""
    text = read_text(path)
    try:
        content = Decoder().whole(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise DataError(
            f"{path}:{line}: expected JSON as SQuAD's ({error}); correct the file, or get it again"
        ) from None
    lines = _lines_of_ids(text)
    line = 1  # of the last id
    first = text.count("\n", 0, max(text.find('"data"'), 0)) + 1
    for place, article in _entries(path, content, "data", f"{path}:{first}"):
        for where, paragraph in _entries(path, article, "paragraphs", place):
            for row_at, row in _entries(path, paragraph, "qas", where):
                name = row.get("id")
                named = row_at.split(": ")[-1]
                if isinstance(name, str):
                    named = f"question {shown(name)}"
                    line = next((at for one, at in lines if one == name), line)
                source = f"{path.name}:{line}: {named}"
                yield source, {**row, "context": paragraph.get("context"), "title": place}


def _lines_of_ids(text: str) -> Iterator[tuple[str, int]]:
    """Yield what stands as "id" in a text of JSON, and the lines."""
    at, line = 0, 1
    for found in ID.finditer(text):
        at, line = found.start(), line + text.count("\n", at, found.start())
        yield json.loads(found[1]), line


def _entries(path: Path, value: Any, key: str, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list, and where each stands."""
    rows = value.get(key) if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise DataError(f"{at}: expected an object with a list {key!r}, as in SQuAD's files")
    for number, row in enumerate(rows):
        place = f"{at}: {key}[{number}]" if key == "data" else f"{at}.{key}[{number}]"
        if not isinstance(row, dict):
            raise DataError(f"{place}: expected an object, got {shown(row)}")
        yield place, row


def _question(
    row: Mapping[str, Any],
    source: str,
    for_training: bool,
    is_labelled: bool,
    has_negatives: bool,
) -> Question:
    """Make a question of a row; ValueError says what it lacks."""
    name, question, context = (_text(row, key) for key in ("id", "question", "context"))
    given = row.get("answers")
    is_known = given is not None or "is_impossible" in row
    spans = [] if given is None or row.get("is_impossible") is True else _spans(given)
    beyond = max((start for _, start in spans), default=0)
    if beyond >= len(context):
        expected = f"answers in the passage of {len(context):,} characters"
        raise ValueError(f"expected {expected}, got one at {beyond:,}")
    text, start = spans[0] if spans else ("", -1)
    if for_training and spans and context[start : start + len(text)] != text:
        found = shown(context[start : start + len(text)])
        raise ValueError(f"expected the answer {shown(text)} at {start}, got {found}")
    if is_labelled and not is_known:
        raise ValueError("expected 'answers', got none")
    if not spans and is_known and not has_negatives:
        raise ValueError("has no answer: expected one without `version_2_with_negative`")
    answers = tuple(one for one, _ in spans)
    article = row.get("title")
    belongs_to = (article if isinstance(article, str) and article else context), context
    return Question(name, question, context, answers, start, is_known, source, belongs_to)


def _text(row: Mapping[str, Any], key: str) -> str:
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"expected a text as {key!r}, got {shown(text)}")
    if reason := fault_of(text):
        raise ValueError(f"{reason} in {key!r}")
    return text


def _spans(answers: Any) -> list[tuple[str, int]]:
    """Return answers and their places; ValueError where they are none."""
    found = []
    for one in answers if isinstance(answers, list) else (None,):
        text, start = (
            (one.get("text"), one.get("answer_start")) if isinstance(one, dict) else ("", 0)
        )
        if not isinstance(text, str) or not text or type(start) is not int or start < 0:
            wanted = "a list of answers, each with 'text' and 'answer_start'"
            raise ValueError(f"expected {wanted}, got {shown(answers)}")
        found.append((text, start))
    return found
