"""Shards of plain token ids, for pretraining that masks them as it reads (`dynamic_masking`).

A line of the corpus is a row, `[CLS] … [SEP]`, or several rows if it is longer than one.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import vocabulary_digest
from paddlenlp_ext.pretraining.corpus import read_blocks
from paddlenlp_ext.pretraining.hdf5 import Column, Columns, Layout
from paddlenlp_ext.pretraining.shard_set import Check
from paddlenlp_ext.pretraining.shards import VOCABULARY, open_shard
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer

LAYOUT: Layout = {
    "input_ids": Column("int32", "tokens"),  # with special tokens, then zeros
    "length": Column("int32"),  # tokens of the row
}
CORPUS = "train.data"  # in the input folder, as the original script has it
HELD_OUT = "dev.data"
BLOCK_BYTES = 1 << 21


@dataclass(frozen=True)
class TextSettings:
    """How rows are made of a corpus.

    Attributes:
        max_seq_length: Tokens of a row at most, special ones included.
        pack_lines: Join lines that follow one another, for as long as they fit into a row; an empty
            line parts documents, which are not joined.
    """

    max_seq_length: int = 128
    pack_lines: bool = False


def find_corpus(path: str | Path) -> dict[str, list[Path]]:
    """List the text files of each split.

    Args:
        path: A text file; or a folder with `train.data`, or else with `*.txt`. A `dev.data` beside
            them is held out.

    Raises:
        DataError: There is nothing to train on.
    """
    path = Path(path)
    if path.is_file():
        return {"train": [path]}
    named = path / CORPUS
    train = [named] if named.is_file() else sorted(path.glob("*.txt"))
    if not train:
        raise DataError(
            f"`input_dir` {path}: expected {CORPUS}, or *.txt, with a sentence on each line"
        )
    held_out = path / HELD_OUT
    return {"train": train, "dev": [held_out]} if held_out.is_file() else {"train": train}


def corpus_digest(files: Sequence[Path]) -> str:
    """Compute the SHA-256 of a corpus: of the names and the bytes of its files.

    Raises:
        DataError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\n".encode())
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def make_shard(
    files: Sequence[Path],
    tokenizer: Tokenizer,
    path: Path,
    settings: TextSettings,
    *,
    on_progress: Callable[[int], object] = lambda size: None,
) -> bool:
    """Tokenize a corpus into a shard, a block at a time; keep one that was made of the same.

    Args:
        files: The corpus.
        tokenizer: The model's.
        path: The shard.
        settings: How rows are made.
        on_progress: Called with the bytes of the corpus that are done since the last call.

    Returns:
        Whether it was made, and not there before.

    Raises:
        DataError: The corpus cannot be used, or the shard cannot be written.
    """
    attributes: dict[str, Any] = {
        **asdict(settings),
        VOCABULARY: vocabulary_digest(tokenizer),
        "corpus_sha256": corpus_digest(files),
    }
    if (
        read_attributes(path, {name: type(value) for name, value in attributes.items()})
        == attributes
    ):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with ShardWriter([path], LAYOUT, {"tokens": settings.max_seq_length}, attributes) as writer:
        for block in read_blocks(files, BLOCK_BYTES):
            lines = [line for document in block.documents for line in document]
            ids = iter(tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"])
            documents = ([next(ids) for _ in document] for document in block.documents)
            rows = [row for document in documents for row in _rows(document, settings)]
            if rows:
                writer.write(row_columns(rows, tokenizer, settings.max_seq_length))
            on_progress(block.size)
        if not writer.rows:
            raise DataError(f"{files[0]}: no line of the corpus has a token of the vocabulary")
    return True


def check_rows(vocab_size: int) -> Check:
    """Make the check of rows for a model with so many tokens."""

    def check(columns: Columns) -> tuple[int, str] | None:
        ids, length = columns["input_ids"], columns["length"]
        faults = {
            f"input_ids must be from 0 to {vocab_size - 1}, the model's vocabulary": (
                (ids < 0) | (ids >= vocab_size)
            ).any(1),
            f"length must be from 1 to {ids.shape[1]}": (length < 1) | (length > ids.shape[1]),
        }
        found = [(int(bad.argmax()), problem) for problem, bad in faults.items() if bad.any()]
        return min(found, default=None)

    return check


def _rows(lines: Sequence[list[int]], settings: TextSettings) -> Iterator[list[int]]:
    """Cut the lines of a document into rows, special tokens not yet in."""
    room = settings.max_seq_length - 2
    waiting: list[int] = []
    for line in lines:
        if waiting and (not settings.pack_lines or len(waiting) + len(line) > room):
            yield from _pieces(waiting, room)
            waiting = []
        waiting += line
    yield from _pieces(waiting, room)


def _pieces(tokens: list[int], room: int) -> Iterator[list[int]]:
    return (tokens[start : start + room] for start in range(0, len(tokens), room))


def row_columns(rows: Sequence[list[int]], tokenizer: Tokenizer, width: int) -> Columns:
    """Put special tokens around rows and zeros behind them: the columns of `LAYOUT`."""
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    input_ids = np.zeros((len(rows), width), np.int32)
    for number, tokens in enumerate(rows):
        input_ids[number, : len(tokens) + 2] = [cls, *tokens, sep]
    return {
        "input_ids": input_ids,
        "length": np.array([len(tokens) + 2 for tokens in rows], np.int32),
    }


def read_attributes(path: Path, known: Mapping[str, type]) -> Mapping[str, Any] | None:
    """Read what a shard says of itself; None where there is none that can be used."""
    with suppress(DataError):
        return open_shard(path, LAYOUT, known).attributes
    return None
