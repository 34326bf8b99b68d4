"""How answers are compared with the right ones: by the official scripts of SQuAD and of MLQA."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean

from paddlenlp_ext.errors import DataError

Normalize = Callable[[str], str]

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)

# What counts as an article in MLQA's languages (Lewis et al., 2020, and their script); Arabic ones
# are a part of the word, of which all are taken.
ARTICLES_OF: Mapping[str, re.Pattern[str] | None] = {
    "ar": re.compile("ال"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": ARTICLES,
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "hi": None,
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
    "zh": None,
}
HAN = re.compile("([\u4e00-\u9fa5])")  # each of which is a word of its own, in Chinese
MLQA_FILE = re.compile(r"context-([a-z]{2})-question-([a-z]{2})")  # a part of its files' names


def answer_language(file: str) -> str:
    """Return the language of the answers of a file, which MLQA's rules depend on, by its name.

    Raises:
        DataError: It does not say one that they know.
    """
    if found := MLQA_FILE.search(file.lower()):
        codes = {found[1]}
    else:
        codes = {*re.split(r"[._-]", file.lower())}
    known = [code for code in ARTICLES_OF if code in codes]
    if len(known) != 1:
        raise DataError(
            f"{file}: expected a name with the language of its answers, one of "
            f"{', '.join(ARTICLES_OF)}, like 'dev.de.json' or 'test-context-de-question-en.json'; "
            "rename it, or leave out `answer_rules` mlqa"
        )
    return known[0]


def normalize_answer(text: str) -> str:
    """Lower a text, and take ASCII punctuation, English articles and needless spaces from it."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def normalize_by_language(text: str, language: str) -> str:
    """Lower a text, and take all punctuation, a language's articles and needless spaces from it.

    Args:
        text: An answer.
        language: One of `ARTICLES_OF`; each Chinese character becomes a word in "zh".
    """
    text = "".join(one for one in text.lower() if not _is_punctuation(one))
    if articles := ARTICLES_OF[language]:
        text = articles.sub(" ", text)
    if language == "zh":
        text = HAN.sub(r" \1 ", text)
    return " ".join(text.split())


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def exact_match(prediction: str, gold: str, normalize: Normalize = normalize_answer) -> float:
    """Return 1.0 where two answers are the same but for what does not count, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def f1(
    prediction: str,
    gold: str,
    normalize: Normalize = normalize_answer,
    *,
    is_nothing_right: bool = True,
) -> float:
    """Compute the F1 of the words of an answer.

    Args:
        prediction: What was found.
        gold: What is right.
        normalize: Takes what does not count from both.
        is_nothing_right: Whether an answer without words is right where the right one has none, as
            in SQuAD 2.0.
    """
    found, wanted = (normalize(text).split() for text in (prediction, gold))
    if not found or not wanted:
        return float(is_nothing_right and found == wanted)
    same = sum((Counter(found) & Counter(wanted)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def squad_scores(
    predictions: Mapping[str, str],
    gold: Mapping[str, Sequence[str]],
    *,
    has_negatives: bool,
    languages: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Score answers as the official script does, which gives per cent.

    Args:
        predictions: By the id of the question.
        gold: The right answers of each question, any of which is right; none where there is none.
        has_negatives: Whether to score as SQuAD 2.0 does, where a question may have no answer.
        languages: Of the answers, by the id of the question, to score as MLQA does; None scores as
            SQuAD does.

    Returns:
        "f1" and "exact_match" of 1.1; of 2.0 also "HasAns_f1", "NoAns_f1" and so on, of questions
        with and without an answer, where there are both.
    """
    found = scores_by_question(predictions, gold, has_negatives=has_negatives, languages=languages)
    scores = _mean(found.values(), "")
    without = {name for name, answers in gold.items() if not answers}
    if has_negatives and 0 < len(without) < len(gold):
        scores |= _mean((found[name] for name in gold.keys() - without), "HasAns_")
        scores |= _mean((found[name] for name in without), "NoAns_")
    return scores


def scores_by_question(
    predictions: Mapping[str, str],
    gold: Mapping[str, Sequence[str]],
    *,
    has_negatives: bool,
    languages: Mapping[str, str] | None = None,
) -> dict[str, tuple[float, float]]:
    """Return F1 and exact match of each question; see `squad_scores`."""
    found: dict[str, tuple[float, float]] = {}
    for name, answers in gold.items():
        normalize: Normalize = normalize_answer
        if languages is not None:
            normalize = partial(normalize_by_language, language=languages[name])
        if has_negatives:  # what is nothing once it is normalized is no answer
            answers = [text for text in answers if normalize(text)] or [""]
        given = predictions[name]
        words = partial(f1, normalize=normalize, is_nothing_right=has_negatives)
        whole = partial(exact_match, normalize=normalize)
        found[name] = _best(words, given, answers), _best(whole, given, answers)
    return found


def _best(score: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    return max((score(prediction, one) for one in answers), default=0.0)


def _mean(scores: Iterable[tuple[float, float]], name: str) -> dict[str, float]:
    columns = zip(("f1", "exact_match"), zip(*scores, strict=True), strict=True)
    return {name + key: fmean(column) for key, column in columns}
