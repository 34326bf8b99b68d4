"""Choose documents to hold out of text in several languages, so that training sees none of them.

No sentence of what is held out, in any language, is trained on: lines elsewhere that have one are
left out. Which documents are, follows from the seed and their first sentences; so of texts with the
same English sentences (English-German, English-French) the same ones are held out, and little is
lost. Memory holds what is held out, never the text.
"""

import hashlib
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from paddlenlp_ext.pretraining.language_texts import Document, LanguageText, Line

MOST = 1000
DOCUMENTS = 4  # a document that is longer than this part of what may be held out is cut


@dataclass(frozen=True)
class HeldOutSettings:
    """What is held out of each language and of each pair.

    Attributes:
        share: Part of the lines, at most.
        most: Lines at most.
        seed: Decides which documents.
    """

    share: float = 0.02
    most: int = MOST
    seed: int = 42

    @property
    def longest_document(self) -> int:
        """Lines of a document."""
        return max(1, (self.most or MOST) // DOCUMENTS)


class _Candidate(NamedTuple):
    """A document that may be held out: those with the greatest `order` (the least keys) stay."""

    order: int
    number: int
    sentences: list[int]
    lines: int


@dataclass(frozen=True)
class HeldOut:
    """What is held out.

    Attributes:
        documents: Of each text, their numbers.
        sentences: Digests of all their sentences.
    """

    documents: list[set[int]] = field(default_factory=list)
    sentences: set[int] = field(default_factory=set)

    def has(self, line: Line) -> bool:
        """Whether one of the sentences of a line is held out."""
        if not self.sentences:
            return False
        return any(sentence_digest(sentence) in self.sentences for sentence in line)


def sentence_digest(sentence: str) -> int:
    """Digest a sentence, whatever its white space and its capitals."""
    text = " ".join(sentence.casefold().split())
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def choose_held_out(
    texts: Sequence[LanguageText],
    settings: HeldOutSettings,
    *,
    on_progress: Callable[[int], object] = lambda size: None,
) -> HeldOut:
    """Read all text, and choose what is held out.

    Args:
        texts: All text. Of a language or a pair that has text of which all is held out, nothing
            else is.
        settings: How much.
        on_progress: Called with the bytes that are done since the last call.

    Raises:
        DataError: A line of the text cannot be used.
    """
    found = HeldOut()
    given = {text.name for text in texts if text.is_held_out}
    for text in texts:
        chosen: set[int] = set()
        found.documents.append(chosen)
        for candidate in _candidates(text, settings, text.name in given, on_progress):
            chosen.add(candidate.number)
            found.sentences.update(candidate.sentences)
    return found


def _candidates(
    text: LanguageText,
    settings: HeldOutSettings,
    is_given: bool,
    on_progress: Callable[[int], object],
) -> list[_Candidate]:
    """Choose the documents of a text; of a text that is held out as a whole, all."""
    most = 0 if is_given else settings.most
    kept: list[_Candidate] = []  # unless all are, a heap with the greatest key on top
    lines = held = 0
    for number, document in enumerate(text.documents(settings.longest_document)):
        candidate = _candidate(number, document, settings.seed)
        on_progress(document.size)
        if text.is_held_out:
            kept.append(candidate)
            continue
        lines += candidate.lines
        heapq.heappush(kept, candidate)
        held += candidate.lines
        while held > most:
            held -= heapq.heappop(kept).lines
    if text.is_held_out:
        return kept
    room = min(most, int(settings.share * lines))
    chosen = []
    for candidate in sorted(kept, reverse=True):
        if candidate.lines <= room:
            room -= candidate.lines
            chosen.append(candidate)
    return chosen


def _candidate(number: int, document: Document, seed: int) -> _Candidate:
    sentences = [sentence_digest(sentence) for line in document.lines for sentence in line]
    content = f"{seed} {sentences[0]}".encode()
    key = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
    return _Candidate(-key, number, sentences, len(document.lines))
