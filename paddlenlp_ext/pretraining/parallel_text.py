"""Read parallel text: two columns of a table, or the same lines of two files."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.corpus import numbered_lines
from paddlenlp_ext.pretraining.language_files import ParallelText, parallel_text

COLUMN = "\t"


class TextPair(NamedTuple):
    """A sentence and its translation; both empty between documents.

    Attributes:
        first: In the first language.
        second: In the second one.
        source: Where they stand: "en-de.tsv:17".
        size: Bytes that were read for them.
    """

    first: str
    second: str
    source: str
    size: int = 0


def read_pairs(text: ParallelText | Path) -> Iterator[TextPair]:
    """Yield the pairs of parallel text; an empty line, which parts documents, is an empty pair.

    Raises:
        DataError: A line has another number of columns than two, a sentence has no translation,
            one file has more lines than the other, or a file cannot be read.
    """
    found = parallel_text(text) if isinstance(text, Path) else text
    pairs = _table(found) if len(found.paths) == 1 else _aligned(found)
    for pair in pairs:
        if bool(pair.first) != bool(pair.second):
            empty = found.languages[bool(pair.first)]
            raise DataError(
                f"{pair.source}: the sentence in {empty} is empty; expected a sentence in both "
                "languages, or an empty line between documents: remove the line"
            )
        yield pair


def _table(text: ParallelText) -> Iterator[TextPair]:
    (path,) = text.paths
    for number, line, size in numbered_lines(path):
        source = f"{path}:{number}"
        if not line.strip():
            yield TextPair("", "", source, size)
            continue
        columns = line.split(COLUMN)
        if len(columns) != 2:
            raise DataError(
                f"{source}: has {len(columns)} column{'s' * (len(columns) > 1)}; expected two, a "
                f"sentence in {' and its translation in '.join(text.languages)}, with a tab "
                "between them"
            )
        yield TextPair(columns[0].strip(), columns[1].strip(), source, size)


def _aligned(text: ParallelText) -> Iterator[TextPair]:
    nothing = (0, "", 0)  # where a file has ended
    for lines in zip_longest(*map(numbered_lines, text.paths), fillvalue=nothing):
        number = max(line[0] for line in lines)
        first, second = (line[1].strip() for line in lines)
        if nothing in lines and (first or second):  # a file may have more empty lines at its end
            at = lines.index(nothing)
            raise DataError(
                f"{text.paths[1 - at]}:{number}: {text.paths[at]} has no such line; expected as "
                "many lines in both, each with the translation of the same line"
            )
        place = text.paths[bool(first)]  # of the empty one, if one is
        yield TextPair(first, second, f"{place}:{number}", lines[0][2] + lines[1][2])
