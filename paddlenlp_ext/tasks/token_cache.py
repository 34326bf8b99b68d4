"""Keep the ids of tokenized texts on disk, found again by what they were made of.

A file is named by the SHA-256 of the texts, of everything that the tokenizer saves, of the length
that texts are cut to, and of the versions of this package and of the libraries below it. So nothing
can be out of date: other texts are another file. Ids are read as views of the
mapped file, which the system may drop from memory and read again.

The files are in `tokenized/` of the cache folder ($PADDLENLP_EXT_HOME, by default
~/.cache/paddlenlp_ext), which may be deleted at any time.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.download import cache_folder
from paddlenlp_ext.tasks.task import TextExample
from paddlenlp_ext.weights.formats.safe_tensors import (
    read_metadata,
    read_safetensors,
    write_safetensors,
)

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.base import Tokenizer

logger = logging.getLogger(__name__)

FORMAT = "1"  # of the files; another one makes all of them again
MIN_ROWS = 5_000  # fewer are tokenized in less than half a second
UNUSED_DAYS = 30  # after which a file goes when another one is written
MAX_BYTES = 8 << 30  # of all files; beyond it those go that were not used for the longest time
CHUNK = 1_000  # examples that are digested together

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Ids of N texts or pairs.

    Attributes:
        input_ids: One array an example; int32 [L].
        token_type_ids: The same of segments; None for a model without.
    """

    input_ids: list[Ids]
    token_type_ids: list[Ids] | None


@dataclass(frozen=True, slots=True)
class TokenCache:
    """Files of ids in a folder.

    Attributes:
        folder: Made when there is something to keep.
        min_rows: Fewer examples are neither kept nor looked for.
    """

    folder: Path
    min_rows: int = MIN_ROWS

    @classmethod
    def default(cls) -> "TokenCache":
        """The cache in the folder where downloads are kept, too."""
        return cls(cache_folder() / "tokenized")

    def rows(
        self,
        examples: Sequence[TextExample],
        tokenizer: "Tokenizer",
        max_length: int,
        tokenize: Callable[[], TokenRows],
    ) -> TokenRows:
        """Read the ids of examples, or make and keep them.

        Nothing that is wrong with the cache stops a run: what cannot be read is made again, and
        what cannot be written is not kept, with a line that says so.

        Args:
            examples: The texts.
            tokenizer: What makes ids of them.
            max_length: Most tokens of an example.
            tokenize: Makes the ids.
        """
        if len(examples) < self.min_rows:
            return tokenize()
        path = self.folder / f"{_digest_of_work(examples, tokenizer, max_length)}.safetensors"
        found = self._read(path, len(examples))
        if found is not None:
            return found
        rows = tokenize()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, rows)
            self._prune(path)
        except (OSError, UserError) as error:
            logger.warning("%s; the run goes on, and a later one tokenizes again", error)
        return rows

    def _read(self, path: Path, count: int) -> TokenRows | None:
        if not path.is_file():
            return None
        try:
            tensors = read_safetensors(path)
            is_whole = read_metadata(path).get("sha256") == _digest_of_arrays(tensors)
            lengths = tensors["lengths"]
            ends = np.cumsum(lengths, dtype=np.int64)
            columns = {name: tensors[name] for name in tensors if name != "lengths"}
            if not is_whole or len(lengths) != count:
                raise ValueError
            split = {name: _split(array, ends) for name, array in columns.items()}
            rows = TokenRows(split["input_ids"], split.get("token_type_ids"))
        except (OSError, UserError, ValueError, KeyError):
            logger.warning("%s: is damaged; the texts are tokenized again", path)
            return None
        with suppress(OSError):
            os.utime(path)  # used now
        return rows

    def _prune(self, newest: Path) -> None:
        """Delete what was not used for long, and what is too much."""
        files = [(path, path.stat()) for path in self.folder.glob("*.safetensors")]
        files.sort(key=lambda item: (item[0] != newest, -item[1].st_mtime))
        kept = 0
        for path, stat in files:
            kept += stat.st_size
            is_old = stat.st_mtime < time.time() - UNUSED_DAYS * 86_400
            if path != newest and (is_old or kept > MAX_BYTES):
                path.unlink(missing_ok=True)


def _write(path: Path, rows: TokenRows) -> None:
    arrays = {
        "input_ids": np.concatenate(rows.input_ids),
        "lengths": np.array([len(ids) for ids in rows.input_ids], np.int32),
    }
    if rows.token_type_ids is not None:
        arrays["token_type_ids"] = np.concatenate(rows.token_type_ids)
    write_safetensors(path, arrays, {"sha256": _digest_of_arrays(arrays)})


def _split(array: Ids, ends: npt.NDArray[np.int64]) -> list[Ids]:
    if array.ndim != 1 or len(array) != ends[-1]:
        raise ValueError
    begins = [0, *ends[:-1].tolist()]
    return [array[begin:end] for begin, end in zip(begins, ends.tolist(), strict=True)]


def _digest_of_arrays(arrays: "dict[str, npt.NDArray[np.int32]]") -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _digest_of_work(
    examples: Sequence[TextExample], tokenizer: "Tokenizer", max_length: int
) -> str:
    """Digest all that the ids depend on."""
    digest = hashlib.sha256()
    for part in _parts_of_work(examples, tokenizer, max_length):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts_of_work(
    examples: Sequence[TextExample], tokenizer: "Tokenizer", max_length: int
) -> Iterator[bytes]:
    libraries = [f"{name} {version(name)}" for name in ("tokenizers", "sentencepiece")]
    family = f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}"
    yield repr([FORMAT, __version__, *libraries, family, max_length]).encode()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(tokenizer.save_pretrained(folder)):
            yield path.name.encode()
            yield path.read_bytes()
    for start in range(0, len(examples), CHUNK):
        texts = [(one.text_a, one.text_b) for one in examples[start : start + CHUNK]]
        yield json.dumps(texts).encode()
