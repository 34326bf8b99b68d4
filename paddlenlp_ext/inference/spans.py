"""Pipelines that find parts of a text: entities, and answers to questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import InputError, UserError, shown
from paddlenlp_ext.inference.base import Pipeline, Row, require_whole, text_of
from paddlenlp_ext.inference.runners import Loaded, Outputs
from paddlenlp_ext.tasks.entities import OUTSIDE, scheme_of
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.tasks.predictions import probabilities
from paddlenlp_ext.tasks.questions import Question
from paddlenlp_ext.tasks.spans import AnswerSettings, Found, find_answers, make_windows

Strategy = Literal["none", "simple", "first", "average", "max"]
STRATEGIES: tuple[Strategy, ...] = ("none", "simple", "first", "average", "max")
MAX_QA_LENGTH = 384  # tokens of a row, where nothing else is asked for; what SQuAD's scripts take


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """What a call may change.

    Attributes:
        aggregation_strategy: What gets a label: each token ("none"), or each entity, after each of
            its tokens has one ("simple") or each of its words, by its "first" token, by the token
            that is surest ("max"), or by the mean of all ("average"). The scripts evaluate by the
            first.
        ignore_labels: What is left out.
    """

    aggregation_strategy: Strategy = "first"
    ignore_labels: Sequence[str] = (OUTSIDE,)

    def __post_init__(self) -> None:
        if self.aggregation_strategy not in STRATEGIES:
            raise UserError(
                f"`aggregation_strategy` {shown(self.aggregation_strategy)}: expected one of "
                f"{', '.join(STRATEGIES)}"
            )


@dataclass(frozen=True)
class _Token:
    """A token of a text: what it is called, its word, its place in the row, its characters."""

    text: str
    word: int
    index: int
    start: int
    end: int


class TokenClassification(Pipeline[TokenOptions]):
    """Finds entities: `[{"entity_group": "LOC", "score": 0.98, "word": "oslo", "start": 3, …}]`.

    A sample is a text, or a dict with `words`, of which the characters are counted as if a space
    stood between two. With the strategy "none", there is `entity`, the label as it is, for each
    token, and `index`, its place in the row. A text that is longer than a row is cut into several.
    """

    head = "ForTokenClassification"
    options_class = TokenOptions

    def rows(self, samples: Sequence[Any], options: TokenOptions) -> list[Row]:
        """Tokenize texts, or words, as long as they are."""
        rows = []
        for number, sample in enumerate(samples):
            words = _words_of(sample)
            encoded = self.tokenizer(
                [text_of(sample) if words is None else words],
                is_split_into_words=words is not None,
                truncation=True,
                max_length=self.max_length,
                return_attention_mask=False,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
            )
            begins = np.cumsum([0, *(len(word) + 1 for word in words or ())])
            types = encoded.get("token_type_ids")
            for row, ids in enumerate(encoded["input_ids"]):
                tokens = []
                for place, word in enumerate(encoded.word_ids(row)):
                    if word is None:
                        continue
                    begin = 0 if words is None else int(begins[word])
                    start, end = (begin + at for at in encoded["offset_mapping"][row][place])
                    name = self.tokenizer.convert_ids_to_tokens(ids[place])
                    tokens.append(_Token(name, word, place, start, end))
                own = None if types is None else np.asarray(types[row], np.int32)
                features = Features(np.asarray(ids, np.int32), own, 0)
                rows.append(Row(features, number, tokens))
        return rows

    def read(self, row: Row, outputs: Outputs, options: TokenOptions) -> Any:
        """Keep the tokens of the text with their probabilities."""
        places = [token.index for token in row.origin]
        return row.origin, probabilities(outputs[0][places], "softmax")

    def answer(self, sample: Any, found: list[Any], options: TokenOptions) -> list[Any]:
        """Put tokens together to words and entities."""
        words = _words_of(sample)
        text = sample if words is None else " ".join(words)
        tokens = [token for part, _ in found for token in part]
        scores = np.concatenate([part for _, part in found])
        parts = [[place] for place in range(len(tokens))]
        if options.aggregation_strategy not in ("none", "simple"):
            parts = []
            for place, token in enumerate(tokens):
                if place and token.word == tokens[place - 1].word:
                    parts[-1].append(place)
                else:
                    parts.append([place])
        labelled = [
            (part, *self._label(scores[part], options.aggregation_strategy)) for part in parts
        ]
        if options.aggregation_strategy == "none":
            named = [
                {
                    "entity": label,
                    "score": score,
                    "index": tokens[part[0]].index,
                    **self._place(text, tokens[part[0] : part[-1] + 1], is_token=True),
                }
                for part, label, score in labelled
            ]
            return [one for one in named if one["entity"] not in options.ignore_labels]
        groups = self._group(labelled)
        named = [
            {
                "entity_group": _kind(group[0][1]),
                "score": float(np.mean([score for _, _, score in group])),
                **self._place(text, tokens[group[0][0][0] : group[-1][0][-1] + 1]),
            }
            for group in groups
        ]
        return [one for one in named if one["entity_group"] not in options.ignore_labels]

    def _label(self, scores: npt.NDArray[Any], strategy: Strategy) -> tuple[str, float]:
        """Choose the label of a token or word; scores [N, C]."""
        row = scores[0]
        if strategy == "average":
            row = scores.mean(axis=0)
        elif strategy == "max":
            row = scores[scores.max(axis=-1).argmax()]
        best = int(row.argmax())
        return self.config.label_names[best], float(row[best])

    def _group(self, labelled: list[Any]) -> list[list[Any]]:
        """Put together what makes up an entity; labels that are not of entities stay apart."""
        groups: list[list[Any]] = []
        are_of_entities = scheme_of(self.config.label_names) is not None
        for one in labelled:
            if groups and are_of_entities and _goes_on(groups[-1][-1][1], one[1]):
                groups[-1].append(one)
            else:
                groups.append([one])
        return groups

    def _place(
        self, text: str, tokens: Sequence[_Token], *, is_token: bool = False
    ) -> dict[str, Any]:
        """Say what tokens read and where they are."""
        unknown = self.tokenizer.unk_token
        names = [text[one.start : one.end] if one.text == unknown else one.text for one in tokens]
        word = names[0] if is_token else self.tokenizer.convert_tokens_to_string(names)
        return {"word": word, "start": tokens[0].start, "end": tokens[-1].end}


def _words_of(sample: Any) -> list[str] | None:
    """Return the words of a sample that is given as words."""
    if not isinstance(sample, dict):
        return None
    words = sample.get("words")
    if {*sample} != {"words"} or not isinstance(words, (list, tuple)) or not words:
        raise InputError(f"expected a text or a dict with `words`, got {shown(sample)}")
    return [text_of(word, "a text as word") for word in words]


def _kind(label: str) -> str:
    return label.split("-", 1)[-1]


def _goes_on(before: str, label: str) -> bool:
    """Whether a label belongs to the entity of the label before; all others begin one."""
    return (
        _kind(before) == _kind(label)
        and label[:2] not in ("B-", "S-")
        and before[:2] not in ("E-", "S-")
    )


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """What a call may change.

    Attributes:
        top_k: How many answers there are, the best ones; not given, one and no list.
        max_answer_len: Most tokens of an answer.
        n_best_size: Answers that are compared.
        handle_impossible_answer: Whether "" may be an answer: that the text has none.
        null_score_diff_threshold: How much higher no answer must score than the best one, then.
        doc_stride: Tokens that a row has in common with the one before, where a text takes several;
            by default 128, or a third of a short row.
        max_question_len: Most tokens of a question; by default 64, or a quarter of a short row.
    """

    top_k: int = 0
    max_answer_len: int = 30
    n_best_size: int = 20
    handle_impossible_answer: bool = False
    null_score_diff_threshold: float = 0.0
    doc_stride: int | None = None
    max_question_len: int | None = None

    def __post_init__(self) -> None:
        require_whole("top_k", self.top_k, 0)
        require_whole("max_answer_len", self.max_answer_len, 1)
        require_whole("n_best_size", self.n_best_size, 1)
        require_whole("doc_stride", self.doc_stride, 0, or_none=True)
        require_whole("max_question_len", self.max_question_len, 1, or_none=True)


class QuestionAnswering(Pipeline[AnswerOptions]):
    """Answers questions: `{"score": 0.9, "start": 17, "end": 21, "answer": "1874"}`.

    A sample is a dict with `question` and `context`, or a tuple of both; `answer(question=…,
    context=…)` asks one. The score is an answer's probability among the best ones, as the script
    writes it.
    """

    head = "ForQuestionAnswering"
    options_class = AnswerOptions

    def __init__(self, loaded: Loaded, *, max_length: int | None = None, **options: Any) -> None:
        super().__init__(
            loaded, max_length=max_length or min(loaded.max_length, MAX_QA_LENGTH), **options
        )

    def __call__(self, inputs: Any = None, **options: Any) -> Any:
        """Answer; see `Pipeline.__call__`."""
        if inputs is None:
            inputs = {key: options.pop(key, None) for key in ("question", "context")}
        return super().__call__(inputs, **options)

    def rows(self, samples: Sequence[Any], options: AnswerOptions) -> list[Row]:
        """Tokenize questions and texts, long ones into several rows."""
        windows = make_windows(
            [_question_of(sample) for sample in samples],
            self.tokenizer,
            self.max_length,
            min(self.max_length // 3, 128) if options.doc_stride is None else options.doc_stride,
            options.max_question_len or min(self.max_length // 4, 64),
        )
        return [
            Row(features, window.question, window._replace(question=0))
            for features, window in zip(windows.features, windows.windows, strict=True)
        ]

    def read(self, row: Row, outputs: Outputs, options: AnswerOptions) -> Any:
        """Keep the scores of the row's own tokens."""
        return np.stack(outputs[:2], axis=-1)[: len(row.features)], row.origin

    def answer(self, sample: Any, found: list[Any], options: AnswerOptions) -> Any:
        """Choose the best answers of all rows."""
        chosen = self.found(sample, found, options)
        named = [
            {"score": one.probability, "start": one.start, "end": one.end, "answer": one.text}
            for one in chosen.best
        ]
        # Windows that overlap find the same answer; the better of the two comes first.
        named = [*{(one["start"], one["end"]): one for one in reversed(named)}.values()][::-1]
        # As the script answers: its threshold may prefer no answer to the most probable one.
        named.sort(key=lambda one: one["answer"] != chosen.answer)
        return named[: options.top_k] if options.top_k else named[0]

    def found(self, sample: Any, kept: list[Any], options: AnswerOptions) -> Found:
        """Return what was found of a question, as the script finds it."""
        logits, windows = zip(*kept, strict=True)
        settings = AnswerSettings(
            n_best_size=max(options.n_best_size, options.top_k),
            max_answer_length=options.max_answer_len,
            version_2_with_negative=options.handle_impossible_answer,
            null_score_diff_threshold=options.null_score_diff_threshold,
        )
        (chosen,) = find_answers(logits, windows, [_question_of(sample)], settings)
        return chosen


def _question_of(sample: Any) -> Question:
    if isinstance(sample, Question):
        return sample
    if isinstance(sample, dict) and {*sample} == {"question", "context"}:
        sample = (sample["question"], sample["context"])
    match sample:
        case (str(question), str(context)) if question.strip() and context.strip():
            return Question("", question, context, (), -1, False, "")
    raise InputError(f"expected a dict with `question` and `context`, got {shown(sample)}")
