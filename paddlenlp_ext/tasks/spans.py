"""Answers in passages: windows of tokens, and the answers that scores choose.

A passage that is longer than a row becomes several rows, windows that overlap; an answer is looked
for in all of them, as the script of transformers does.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.settings import Settings
from paddlenlp_ext.tasks.answers import answer_language, scores_by_question, squad_scores
from paddlenlp_ext.tasks.features import CHUNK, Features
from paddlenlp_ext.tasks.questions import Question
from paddlenlp_ext.tasks.task import Metric

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.base import Tokenizer

Scores = npt.NDArray[np.float32]
Scored = TypeVar("Scored")


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
    offsets = tokenizer.get_offset_mapping(text) or []
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
class AnswerSettings(Settings):
    """How answers are chosen: the script's flags of the same names.

    Attributes:
        n_best_size: Answers of each question that are kept.
        max_answer_length: Most tokens of an answer.
        version_2_with_negative: Whether no answer is an answer.
        null_score_diff_threshold: How much higher the score of no answer must be than that of the
            best one, for there to be none.
        answer_rules: By which answers are compared with the right ones. Those of "mlqa" depend on
            the language, which the names of the files say.
    """

    n_best_size: int = 20
    max_answer_length: int = 30
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0
    answer_rules: Literal["squad", "mlqa"] = "squad"


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

    def metric(predictions: Any, labels: Any) -> dict[str, float]:
        found = find_answers(predictions, windows, questions, settings)
        return _scored(squad_scores, found, questions, settings)

    return metric


def judge_answers(
    found: Sequence[Found], questions: Sequence[Question], settings: AnswerSettings
) -> npt.NDArray[np.float64]:
    """Return F1 and exact match of what was found for each question; [N, 2]."""
    scores = _scored(scores_by_question, found, questions, settings)
    return np.array([scores[one.name] for one in questions])


def _scored(
    score: Callable[..., dict[str, Scored]],
    found: Sequence[Found],
    questions: Sequence[Question],
    settings: AnswerSettings,
) -> dict[str, Scored]:
    """Score what was found as the settings say, by a function of `tasks.answers`."""
    languages = None
    if settings.answer_rules == "mlqa":
        languages = {one.name: answer_language(one.file) for one in questions}
    return score(
        {one.name: best.answer for one, best in zip(questions, found, strict=True)},
        {one.name: one.answers for one in questions},
        has_negatives=settings.version_2_with_negative,
        languages=languages,
    )
