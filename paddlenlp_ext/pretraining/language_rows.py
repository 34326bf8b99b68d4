"""Rows of token ids for language modelling, made once of plain text and kept as shards on disk.

A row is `[CLS] … [SEP]`. Packed, rows are as long as they may be: the text goes on from row to row,
and an empty line, which parts documents, becomes a separator token. Line by line, a line is a row,
or several rows if it is longer than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import vocabulary_digest
from paddlenlp_ext.pretraining.corpus import read_lines
from paddlenlp_ext.pretraining.shards import VOCABULARY
from paddlenlp_ext.pretraining.text_shards import (
    BLOCK_BYTES,
    LAYOUT,
    corpus_digest,
    read_attributes,
    row_columns,
)
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer

SPECIAL = 2  # tokens of a row that are not of its text


@dataclass(frozen=True)
class RowSettings:
    """How rows are made of text.

    Attributes:
        max_seq_length: Tokens of a row at most, special ones included.
        line_by_line: Whether each line has rows of its own; else rows are packed.
        held_out: Part of the rows that the second shard gets; 0 where there is one shard.
        seed: Decides which rows are held out.
    """

    max_seq_length: int = 512
    line_by_line: bool = False
    held_out: float = 0.0
    seed: int = 42


def make_rows(
    files: Sequence[Path],
    tokenizer: Tokenizer,
    paths: Sequence[Path],
    settings: RowSettings,
    *,
    on_progress: Callable[[int], object] = lambda size: None,
) -> bool:
    """Make shards of text, a block at a time; keep those that were made of the same.

    Args:
        files: The text, in UTF-8.
        tokenizer: The model's.
        paths: The shard; with `settings.held_out` a second one, of what is held out.
        settings: How rows are made.
        on_progress: Called with the bytes of the text that are done since the last call.

    Returns:
        Whether they were made, and not there before.

    Raises:
        DataError: The text cannot be used, or a shard cannot be written.
    """
    attributes: dict[str, Any] = {
        **asdict(settings),
        "held_out": str(settings.held_out),  # only whole numbers and texts are read
        VOCABULARY: vocabulary_digest(tokenizer),
        "corpus_sha256": corpus_digest(files),
    }
    known = {name: type(value) for name, value in attributes.items()}
    if all(read_attributes(path, known) == attributes for path in paths):
        return False
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(settings.seed)))
    widths = {"tokens": settings.max_seq_length}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(ShardWriter([path], LAYOUT, widths, attributes)) for path in paths
        ]
        for rows, size in _rows(files, tokenizer, settings):
            columns = row_columns(rows, tokenizer, settings.max_seq_length)
            apart = random.random_sample(len(rows)) < settings.held_out
            for writer, chosen in zip(writers, (~apart, apart), strict=False):
                if chosen.any():
                    writer.write({name: values[chosen] for name, values in columns.items()})
            on_progress(size)
        count = sum(writer.rows for writer in writers)
        for writer, path in zip(writers, paths, strict=True):
            if not writer.rows:
                raise DataError(
                    f"{files[0]}: there is no row for the {path.stem} split among {count} rows; "
                    "give more text, shorter rows with `max_seq_length`, or a `validation_file`"
                    if count
                    else f"{files[0]}: holds no text of which a token is in the vocabulary"
                )
    return True


def _rows(
    files: Sequence[Path], tokenizer: Tokenizer, settings: RowSettings
) -> Iterator[tuple[list[list[int]], int]]:
    """Yield rows, special tokens not yet in, and the bytes of the text that they were made of."""
    room, rest = settings.max_seq_length - SPECIAL, list[int]()
    for lines, size in _blocks(files):
        ids = iter(
            tokenizer([*filter(None, lines)], add_special_tokens=False, verbose=False)["input_ids"]
        )
        rows: list[list[int]] = []
        for line in lines:
            if line:
                rest += next(ids)
            elif rest and not settings.line_by_line and rest[-1] != tokenizer.sep_token_id:
                rest.append(tokenizer.sep_token_id)
            end = len(rest) if settings.line_by_line else len(rest) // room * room
            rows += [rest[start : start + room] for start in range(0, end, room)]
            rest = rest[end:]
        yield rows, size
    if rest[-1:] == [tokenizer.sep_token_id]:
        del rest[-1]
    if rest:
        yield [rest], 0


def _blocks(files: Sequence[Path]) -> Iterator[tuple[list[str], int]]:
    """Yield lines that are worked on together, and their bytes; a file ends with an empty line."""
    lines: list[str] = []
    size = 0
    for file in files:
        for line, read in read_lines(file):
            lines.append(line)
            size += read
            if size >= BLOCK_BYTES:
                yield lines, size
                lines, size = [], 0
        lines.append("")
    yield lines, size
