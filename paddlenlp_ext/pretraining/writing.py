"""Write shards: rows are dealt out to the files in turn, and each file appears when it is whole."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.files.disk import temporary_name, unwritten
from paddlenlp_ext.pretraining.hdf5 import Array, Columns, Layout
from paddlenlp_ext.process.signals import defer_signals

CHUNK_ROWS = 256  # that are compressed, and so read, together


class ShardWriter:
    """Writes the rows that it is given to several files; a context manager.

    Row `n` goes to file `n` modulo the number of files, so every file is a sample of the corpus.
    The files are written under temporary names and renamed at the end; after an error there are
    none.

    Args:
        paths: The files; their folder is made if it is not there.
        layout: Their columns.
        widths: Of each named axis.
        attributes: What the files say of themselves.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        layout: Layout,
        widths: Mapping[str, int],
        attributes: Mapping[str, Any],
    ):
        self.layout = layout
        self.rows = 0
        self._paths = {path: temporary_name(path) for path in paths}
        # What does not fill a chunk waits, so that no chunk is compressed twice.
        self._waiting: list[list[Columns]] = [[] for _ in paths]
        try:
            for path in self._paths:
                with _writing(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                self._begin(path, widths, attributes)
        except BaseException:
            self._remove()
            raise

    @defer_signals()
    def _begin(self, path: Path, widths: Mapping[str, int], attributes: Mapping[str, Any]) -> None:
        with self._opened(path, "w") as file:
            file.attrs.update(attributes)
            for name, (dtype, axis) in self.layout.items():
                tail = () if axis is None else (widths[axis],)
                file.create_dataset(
                    name,
                    shape=(0, *tail),
                    maxshape=(None, *tail),
                    chunks=(CHUNK_ROWS, *tail),
                    dtype=dtype,
                    compression="gzip",
                )

    @defer_signals()
    def write(self, columns: Columns) -> None:
        """Add rows.

        Raises:
            DataError: The disk is full, or a file cannot be written.
        """
        count, files = len(next(iter(columns.values()))), len(self._paths)
        for number, path in enumerate(self._paths):
            mine = slice((number - self.rows) % files, None, files)
            self._waiting[number].append({name: values[mine] for name, values in columns.items()})
            self._flush(number, path, CHUNK_ROWS)
        self.rows += count

    def _flush(self, number: int, path: Path, least: int) -> None:
        """Write the waiting rows of a file that fill blocks of `least` rows."""
        waiting = {name: _joined(self._waiting[number], name) for name in self.layout}
        count = len(next(iter(waiting.values()))) // least * least
        if count:
            with self._opened(path, "r+") as file:
                for name, values in waiting.items():
                    data = file[name]
                    data.resize(len(data) + count, axis=0)
                    data[-count:] = values[:count]
        # Copies: views would keep all that was ever given.
        self._waiting[number] = [{name: values[count:].copy() for name, values in waiting.items()}]

    def __enter__(self) -> "ShardWriter":
        """Return itself; the files are begun already."""
        return self

    @defer_signals()
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the files, or remove them after an error."""
        try:
            if error is None:
                for number, path in enumerate(self._paths):
                    self._flush(number, path, 1)
                for path, temporary in self._paths.items():
                    with _writing(path):
                        os.replace(temporary, path)
        finally:
            self._remove()

    def _remove(self) -> None:
        for temporary in self._paths.values():
            with suppress(OSError):
                temporary.unlink()

    @contextmanager
    def _opened(self, path: Path, mode: str) -> Iterator[h5py.File]:
        raw_mode = "x+" if mode == "w" else mode
        with _writing(path), _CarefulFile(self._paths[path], raw_mode) as raw:
            with h5py.File(raw, mode) as file:
                yield file
            raw.end()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{unwritten(error, path)}; make room, or write elsewhere") from error


class _CarefulFile(io.FileIO):
    """A file whose writes never seem to fail; `end` raises what went wrong.

    The HDF5 library cannot close a file that it could not write to, and crashes at exit.
    """

    def __init__(self, path: Path, mode: str):
        super().__init__(path, mode)
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, unless an earlier write failed."""
        view = memoryview(data).cast("B")
        written = 0
        try:
            while written < len(view) and self._error is None:
                written += super().write(view[written:])
        except OSError as error:
            self._error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file off, or make it longer, unless an earlier write failed."""
        try:
            if self._error is None:
                super().truncate(size)
        except OSError as error:
            self._error = error
        return size or 0

    def end(self) -> None:
        """Bring what was written to the disk.

        Raises:
            OSError: Something could not be written.
        """
        if self._error is not None:
            raise self._error
        os.fsync(self.fileno())


def _joined(parts: Sequence[Columns], name: str) -> Array:
    return np.concatenate([part[name] for part in parts])
