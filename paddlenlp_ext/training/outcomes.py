"""What a model gets right and wrong of a split: confusion, calibration, and its worst errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import as_line
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.predictions import THRESHOLD, best_first, probabilities
from paddlenlp_ext.tasks.questions import Question
from paddlenlp_ext.tasks.spans import AnswerSettings, Window, find_answers, judge_answers
from paddlenlp_ext.training.events import Predicted

BINS = 10  # of a prediction's probability
WORST = 20  # errors that are kept
MOST_LABELS = 300  # that are counted against each other
MOST_POINTS = 1_000  # of a regression
MOST_TAGS = 8  # of a row that are named
LONGEST = 600  # letters of a text
NO_ANSWER = "no answer"

Array = npt.NDArray[Any]
Object = dict[str, Any]
Describe = Callable[[int], Object]  # tells where a row stands, and maybe its text


def outcome(predicted: Predicted, names: Sequence[str], describe: Describe) -> Object | None:
    """Sum up what a model says; None for what are no labels, as answers (see `of_answers`).

    Args:
        predicted: Its logits in the order of the labels.
        names: Of the labels; others than as many as there are logits do not count.
        describe: Tells of a row.
    """
    logits, labels = predicted.logits, predicted.labels
    if isinstance(logits, list):
        is_tags = bool(logits) and logits[0].ndim == 2 and isinstance(labels, list)
        return _tags(logits, labels, names, describe) if is_tags else None
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim == 2 and labels.shape == logits.shape:
        return _several(logits, labels, names, describe)
    if labels.ndim == 1 and labels.dtype.kind == "f":
        return _scores(logits.reshape(len(labels)), labels, describe)
    if logits.ndim == 2 and labels.ndim == 1:
        return _classes(logits, labels, names, describe)
    return None


def _classes(logits: Array, labels: Array, names: Sequence[str], describe: Describe) -> Object:
    """Sum up classes that exclude one another."""
    names, chances = _named(names, logits), probabilities(logits, "softmax")
    found = chances.argmax(axis=-1)
    losses = _losses(chances[np.arange(len(labels)), labels])
    errors = []
    for row in best_first(np.where(found != labels, losses, -1.0), WORST):
        if found[row] != labels[row]:
            error = {"label": names[labels[row]], "predicted": names[found[row]]}
            chance = float(chances[row, found[row]])
            errors.append(_error(describe(row), losses[row], chance, error))
    return {
        **_counted(labels, found, names),
        **_believed(chances.max(axis=-1), found == labels),
    } | {"errors": errors}


def _several(logits: Array, labels: Array, names: Sequence[str], describe: Describe) -> Object:
    """Sum up labels of which a row has any number."""
    names, chances, gold = _named(names, logits), probabilities(logits, "sigmoid"), labels > 0
    found = chances >= THRESHOLD
    counts = [(gold & found).sum(axis=0), (gold & ~found).sum(axis=0), (~gold & found).sum(axis=0)]
    losses = _losses(np.where(gold, chances, 1 - chances)).mean(axis=-1)
    is_wrong = (gold != found).any(axis=-1)
    errors = []
    for row in best_first(np.where(is_wrong, losses, -1.0), WORST):
        if is_wrong[row]:
            lists = {"label": gold[row], "predicted": found[row]}
            error = {key: _join(np.array(names)[one]) for key, one in lists.items()}
            errors.append(_error(describe(row), losses[row], None, error))
    believed = _believed(np.maximum(chances, 1 - chances).ravel(), (gold == found).ravel())
    counted = {"labels": [*names], "several": True, "confusion": np.array(counts).T.tolist()}
    return {**counted, **believed, "errors": errors}


def _scores(found: Array, labels: Array, describe: Describe) -> Object:
    """Sum up a regression."""
    losses = (found.astype(np.float64) - labels) ** 2
    kept = np.unique(np.linspace(0, len(labels) - 1, min(MOST_POINTS, len(labels))).astype(int))
    errors = [
        _error(
            describe(row),
            losses[row],
            None,
            {"label": f"{labels[row]:.4g}", "predicted": f"{found[row]:.4g}"},
        )
        for row in best_first(losses, WORST)
    ]
    points = np.stack([labels[kept], found[kept]], axis=1).astype(np.float64).round(4)
    return {"points": points.tolist(), "errors": errors}


def _tags(
    logits: Sequence[Array], labels: Sequence[Array], names: Sequence[str], describe: Describe
) -> Object | None:
    """Sum up classes of tokens, of those that have one; errors are rows, by their tokens' mean."""
    lengths = [len(one) for one in logits]
    if [np.shape(one) for one in labels] != [(length,) for length in lengths]:
        return None
    gold, rows = np.concatenate(labels), np.repeat(np.arange(len(logits)), lengths)
    there = gold != IGNORED
    gold, rows = gold[there], rows[there]
    chances = probabilities(np.concatenate(logits)[there], "softmax")
    names, found = _named(names, chances), chances.argmax(axis=-1)
    losses = _losses(chances[np.arange(len(gold)), gold])
    sums, counts = (np.bincount(rows, one, len(logits)) for one in (losses, np.ones_like(losses)))
    is_wrong = np.bincount(rows, found != gold, len(logits)) > 0
    means = np.where(is_wrong, sums / np.maximum(counts, 1), -1.0)
    errors = []
    for row in best_first(means, WORST):
        if is_wrong[row]:
            wrong = (rows == row) & (found != gold)
            lists = {"label": gold[wrong], "predicted": found[wrong]}
            error = {key: _join([names[number] for number in one]) for key, one in lists.items()}
            errors.append(_error(describe(row), means[row], None, error))
    return {**_counted(gold, found, names), **_believed(chances.max(axis=-1), found == gold)} | {
        "errors": errors
    }


def of_answers(
    logits: Any,
    windows: Sequence[Window],
    questions: Sequence[Question],
    settings: AnswerSettings,
    *,
    has_texts: bool,
) -> Object:
    """Sum up answers: how far their probabilities can be believed, and the worst errors.

    An answer's loss is -log(1 - p (1 - F1)): the surer of it and the less right, the higher.

    Args:
        logits: Of the tokens of each window; a list of float [L, 2].
        windows: Of `make_windows`.
        questions: What they were made of.
        settings: How answers are chosen and compared.
        has_texts: Whether errors have the question, and both answers.
    """
    found = find_answers(logits, windows, questions, settings)
    f1, exact = judge_answers(found, questions, settings).T
    chances = np.array([one.chosen.probability for one in found])
    losses = _losses(1 - chances * (1 - f1))
    errors = []
    for row in best_first(np.where(exact < 1, losses, -1.0), WORST):
        if exact[row] < 1:
            question, answer = questions[row], found[row].answer
            place: Object = {"source": question.source}
            if has_texts:
                right = " | ".join(dict.fromkeys(question.answers)) or NO_ANSWER
                told = f"{question.text} ‖ right: {right} ‖ found: {answer or NO_ANSWER}"
                place["text"] = as_line(told, LONGEST)
            error = {
                "label": "answer" if question.answers else NO_ANSWER,
                "predicted": f"F1 {f1[row]:.2f}" if answer else NO_ANSWER,
            }
            errors.append(_error(place, losses[row], float(chances[row]), error))
    return {**_believed(chances, exact == 1), "errors": errors}


def _named(names: Sequence[str], logits: Array) -> Sequence[str]:
    """Return the names of labels, or their numbers where others are named."""
    width = logits.shape[-1]
    return names if len(names) == width else [*map(str, range(width))]


def _losses(chances: Array) -> Array:
    """Return the loss of each probability of what is right."""
    return np.asarray(-np.log(np.maximum(chances, np.finfo(np.float64).tiny)))


def _counted(gold: Array, found: Array, names: Sequence[str]) -> Object:
    """Count what was predicted of each label, unless there are too many."""
    width = len(names)
    if width > MOST_LABELS:
        return {}
    counts = np.bincount(gold * width + found, minlength=width**2).reshape(width, width)
    return {"labels": [*names], "confusion": counts.tolist()}


def _believed(confidence: Array, is_right: Array) -> Object:
    """Count predictions by their probability: how many, its sum, and how many are right."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    columns = [
        np.bincount(bins, one, BINS) for one in (np.ones_like(confidence), confidence, is_right)
    ]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {"calibration": [[int(n), round(total, 4), int(right)] for n, total, right in rows]}


def _error(place: Object, loss: float, chance: float | None, error: Object) -> Object:
    """Write down a row that is wrong."""
    told = {"probability": round(chance, 4)} if chance is not None else {}
    return {**place, **error, **told, "loss": round(float(loss), 4)}


def _join(names: Sequence[str] | Array) -> str:
    """List names, of many the first ones."""
    more = ", …" if len(names) > MOST_TAGS else ""
    return ", ".join(map(str, names[:MOST_TAGS])) + more
