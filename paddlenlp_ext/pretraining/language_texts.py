"""Documents of text in several languages, one way to read sentences and pairs of sentences.

A document ends at an empty line. In a source without empty lines every line is one: such lists of
sentences (Tatoeba's) have no order. A document that is longer than what is held is cut.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from paddlenlp_ext.pretraining.corpus import numbered_lines
from paddlenlp_ext.pretraining.language_files import ParallelText
from paddlenlp_ext.pretraining.parallel_text import read_pairs

LOOKED_AT = 1000  # lines of a file, for an empty one

Line = tuple[str, ...]  # a sentence, or a sentence and its translation; empty texts end a document


class Document(NamedTuple):
    """Lines that belong together.

    Attributes:
        lines: Sentences, or pairs of them.
        size: Bytes that were read for them.
    """

    lines: list[Line]
    size: int


@dataclass(frozen=True)
class LanguageText:
    """The text of a language or of a pair of languages.

    Attributes:
        name: "en", or "en-de".
        languages: One or two.
        files: Text files, or parallel text.
        is_held_out: Whether none of it is trained on.
    """

    name: str
    languages: tuple[str, ...]
    files: Sequence[Path | ParallelText]
    is_held_out: bool = False

    @property
    def is_pairs(self) -> bool:
        """Whether lines are pairs."""
        return len(self.languages) == 2

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [
            path
            for file in self.files
            for path in (file.paths if isinstance(file, ParallelText) else (file,))
        ]

    def documents(self, longest: int) -> Iterator[Document]:
        """Yield the documents, always the same ones.

        Args:
            longest: Lines of a document at most.

        Raises:
            DataError: A line cannot be used.
        """
        for file in self.files:
            read = iter(_lines(file))
            head = [*islice(read, LOOKED_AT)]
            alone = all(any(line) for line, _ in head)
            lines: list[Line] = []
            size = 0
            for line, read_bytes in chain(head, read):
                size += read_bytes
                if any(line):
                    lines.append(line)
                if lines and (alone or not any(line) or len(lines) == longest):
                    yield Document(lines, size)
                    lines, size = [], 0
            if lines:
                yield Document(lines, size)


def language_texts(
    texts: Mapping[str, Sequence[Path]],
    pairs: Mapping[str, Sequence[ParallelText]],
    *,
    are_held_out: bool = False,
) -> list[LanguageText]:
    """List text by name: that of languages, then that of pairs.

    Args:
        texts: Files by language.
        pairs: Parallel text by pair of languages.
        are_held_out: Whether none of it is trained on.
    """
    sentences = [LanguageText(code, (code,), texts[code], are_held_out) for code in sorted(texts)]
    return sentences + [
        LanguageText(name, pairs[name][0].languages, pairs[name], are_held_out)
        for name in sorted(pairs)
    ]


def _lines(file: Path | ParallelText) -> Iterator[tuple[Line, int]]:
    if isinstance(file, ParallelText):
        return (((pair.first, pair.second), pair.size) for pair in read_pairs(file))
    return (((line.strip(),), size) for _, line, size in numbered_lines(file))
