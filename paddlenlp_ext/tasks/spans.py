"""Questions about passages: SQuAD's files, windows of tokens, and the answers that scores choose.

SQuAD 1.1 and 2.0, XQuAD and MLQA are written alike. A passage that is longer than a row becomes
several rows, windows that overlap; an answer is looked for in all of them, as the script of
transformers does.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import DataError, UserError, shown
from paddlenlp_ext.tasks.answers import squad_scores
from paddlenlp_ext.tasks.features import CHUNK, Features
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.tasks.task import Metric
from paddlenlp_ext.tasks.text_lines import read_text

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.base import Tokenizer

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a passage.

    Attributes:
        name: Its id.
        answers: The right ones, any of them; none where the passage has no answer.
        start: Place of the first answer's first character; -1 without one.
        is_labelled: Whether anything is known of its answer.
        source: Where it stands: "train.json, question '56be'".
    """

    name: str
    text: str
    context: str
    answers: tuple[str, ...]
    start: int
    is_labelled: bool
    source: str


def read_questions(
    paths: Iterable[Path],
    *,
    for_training: bool = False,
    is_labelled: bool = True,
    has_negatives: bool = False,
    on_bad_row: Literal["error", "skip"] = "error",
) -> tuple[list[Question], list[BadRow]]:
    """Read questions in SQuAD's format.

    Args:
        paths: The files.
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
    for path in paths:
        before = len(questions)
        for found in _questions(path, for_training, is_labelled, has_negatives):
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


def _questions(
    path: Path, for_training: bool, is_labelled: bool, has_negatives: bool
) -> Iterator[Question | BadRow]:
    text = read_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: expected JSON as SQuAD's ({error.msg}, column {error.colno}); "
            "correct the file, or get it again"
        ) from None
    except RecursionError:
        raise DataError(f"{path}:1: expected JSON as SQuAD's, got many levels") from None
    line = text.count("\n", 0, text.find('"data"')) + 1
    for place, article in _entries(path, content, "data", f"{path}:{line}"):
        for where, paragraph in _entries(path, article, "paragraphs", place):
            context = paragraph.get("context")
            for at, row in _entries(path, paragraph, "qas", where):
                name = row.get("id")
                named = f"question {shown(name)}" if isinstance(name, str) else at.split(": ")[-1]
                source = f"{path.name}:{_line_of(text, name)}: {named}"
                yield _question(row, context, source, for_training, is_labelled, has_negatives)


def _line_of(text: str, name: object) -> int:
    """Return the line on which an id stands."""
    return text.count("\n", 0, max(text.find(json.dumps(name)), 0)) + 1


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
    context: Any,
    source: str,
    for_training: bool,
    is_labelled: bool,
    has_negatives: bool,
) -> Question | BadRow:
    texts = {"id": row.get("id"), "question": row.get("question"), "context": context}
    for key, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            return BadRow(source, f"expected a text as {key!r}, got {shown(text)}")
    given = row.get("answers")
    is_known = given is not None or "is_impossible" in row
    answers = [] if given is None or row.get("is_impossible") is True else given
    spans = _spans(answers)
    if spans is None:
        wanted = "a list of answers, each with 'text' and 'answer_start'"
        return BadRow(source, f"expected {wanted}, got {shown(given)}")
    text, start = spans[0] if spans else ("", -1)
    if for_training and spans and context[start : start + len(text)] != text:
        found = shown(context[start : start + len(text)])
        return BadRow(source, f"expected the answer {shown(text)} at {start}, got {found}")
    if is_labelled and not is_known:
        return BadRow(source, "expected 'answers', got none")
    if not spans and is_known and not has_negatives:
        return BadRow(source, "has no answer: expected one without `version_2_with_negative`")
    name, question = texts["id"], texts["question"]
    return Question(
        str(name), str(question), context, tuple(one for one, _ in spans), start, is_known, source
    )


def _spans(answers: Any) -> list[tuple[str, int]] | None:
    """Return answers and their places; None where they are none."""
    if not isinstance(answers, list):
        return None
    found = []
    for one in answers:
        text, start = (
            (one.get("text"), one.get("answer_start")) if isinstance(one, dict) else ("", 0)
        )
        if not isinstance(text, str) or not text or type(start) is not int or start < 0:
            return None
        found.append((text, start))
    return found


class Window(NamedTuple):
    """A row that a model reads: a question, and a part of its passage.

    Attributes:
        question: Number of the question.
        offsets: First and one past last character of each token of the passage; int64 [L, 2],
            -1 for other tokens.
    """

    question: int
    offsets: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """What a model reads of questions: features of each row, and where its tokens stand."""

    features: Sequence[Features]
    windows: Sequence[Window]


def make_windows(
    questions: Sequence[Question],
    tokenizer: "Tokenizer",
    max_length: int,
    stride: int,
    max_query_length: int,
) -> Windows:
    """Tokenize questions and passages, and label the first and the last token of the answer.

    The label is (0, 0), the row's first token, where the answer is not, or not as a whole, in a
    window.

    Args:
        questions: With or without answers.
        tokenizer: The model's.
        max_length: Most tokens of a row, special tokens included.
        stride: Tokens that a window has in common with the one before.
        max_query_length: Most tokens of a question; the rest is cut off.

    Raises:
        UserError: A row has no room for as many tokens.
    """
    needed = max_query_length + stride + tokenizer.num_special_tokens_to_add(pair=True)
    if max_length <= needed:
        raise UserError(
            f"`max_seq_length` {max_length}: expected more than {needed}: `max_query_length` "
            f"{max_query_length}, `doc_stride` {stride} and special tokens; lower one of them"
        )
    features, windows = [], []
    for begin in range(0, len(questions), CHUNK):
        chunk = questions[begin : begin + CHUNK]
        encoded = tokenizer(
            [_cut(one.text.strip(), tokenizer, max_query_length) for one in chunk],
            [one.context for one in chunk],
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            return_attention_mask=False,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for row, number in enumerate(encoded["overflow_to_sample_mapping"]):
            ids = np.asarray(encoded["input_ids"][row], np.int32)
            types = encoded.get("token_type_ids")
            type_ids = None if types is None else np.asarray(types[row], np.int32)
            offsets = np.array(encoded["offset_mapping"][row], np.int64)
            offsets[[one != 1 for one in encoded.sequence_ids(row)]] = -1
            features.append(Features(ids, type_ids, _label(chunk[number], offsets)))
            windows.append(Window(begin + number, offsets))
    return Windows(features, windows)


def _cut(text: str, tokenizer: "Tokenizer", most: int) -> str:
    """Cut a question after so many tokens."""
    if 2 * len(text) <= most:
        return text
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]


def _label(question: Question, offsets: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Find the first and the last token of the answer in a window; (0, 0) where it is not."""
    (places,) = (offsets[:, 0] >= 0).nonzero()
    if question.start < 0 or not len(places):
        return 0, 0
    end = question.start + len(question.answers[0])
    starts, ends = offsets[places].T
    if starts[0] > question.start or ends[-1] < end:
        return 0, 0
    first = max(int(np.searchsorted(starts, question.start, "right")) - 1, 0)
    last = int(np.searchsorted(ends, end, "left"))
    return int(places[first]), int(places[last])


@dataclass(frozen=True)
class AnswerSettings:
    """How answers are chosen: the script's flags of the same names.

    Attributes:
        n_best_size: Answers of each question that are kept.
        max_answer_length: Most tokens of an answer.
        version_2_with_negative: Whether no answer is an answer.
        null_score_diff_threshold: How much higher the score of no answer must be than that of the
            best one, for there to be none.
    """

    n_best_size: int = 20
    max_answer_length: int = 30
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0


class Answer(NamedTuple):
    """An answer: its text, its characters, its probability among the best ones, its scores."""

    text: str
    start: int
    end: int
    probability: float
    start_logit: float
    end_logit: float


@dataclass(frozen=True)
class Found:
    """What was found for a question.

    Attributes:
        answer: "" for none.
        best: The best answers, the best first.
        null_odds: Score of no answer less that of the best one.
    """

    answer: str
    best: Sequence[Answer]
    null_odds: float

    @property
    def chosen(self) -> Answer:
        """The best one with the answer's text."""
        return next(one for one in self.best if one.text == self.answer)


def find_answers(
    logits: Sequence[Scores],
    windows: Sequence[Window],
    questions: Sequence[Question],
    settings: AnswerSettings,
) -> list[Found]:
    """Choose the answers of questions.

    Args:
        logits: Of the tokens of each window as the first and as the last; float [L, 2].
        windows: Of `make_windows`.
        questions: What they were made of.
        settings: How.
    """
    candidates: list[list[Answer]] = [[] for _ in questions]
    nulls = [(np.inf, 0.0, 0.0) for _ in questions]
    for scores, window in zip(logits, windows, strict=True):
        number = window.question
        start, end = map(float, scores[0])
        nulls[number] = min(nulls[number], (start + end, start, end))
        candidates[number] += _candidates(scores, window, questions[number].context, settings)
    return [
        _choose(sorted(found, key=_score, reverse=True), Answer("", 0, 0, 0.0, *null[1:]), settings)
        for found, null in zip(candidates, nulls, strict=True)
    ]


def _candidates(
    scores: Scores, window: Window, context: str, settings: AnswerSettings
) -> Iterator[Answer]:
    """Yield answers of one window, of the best first and the best last tokens."""
    firsts, lasts = np.argsort(-scores, axis=0, kind="stable")[: settings.n_best_size].T
    first, last = (grid.ravel() for grid in np.meshgrid(firsts, lasts, indexing="ij"))
    offsets = window.offsets
    fits = (offsets[first, 0] >= 0) & (offsets[last, 0] >= 0)
    fits &= (first <= last) & (last - first < settings.max_answer_length)
    first, last = first[fits], last[fits]
    best = np.argsort(-(scores[first, 0] + scores[last, 1]), kind="stable")
    for place in best[: settings.n_best_size]:
        one, other = int(first[place]), int(last[place])
        start, end = int(offsets[one, 0]), int(offsets[other, 1])
        text = context[start:end].strip()  # pieces of sentencepiece have the space before a word
        start = context.index(text, start)
        logits = float(scores[one, 0]), float(scores[other, 1])
        yield Answer(text, start, start + len(text), 0.0, *logits)


def _score(answer: Answer) -> float:
    return answer.start_logit + answer.end_logit


def _choose(found: list[Answer], null: Answer, settings: AnswerSettings) -> Found:
    """Choose among the answers of all windows, sorted, and maybe none."""
    best = found[: settings.n_best_size]
    if settings.version_2_with_negative:
        best = sorted([*best, null], key=_score, reverse=True)[: settings.n_best_size]
        best = best if null in best else [*best, null]
    best = best or [null]
    scores = np.array([_score(one) for one in best])
    weights = np.exp(scores - scores.max())
    shares = weights / weights.sum()
    best = [one._replace(probability=float(p)) for one, p in zip(best, shares, strict=True)]
    text = next((one for one in best if one.text), None)
    odds = _score(null) - _score(text) if text else 0.0
    is_null = settings.version_2_with_negative and odds > settings.null_score_diff_threshold
    return Found("" if is_null or text is None else text.text, best, odds)


def answer_metric(
    windows: Sequence[Window], questions: Sequence[Question], settings: AnswerSettings
) -> Metric:
    """Make the metric of questions: "f1", "exact_match" … of `answers.squad_scores`."""
    gold = {one.name: one.answers for one in questions}

    def metric(predictions: Any, labels: Any) -> dict[str, float]:
        found = find_answers(predictions, windows, questions, settings)
        given = {one.name: best.answer for one, best in zip(questions, found, strict=True)}
        return squad_scores(given, gold, has_negatives=settings.version_2_with_negative)

    return metric
