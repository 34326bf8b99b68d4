"""Read a corpus: a sentence on each line, an empty line between documents, one file or many.

The corpus is read once, from front to back, in blocks of whole documents. A block is all that is in
memory, and all that a document's random next sentences are drawn from.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paddlenlp_ext.errors import DataError

logger = logging.getLogger(__name__)

LONGEST_LINE = 1_000_000  # bytes
PIECES = 4  # a document that is longer than this part of a block is cut

Document = list[str]  # sentences


@dataclass(frozen=True, slots=True)
class Block:
    """Documents that are worked on together.

    Attributes:
        number: From 0, in the order of the corpus.
        documents: At least two, unless the corpus has only one.
        size: Bytes of the corpus that they were read from.
    """

    number: int
    documents: list[Document]
    size: int


def corpus_files(path: str | Path) -> list[Path]:
    """List the text files of a corpus: the file itself, or every `*.txt` of a folder, by name.

    Raises:
        DataError: There are none.
    """
    path = Path(path)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not all(file.is_file() for file in files):
        raise DataError(f"{path}: there is no such file or folder; `input_file` names the corpus")
    if not files:
        raise DataError(f"{path}: holds no *.txt file; `input_file` takes a file or a folder")
    return files


def read_blocks(files: Sequence[Path], block_bytes: int) -> Iterator[Block]:
    """Read the documents of a corpus in blocks.

    Args:
        files: In this order. The end of a file is the end of a document.
        block_bytes: Size of a block, which its last document may exceed. What is left at the end
            joins the block before it: alone, it might be a single document.

    Raises:
        DataError: A line is not UTF-8 or too long, or there is no sentence at all.
    """
    waiting: Block | None = None
    documents: list[Document] = []
    size = number = 0
    for document, read in _documents(files, max(1, block_bytes // PIECES)):
        documents.append(document)
        size += read
        if size >= block_bytes and len(documents) > 1:
            if waiting is not None:
                yield waiting
            waiting = Block(number, documents, size)
            documents, size, number = [], 0, number + 1
    if waiting is not None:
        yield Block(waiting.number, waiting.documents + documents, waiting.size + size)
    elif documents:
        yield Block(number, documents, size)
    else:
        raise DataError(f"{files[0]}: holds no sentence; expected one on each line")


def _documents(files: Sequence[Path], longest: int) -> Iterator[tuple[Document, int]]:
    """Yield each document, and the bytes read for it; cut those that are too long to be held."""
    sentences: Document = []
    size = 0
    for file in files:
        cut = 0
        for line, read in _lines(file):
            size += read
            if line:
                sentences.append(line)
            if sentences and (not line or size > longest):
                cut += bool(line)
                yield sentences, size
                sentences, size = [], 0
        if sentences:
            yield sentences, size
            sentences, size = [], 0
        if cut:
            logger.warning(
                "%s: documents of more than %s bytes were cut %s times; if they are several "
                "documents, put an empty line between them",
                *(file, f"{longest:,}", cut),
            )


def _lines(file: Path) -> Iterator[tuple[str, int]]:
    """Yield each line without the space around it, and how many bytes it has."""
    try:
        with file.open("rb") as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise DataError(
                        f"{file}:{number}: has more than {LONGEST_LINE:,} bytes; "
                        "put a sentence on each line"
                    )
                text = line.decode("utf-8")
                yield (text.removeprefix("\ufeff") if number == 1 else text).strip(), len(line)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}:{number}: is not UTF-8 ({error.reason} at byte {error.start + 1}); "
            "convert the file"
        ) from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
