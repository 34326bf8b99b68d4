"""Sentences with a tag for each word: their files, and the rows that a model reads of them.

Files have a word and its tag on each line and an empty line after each sentence, as those of CoNLL
and of Universal Dependencies, or are JSON lines of `words` and `tags`. A word's tag is that of its
first piece. A sentence that is longer than a row is split into several rows, so that no word is
lost. A word of which the tokenizer makes nothing counts as predicted outside of all entities.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import DataError, shown
from paddlenlp_ext.metrics import IGNORED, Metrics
from paddlenlp_ext.tasks.entities import OUTSIDE, TAG, entity_scores, scheme_of, tag_scores
from paddlenlp_ext.tasks.features import CHUNK, Features
from paddlenlp_ext.tasks.records import fault_of, read_records
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.tasks.task import Metric
from paddlenlp_ext.tasks.text_lines import numbered_lines

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.base import Tokenizer

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
NEW_DOCUMENT = "# newdoc"  # the same in CoNLL-U, a comment
DOCUMENT = "-DOCSTART-"  # what CoNLL-2003 begins a document with, as a sentence
COMMENTED = "# "  # what a comment begins with, and a word "#" with columns parted by spaces
COMMENT = re.compile(r"# (?:(?:id|sent_id|text|newdoc|newpar)\b|.*=)")  # above a sentence
IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
JSON_KEYS = (("words", "tokens", "text", "sentence"), ("tags", "ner_tags", "upos", "labels"))


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words, and the tag of each; no tags where there is nothing to learn or to compare with.

    Attributes:
        source: Where it begins: "train.conll:17".
        belongs_to: Its document, where the file says where one begins.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    source: str
    belongs_to: tuple[str] = field(default=("",), compare=False)


def read_sentences(
    paths: Iterable[Path],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    is_labelled: bool = True,
    on_bad_row: Literal["error", "skip"] = "error",
) -> tuple[list[TaggedSentence], list[BadRow]]:
    """Read sentences.

    Args:
        paths: `.json`, `.jsonl` and `.ndjson` have objects of JSON, `.conllu` is CoNLL-U, all
            others have columns parted by tabs or else by spaces.
        text_column: Where the words are: a key of JSON, the number of a column, from 1, or its
            name in CoNLL-U. If not given: "words" or "tokens", FORM, the first column.
        label_column: Where the tags are; likewise: "tags" …, UPOS, the last column.
        is_labelled: Whether there must be tags.
        on_bad_row: Whether a sentence that cannot be used is an error or left out.

    Returns:
        The sentences, and what was left out.

    Raises:
        DataError: A file or a sentence cannot be used.
    """
    sentences: list[TaggedSentence] = []
    bad_rows: list[BadRow] = []
    for path in paths:
        before = len(sentences)
        for found in iterate_sentences(path, text_column, label_column, is_labelled=is_labelled):
            if isinstance(found, TaggedSentence):
                sentences.append(found)
            elif on_bad_row == "skip":
                bad_rows.append(found)
            else:
                line = found.source.rpartition(":")[2]
                raise DataError(
                    f"{path}:{line}: {found.reason}; mend the sentence, or leave such ones out "
                    "with `on_bad_row` skip"
                )
        if len(sentences) == before:
            raise DataError(f"{path}: expected sentences, a word on each line, got none")
    return sentences, bad_rows


def iterate_sentences(
    path: Path,
    text_column: str | None = None,
    label_column: str | None = None,
    *,
    is_labelled: bool = True,
) -> Iterator[TaggedSentence | BadRow]:
    """Yield the sentences of a file one by one, and what of it cannot be used.

    Args:
        path: See `read_sentences`, as for the others.
        text_column: Where the words are.
        label_column: Where the tags are.
        is_labelled: Whether there must be tags.

    Raises:
        DataError: The file cannot be read, or has no such column.
    """
    name = path.name.lower().removesuffix(".gz")
    read = _json_rows if name.endswith(JSON_ENDINGS) else _columns
    yield from read(path, (text_column, label_column), is_labelled)


def _columns(
    path: Path, columns: tuple[str | None, str | None], is_labelled: bool
) -> Iterator[TaggedSentence | BadRow]:
    """Read columns; a sentence with a bad line is bad as a whole."""
    is_conllu = path.name.lower().removesuffix(".gz").endswith(".conllu")
    lines: list[tuple[int, list[str]]] = []
    separator, width = ("\t", len(CONLLU)) if is_conllu else _layout(path)
    document = ""  # where it begins
    for number, line in chain(numbered_lines(path), [(0, "")]):
        is_document = line.startswith(DOCUMENT)
        if is_document or not line.strip():
            if lines:
                places = _places(path, columns, width, is_conllu)
                yield _sentence(path, lines, width, places, is_labelled, document)
            lines = []
            document = f"{path}:{number}" if is_document else document
            continue
        fields = line.split(separator)
        is_comment = line.startswith("#" if is_conllu else COMMENTED)
        if not is_conllu and len(fields) == width:  # as a word "#" has them, too
            is_comment = not lines and COMMENT.match(line) is not None
        if is_comment:
            document = f"{path}:{number}" if line.startswith(NEW_DOCUMENT) else document
            continue
        if not (is_conllu and {"-", "."} & {*fields[0]}):  # no words: "1-2", of two, and "1.1"
            lines.append((number, fields))


def _layout(path: Path) -> tuple[str | None, int]:
    """Return what parts the columns, and how many there are, by the first line of a word."""
    lines = (line for _, line in numbered_lines(path))
    words = (line for line in lines if line.strip() and not line.startswith((COMMENTED, DOCUMENT)))
    first = next(words, "")
    separator = "\t" if "\t" in first else None
    return separator, len(first.split(separator))


def _places(
    path: Path, columns: tuple[str | None, str | None], width: int, is_conllu: bool
) -> list[int]:
    """Return the numbers, from 0, of the columns of words and of tags."""
    found = [1, 3] if is_conllu else [0, width - 1]
    for kind, (setting, given) in enumerate(zip(("text", "label"), columns, strict=True)):
        if given is None:
            continue
        if is_conllu and given.upper() in CONLLU:
            found[kind] = CONLLU.index(given.upper())
        elif given.isdecimal() and 1 <= int(given) <= width:
            found[kind] = int(given) - 1
        else:
            names = f" or one of {', '.join(CONLLU)}" if is_conllu else ""
            raise DataError(
                f"{path}: `{setting}_column` {shown(given)}: expected a number from 1 to "
                f"{width}{names}"
            )
    return found


def _sentence(
    path: Path,
    lines: Sequence[tuple[int, list[str]]],
    width: int,
    places: Sequence[int],
    is_labelled: bool,
    document: str,
) -> TaggedSentence | BadRow:
    """Make a sentence of the fields of its lines, or say what is wrong with it."""
    text, label = places
    has_tags = text != label
    for number, fields in lines:
        at = f"{path.name}:{number}"
        if len(fields) != width:
            return BadRow(at, f"expected {width} columns, got {len(fields)}")
        if not fields[text].strip():
            return BadRow(at, f"expected a word in column {text + 1}, got none")
        if "\0" in fields[text]:
            return BadRow(at, "expected text, got a NUL byte")
        if is_labelled and not (has_tags and fields[label].strip()):
            return BadRow(at, f"expected a tag in column {label + 1}, got none")
    words = tuple(fields[text] for _, fields in lines)
    tags = tuple(fields[label].strip() for _, fields in lines) if has_tags else ()
    tags = tags if all(tags) else ()
    return TaggedSentence(words, tags, f"{path.name}:{lines[0][0]}", (document,))


def _json_rows(
    path: Path, columns: tuple[str | None, str | None], is_labelled: bool
) -> Iterator[TaggedSentence | BadRow]:
    """Read objects of JSON."""
    for record in read_records(path):
        if isinstance(record, BadRow):
            yield record
            continue
        row = record.values
        keys = [
            given or next((one for one in known if one in row), known[0])
            for given, known in zip(columns, JSON_KEYS, strict=True)
        ]
        if isinstance(row.get(keys[0]), str):
            row = {**row, keys[0]: [*split_words(row[keys[0]])]}
        reason = _fault(row, keys, is_labelled)
        if reason:
            yield BadRow(record.source, reason)
        else:
            tags = tuple(tag.strip() for tag in row.get(keys[1]) or ())
            yield TaggedSentence(tuple(row[keys[0]]), tags, record.source)


def split_words(text: str) -> tuple[str, ...]:
    """Split a plain text into words, as most data sets of tags have them.

    Spaces part words, punctuation around a word is apart from it, and each ideograph is one.
    """
    words: list[str] = []
    for part in IDEOGRAPH.sub(r" \g<0> ", text).split():
        marks = [unicodedata.category(one)[0] in "PS" for one in part]
        first = marks.index(False) if False in marks else len(part)
        last = max(len(part) - marks[::-1].index(False), first) if False in marks else first
        words += [*part[:first], *([part[first:last]] if first < last else []), *part[last:]]
    return tuple(words)


def _fault(row: Mapping[str, Any], keys: Sequence[str], is_labelled: bool) -> str:
    """Say what is wrong with a row of JSON; nothing if it is right."""
    words, tags = (row.get(key) for key in keys)
    for key, values in zip(keys, (words, tags), strict=True):
        if values is None and (key == keys[0] or is_labelled):
            return f"expected {key!r}, got {shown([*row])}"
        if values is not None and not (
            isinstance(values, list) and all(isinstance(one, str) and one.strip() for one in values)
        ):
            return f"expected a list of texts, none empty, as {key!r}, got {shown(values)}"
    if not words:
        return f"expected words as {keys[0]!r}, got none"
    if tags is not None and len(tags) != len(words or ()):
        return f"expected {len(words)} tags, one a word, got {len(tags)}"
    return fault_of("".join([*words, *(tags or ())]))


def tag_names(sentences: Iterable[TaggedSentence]) -> tuple[str, ...]:
    """Return all tags of sentences, sorted.

    Raises:
        DataError: Some are tags of entities and others are not, which is a slip.
    """
    sources = {tag: one.source for one in reversed([*sentences]) for tag in one.tags}
    names = sorted(sources)
    odd = [tag for tag in names if not TAG.fullmatch(tag)]
    if odd and any(TAG.fullmatch(tag) and tag != OUTSIDE for tag in names):
        raise DataError(
            f"{sources[odd[0]]}: expected tags as B-…, I-…, E-…, S-… or O, as others are, got "
            f"{shown(odd[0])}"
        )
    return tuple(names)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Which words of which sentence a row has.

    Attributes:
        sentence: Number of the sentence.
        words: Numbers of its words; int64 [N].
        tokens: Place of the first piece of each; int64 [N].
    """

    sentence: int
    words: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenRows:
    """What a model reads of sentences: features of each row, and where its words are.

    Attributes:
        split: How many sentences have several rows.
        lost: How many words have no piece.
    """

    features: Sequence[Features]
    rows: Sequence[TokenRow]
    split: int
    lost: int


def make_token_rows(
    sentences: Sequence[TaggedSentence],
    tags: Sequence[str],
    tokenizer: "Tokenizer",
    max_length: int,
    *,
    label_all_tokens: bool = False,
) -> TokenRows:
    """Tokenize sentences, and label the first piece of each word.

    Args:
        sentences: With or without tags; tags of other names are not learned.
        tags: By number.
        tokenizer: The model's.
        max_length: Most tokens of a row, special tokens included.
        label_all_tokens: Whether the other pieces of a word have its label too.
    """
    numbers = {tag: number for number, tag in enumerate(tags)}
    features, rows = [], []
    for start in range(0, len(sentences), CHUNK):
        chunk = sentences[start : start + CHUNK]
        encoded = tokenizer(
            [list(one.words) for one in chunk],
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_overflowing_tokens=True,
        )
        last = (-1, -1)  # sentence and word of the piece before, which may be in the row before
        for row, number in enumerate(encoded["overflow_to_sample_mapping"]):
            ids = np.asarray(encoded["input_ids"][row], np.int32)
            label = np.full(len(ids), IGNORED, np.int32)
            gold = chunk[number].tags
            words, tokens = [], []
            for token, word in enumerate(encoded.word_ids(row)):
                if word is None:
                    continue
                is_first, last = (number, word) != last, (number, word)
                if is_first:
                    words.append(word)
                    tokens.append(token)
                if gold and (is_first or label_all_tokens):
                    label[token] = numbers.get(gold[word], IGNORED)
            types = encoded.get("token_type_ids")
            type_ids = None if types is None else np.asarray(types[row], np.int32)
            features.append(Features(ids, type_ids, label))
            places = (np.array(places, np.int64) for places in (words, tokens))
            rows.append(TokenRow(start + number, *places))
    several = sum(count > 1 for count in Counter(row.sentence for row in rows).values())
    lost = sum(len(one.words) for one in sentences) - sum(len(row.words) for row in rows)
    return TokenRows(features, rows, several, lost)


def tags_of(
    logits: Sequence[npt.NDArray[Any]],
    rows: Sequence[TokenRow],
    sentences: Sequence[TaggedSentence],
    tags: Sequence[str],
) -> list[list[str]]:
    """Predict the tags of all words of sentences.

    Args:
        logits: Of the tokens of each row; float [L, C].
        rows: Of `make_token_rows`.
        sentences: What they were made of.
        tags: By number.
    """
    found = [[OUTSIDE] * len(one.words) for one in sentences]
    for scores, row in zip(logits, rows, strict=True):
        for word, best in zip(row.words, scores[row.tokens].argmax(-1), strict=True):
            found[row.sentence][word] = tags[best]
    return found


def tag_metric(
    rows: Sequence[TokenRow],
    sentences: Sequence[TaggedSentence],
    tags: Sequence[str],
    *,
    strict: bool,
) -> Metric:
    """Make the metric of sentences: "f1", "precision" and "recall" of entities, and "acc" of words.

    Its `classes` are the types of entities, or else the tags.

    Args:
        rows: Of `make_token_rows`.
        sentences: What they were made of, with tags.
        tags: By number; there is "acc" alone where they are not of entities.
        strict: See `entities.find_entities`.
    """
    gold = [one.tags for one in sentences]
    scheme = scheme_of(tags)

    def metric(predictions: Any, labels: Any) -> Metrics:
        found = tags_of(predictions, rows, sentences, tags)
        pairs = [*zip(found, gold, strict=True)]
        right = sum(one == other for pair in pairs for one, other in zip(*pair, strict=True))
        scores = {"acc": right / sum(map(len, gold))}
        if scheme is None:
            return Metrics(scores, tag_scores(found, gold))
        entities = entity_scores(found, gold, scheme if strict else None)
        precision, recall, f1, _ = entities.pop("")
        return Metrics({"f1": f1, "precision": precision, "recall": recall} | scores, entities)

    return metric
