"""Which columns of a user's table hold text, label and language, by names that many tables have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paddlenlp_ext.errors import DataError, shown

# Names in lower case; of those that a table has, the first one is meant.
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "document"),
    ("query", "passage"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("text", "text_pair"),
)
TEXTS = (
    *("text", "sentence", "review", "content", "comment", "tweet", "message", "document", "body"),
    *("utterance", "query", "question", "title"),
)
LABELS = (
    *("label", "labels", "gold_label", "class", "category", "categories", "sentiment", "target"),
    *("tag", "tags", "topic", "intent", "emotion", "rating", "stars", "score", "similarity"),
)
LONGEST = 4  # words of a name that is guessed
OTHERS = (
    "id",
    "idx",
    "index",
    "guid",
    "uid",
    "lang",
    "language",
    "split",
)  # neither text nor label


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read.

    Attributes:
        text: Of the only, or the first text.
        pair: Of the second text; None where there is none.
        label: Of the label; None where there is none.
        language: Of the row's language; None where no column names it.
    """

    text: str
    pair: str | None = None
    label: str | None = None
    language: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the one or two columns with text."""
        return (self.text,) if self.pair is None else (self.text, self.pair)


def find_columns(given: Columns, names: Sequence[str], where: str, *, labelled: bool) -> Columns:
    """Complete the names of columns that a user gave, by the names that a table has.

    Args:
        given: What was given; an empty text is not.
        names: Of the table's columns.
        where: The table, for messages.
        labelled: Whether it must have labels; if not, only the plainest names are taken for them.

    Raises:
        DataError: The table lacks a column, or more than one guess is possible.
    """
    settings = {
        "text_column_name": given.text,
        "text_pair_column_name": given.pair,
        "label_column_name": given.label,
        "language_column_name": given.language,
    }
    for setting, name in settings.items():
        if name and name not in names:
            raise DataError(
                f"{where}: has no column {shown(name)} (`{setting}`), but {_listed(names)}"
            )
    taken = {name for name in settings.values() if name}
    free = [name for name in names if name not in taken]
    label = given.label or _first(LABELS if labelled else LABELS[:3], free)
    free = [name for name in free if name != label and not _is_other(name)]
    text, pair = given.text, given.pair
    if not text and pair is None:
        text, pair = _pair(free) or (_first(TEXTS, free) or "", None)
    elif not text:
        text = _first(TEXTS, free) or ""
    free = [name for name in free if name not in (text, pair)]
    # Where there is no header, the first text stands in its place.
    are_names = not labelled and all(len(name.split()) <= LONGEST for name in names)
    if not text and (label or are_names) and len(free) == 1:
        text, free = free[0], []
    if not text:
        raise DataError(
            f"{where}: has the columns {_listed(names)}; expected a header row with one like "
            "'text', or say which one holds the text with `text_column_name`"
        )
    if labelled and label is None and len(free) == 1:
        label = free[0]
    if labelled and label is None:
        raise DataError(
            f"{where}: has the columns {_listed(names)}; say which one holds the label with "
            "`label_column_name`"
        )
    return Columns(text, pair, label, given.language)


def _first(known: Iterable[str], names: Sequence[str]) -> str | None:
    """Return the column that has one of the known names, in upper or lower case."""
    by_name = {name.lower(): name for name in reversed(names)}
    return next((by_name[name] for name in known if name in by_name), None)


def _pair(names: Sequence[str]) -> tuple[str, str] | None:
    by_name = {name.lower(): name for name in reversed(names)}
    return next(((by_name[a], by_name[b]) for a, b in PAIRS if a in by_name and b in by_name), None)


def _is_other(name: str) -> bool:
    return name.lower() in OTHERS or name.startswith("column ")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(shown(name, 30) for name in names)
