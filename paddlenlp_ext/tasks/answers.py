"""How answers are compared with the right ones: SQuAD's official scripts, 1.1 and 2.0."""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower a text, and take ASCII punctuation, English articles and needless spaces from it."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(prediction: str, gold: str) -> float:
    """Return 1.0 where two answers are the same but for what does not count, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(gold))


def f1(prediction: str, gold: str) -> float:
    """Compute the F1 of the words of an answer; no answer is right where there is none."""
    found, wanted = (normalize_answer(text).split() for text in (prediction, gold))
    if not found or not wanted:
        return float(found == wanted)
    same = sum((Counter(found) & Counter(wanted)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def squad_scores(
    predictions: Mapping[str, str], gold: Mapping[str, Sequence[str]], *, has_negatives: bool
) -> dict[str, float]:
    """Score answers as the official script does, which gives per cent.

    Args:
        predictions: By the id of the question.
        gold: The right answers of each question, any of which is right; none where there is none.
        has_negatives: Whether to score as SQuAD 2.0 does, where a question may have no answer.

    Returns:
        "f1" and "exact_match" of 1.1; of 2.0 also "HasAns_f1", "NoAns_f1" and so on, of questions
        with and without an answer, where there are both.
    """
    found: dict[str, tuple[float, float]] = {}
    for name, answers in gold.items():
        if has_negatives:  # what is nothing once it is normalized is no answer
            answers = [text for text in answers if normalize_answer(text)] or [""]
        given = predictions[name]
        found[name] = _best(f1, given, answers), _best(exact_match, given, answers)
    scores = _mean(found.values(), "")
    without = {name for name, answers in gold.items() if not answers}
    if has_negatives and 0 < len(without) < len(gold):
        scores |= _mean((found[name] for name in gold.keys() - without), "HasAns_")
        scores |= _mean((found[name] for name in without), "NoAns_")
    return scores


def _best(score: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    return max((score(prediction, one) for one in answers), default=0.0)


def _mean(scores: Iterable[tuple[float, float]], name: str) -> dict[str, float]:
    columns = zip(("f1", "exact_match"), zip(*scores, strict=True), strict=True)
    return {name + key: fmean(column) for key, column in columns}
