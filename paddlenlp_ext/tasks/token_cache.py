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
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.download import (
    NoHomeError,
    cache_folder,
    is_own_file,
    private_folder,
)
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
MAX_TYPE = 1  # of a token: it is of the first text or of the second

_DIGEST = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")

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
        folder: Made when there is something to keep; None keeps nothing.
        min_rows: Fewer examples are neither kept nor looked for.
    """

    folder: Path | None
    min_rows: int = MIN_ROWS

    @classmethod
    def default(cls) -> "TokenCache":
        """The cache in the folder where downloads are kept, too; without a home folder, none."""
        try:
            return cls(cache_folder() / "tokenized")
        except NoHomeError as error:
            logger.info("%s; ids of texts are not kept", error)
            return cls(None)

    def rows(
        self,
        examples: Sequence[TextExample],
        tokenizer: "Tokenizer",
        max_length: int,
        tokenize: Callable[[], TokenRows],
    ) -> TokenRows:
        """Read the ids of examples, or make and keep them.

        Nothing that is wrong with the cache stops a run: what cannot be read is made again, and
        what cannot be written is not kept, with a line that says so. Nothing is read that another
        user may have put there.

        Args:
            examples: The texts.
            tokenizer: What makes ids of them.
            max_length: Most tokens of an example.
            tokenize: Makes the ids.
        """
        if self.folder is None or len(examples) < self.min_rows:
            return tokenize()
        path = self.folder
        try:
            path /= f"{_digest_of_work(examples, tokenizer, max_length)}.safetensors"
            private_folder(self.folder)
            if os.path.lexists(path):
                return _read(path, len(examples), len(tokenizer), max_length)
        except ValueError:
            logger.warning("%s: is damaged; the texts are tokenized again", path)
        except (OSError, UserError) as error:
            logger.warning("%s; the run goes on, and a later one tokenizes again", error)
            return tokenize()
        rows = tokenize()
        try:
            _write(path, rows)
            self._prune(path)
        except (OSError, UserError) as error:
            logger.warning("%s; the run goes on, and a later one tokenizes again", error)
        return rows

    def _prune(self, newest: Path) -> None:
        """Delete what was not used for long, and what is too much."""
        found = newest.parent.glob("*.safetensors")
        files = [(path, path.lstat()) for path in found if _NAME.fullmatch(path.name)]
        files.sort(key=lambda item: (item[0] != newest, -item[1].st_mtime))
        kept = 0
        for path, stat in files:
            kept += stat.st_size
            is_old = stat.st_mtime < time.time() - UNUSED_DAYS * 86_400
            if path != newest and (is_old or kept > MAX_BYTES) and _is_ours(path):
                path.unlink(missing_ok=True)


def _read(path: Path, count: int, vocab_size: int, max_length: int) -> TokenRows:
    """Read a file of ids.

    Raises:
        ValueError: It is damaged, another user's, or not what a tokenizer makes.
    """
    try:
        if not is_own_file(path):
            raise ValueError("another user's, or a link")
        tensors = read_safetensors(path)
        if read_metadata(path).get("sha256") != _digest_of_arrays(tensors):
            raise ValueError("changed")
        lengths = tensors.pop("lengths")
        _check(lengths, count, 1, max_length)
        ends = np.cumsum(lengths, dtype=np.int64)
        for name, most in (("input_ids", vocab_size - 1), ("token_type_ids", MAX_TYPE)):
            if name in tensors:
                _check(tensors[name], int(ends[-1]), 0, most)
        split = {name: _split(array, ends) for name, array in tensors.items()}
        rows = TokenRows(split["input_ids"], split.get("token_type_ids"))
    except (OSError, UserError, KeyError) as error:
        raise ValueError(str(error)) from error
    with suppress(OSError):
        os.utime(path)  # used now
    return rows


def _check(array: npt.NDArray[Any], count: int, least: int, most: int) -> None:
    """Raise ValueError unless an array has so many numbers, all in a range."""
    if array.dtype != np.int32 or array.shape != (count,):
        raise ValueError("of another type or shape")
    if array.min(initial=least) < least or array.max(initial=most) > most:
        raise ValueError("out of range")


def _is_ours(path: Path) -> bool:
    """Return whether a file of this name was written here, by what it says of itself."""
    try:
        return is_own_file(path) and _DIGEST.fullmatch(read_metadata(path)["sha256"]) is not None
    except (OSError, UserError, KeyError):
        return False


def _write(path: Path, rows: TokenRows) -> None:
    arrays = {
        "input_ids": np.concatenate(rows.input_ids),
        "lengths": np.array([len(ids) for ids in rows.input_ids], np.int32),
    }
    if rows.token_type_ids is not None:
        arrays["token_type_ids"] = np.concatenate(rows.token_type_ids)
    write_safetensors(path, arrays, {"sha256": _digest_of_arrays(arrays)})


def _split(array: Ids, ends: npt.NDArray[np.int64]) -> list[Ids]:
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
