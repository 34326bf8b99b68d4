"""Read a corpus: a sentence on each line, an empty line between documents, one file or many.

The corpus is read once, from front to back, in blocks of whole documents. A block is all that is in
memory, and all that a document's random next sentences are drawn from.
"""

import gzip
import logging
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from paddlenlp_ext.errors import DataError

logger = logging.getLogger(__name__)

LONGEST_LINE = 1_000_000  # bytes
READ = 1 << 16  # bytes at a time
LINE = re.compile(rb"([^\r\n]*)(\r+\n?|\n)")
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
        for line, read in read_lines(file):
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


def read_lines(file: Path) -> Iterator[tuple[str, int]]:
    """Yield each line without the space around it, and how many bytes it has.

    Raises:
        DataError: As `numbered_lines`.
    """
    return ((line.strip(), size) for _, line, size in numbered_lines(file))


def numbered_lines(file: Path) -> Iterator[tuple[int, str, int]]:
    """Yield the number of each line, from 1, the line without its end, and how many bytes it has.

    A file whose name ends with ".gz" is unpacked as it is read.

    Raises:
        DataError: A line is not UTF-8 or too long, or the file cannot be read.
    """
    try:
        number = 1
        open_bytes = gzip.open if file.suffix == ".gz" else open
        with cast("IO[bytes]", open_bytes(file, "rb")) as stream:
            for line, ends, size in _byte_lines(stream):
                if size > LONGEST_LINE:
                    raise DataError(
                        f"{file}:{number}: has more than {LONGEST_LINE:,} bytes; "
                        "put a sentence on each line"
                    )
                text = line.decode("utf-8")
                yield number, text.removeprefix("\ufeff") if number == 1 else text, size
                if ends > 1:
                    yield number + 1, "", 0
                number += ends
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}:{number}: is not UTF-8 ({error.reason} at byte {error.start + 1}); "
            "convert the file"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{file}:{number}: is not a whole gzip file ({error}); copy it again"
        ) from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error


def _byte_lines(stream: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield each line, how many line ends follow it, and the bytes of both.

    Lines end with LF, CR LF or, as in exports of old programs, CR. CRs before an LF are part of it,
    however many a program has added.
    """
    rest = b""
    while len(rest) <= LONGEST_LINE and (read := stream.read(READ)):
        rest += read
        whole = rest.rstrip(b"\r")  # an LF may follow
        end = max(whole.rfind(b"\n"), whole.rfind(b"\r")) + 1
        for line in LINE.finditer(rest, 0, end):
            yield line[1], 1 if line[2].endswith(b"\n") else len(line[2]), len(line[0])
        rest = rest[end:]
    if rest:
        text = rest.rstrip(b"\r")
        yield text, len(rest) - len(text), len(rest)
