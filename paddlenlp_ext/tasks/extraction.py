"""Information extraction by a schema: prompts, windows of long texts, spans of probabilities.

PaddleNLP's UIE (Lu et al., 2022, arXiv 2203.12277) asks for one thing at a time: a row is
"[CLS] prompt [SEP] text [SEP]", and each token has a probability to begin and one to end what the
prompt names. A schema says what to ask for:

    ["时间", "选手"]                          names of entities
    {"竞赛名称": ["主办方", "已举办次数"]}      what belongs to each entity: relations, events
    {"评价维度": ["观点词", "情感倾向[正向,负向]"]}  opinions; options in brackets are chosen from

What belongs to an entity is asked for by a prompt that names both: "2022语言大赛的主办方", or in
English "organizer of Language Competition 2022".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from paddlenlp_ext.errors import UserError, shown

Schema: TypeAlias = dict[str, "Schema"]
Span: TypeAlias = tuple[int, int]

HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # of full-width ASCII
_OPTIONS = re.compile(r"\[[^\[]+\]$")
_SENTENCE_ENDS = re.compile(r"(?:[。！？…؟।॥።‼⁇]|[.!?](?=[\s\"'”’»)\]]|$))+[\"'”’»」』）)\]]*|\n")
_CLAUSE_ENDS = re.compile(r"[,;:，；：、،؛]|\s+")


def read_schema(schema: object) -> Schema:
    """Bring a schema to one form: each name with the schema of what belongs to it.

    Args:
        schema: A name; a list of names and dicts; or a dict of names to schemas, nested at will.

    Raises:
        UserError: There is no name, or something else in the place of one.
    """
    names = _read(schema)
    if not names:
        raise UserError("`schema` names nothing; give the names of what to find: ['时间', '选手']")
    return names


def _read(schema: object) -> Schema:
    if isinstance(schema, str) and schema.strip():
        return {schema: {}}
    if isinstance(schema, Mapping) and all(isinstance(name, str) for name in schema):
        return {name: _read(below) for key, below in schema.items() for name in _read(key)}
    if isinstance(schema, list | tuple):
        names: Schema = {}
        for part in schema:
            for name, below in _read(part).items():
                names.setdefault(name, {}).update(below)
        return names
    raise UserError(
        f"`schema`: expected a name, a list of names, or a dict of names to what belongs to them, "
        f"got {shown(schema)}"
    )


def all_names(schema: Schema) -> Iterable[str]:
    """Yield every name of a schema, of all its levels."""
    for name, below in schema.items():
        yield name
        yield from all_names(below)


def make_prompt(name: str, subject: str | None, english: bool) -> str:
    """Word what is asked for as the published models were trained with it.

    Args:
        name: What the schema calls it.
        subject: Text of the answer that it belongs to, if it belongs to one.
        english: Whether subject and name are joined as in English, not as in Chinese.
    """
    name = name.translate(HALF_WIDTH)
    if subject is None:
        return name
    subject = subject.translate(HALF_WIDTH)
    if not english:
        return f"{subject}的{name}"
    options = options_at(name)
    return f"{name[:options].strip()} of {subject} {name[options:]}".rstrip()


def options_at(prompt: str) -> int:
    """Return the character where a prompt's options begin, "[positive,negative]"; else its end."""
    found = _OPTIONS.search(prompt)
    return found.start() if found else len(prompt)


def find_spans(
    start: np.ndarray, end: np.ndarray, threshold: float = 0.5
) -> list[tuple[int, int, float]]:
    """Pair the tokens that begin an answer with those that end one.

    A token begins or ends answers if its probability is above the threshold. A pair is an answer if
    neither token has another partner nearer to the other one, so that answers do not overlap.

    Args:
        start: Probability of each token to begin an answer; float [L].
        end: To end one, itself included; float [L].
        threshold: PaddleNLP's `position_prob`.

    Returns:
        First and last token of each answer, in order, and the product of their probabilities.
    """
    starts, ends = np.flatnonzero(start > threshold), np.flatnonzero(end > threshold)
    nearest = np.searchsorted(ends, starts)  # the first end that is not before a start
    starts, nearest = starts[nearest < len(ends)], nearest[nearest < len(ends)]
    last = np.diff(nearest, append=-1) != 0  # no start after it has the same end
    pairs = zip(starts[last].tolist(), ends[nearest[last]].tolist(), strict=True)
    return [(first, last, float(start[first]) * float(end[last])) for first, last in pairs]


def cut_windows(text: str, offsets: Sequence[Span], room: int) -> list[Span]:
    """Cut a text into windows: at ends of sentences, else of clauses or words, else anywhere.

    Args:
        text: The whole text.
        offsets: First and one past last character of each of its tokens.
        room: Most tokens of a window.

    Returns:
        First and one past last token of each window; every token is in one. None without tokens.
    """
    if len(offsets) <= room:
        return [(0, len(offsets))] if offsets else []
    stops, starts = np.array(offsets)[:-1, 1], np.array(offsets)[1:, 0]
    kinds = []  # tokens that follow an end, by kind of end
    for pattern in (_SENTENCE_ENDS, _CLAUSE_ENDS):
        ends = np.array([found.end() for found in pattern.finditer(text)])
        between = np.searchsorted(ends, starts, "right") > np.searchsorted(ends, stops)
        kinds.append(np.append(0, np.flatnonzero(between) + 1))
    cuts = [0]
    while (longest := cuts[-1] + room) < len(offsets):
        last = (int(places[np.searchsorted(places, longest, "right") - 1]) for places in kinds)
        cuts.append(next((place for place in last if place > cuts[-1]), longest))
    return list(zip(cuts, [*cuts[1:], len(offsets)], strict=True))


def choose_option(chosen: Sequence[tuple[str, float]]) -> dict[str, Any] | None:
    """Make one answer of the options that the windows of a text chose; None if none did.

    The option of most windows counts, then that of the larger sum of probabilities, whose mean is
    the answer's.
    """
    votes: dict[str, list[float]] = {}
    for option, probability in chosen:
        votes.setdefault(option, []).append(probability)
    if not votes:
        return None
    option = max(votes, key=lambda option: (len(votes[option]), sum(votes[option])))
    return {"text": option, "probability": sum(votes[option]) / len(votes[option])}
