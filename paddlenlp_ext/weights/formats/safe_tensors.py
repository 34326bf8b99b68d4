"""Read and write .safetensors files.

On reading, the safetensors library checks the whole header (offsets, sizes, no holes). The numbers
are then viewed in the mapped file rather than copied, bfloat16, which NumPy lacks, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from paddlenlp_ext.errors import WeightsError, shown
from paddlenlp_ext.files.disk import map_file, parse_json, release_pages, replace_file
from paddlenlp_ext.weights.formats.pdparams import view_array, widen_bfloat16
from paddlenlp_ext.weights.formats.pickles import is_name

Array = NDArray[Any]
Shape = tuple[int, ...]

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_CODES = {np.dtype(code): name for name, code in _TYPES.items() if name != "BF16"}
# Of no weight; so viewed, they do no harm where a model does not need them.
_OTHER_TYPES = {
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "C64": "<c8",
}
_BLOCK = 4096  # rows
MAX_HEADER = 16 << 20  # bytes; that of 20,000 tensors takes some 3 MB


def read_safetensors(path: Path) -> dict[str, Array]:
    """Read all tensors of a file.

    Returns:
        Names to arrays, read-only views of the file; bfloat16 becomes float32.

    Raises:
        WeightsError: The file is damaged, or has numbers of a type that no weight has.
    """
    header, data = _open(path)
    header.pop("__metadata__", None)
    tensors: dict[str, Array] = {}
    for name, entry in header.items():
        if not is_name(name):
            raise WeightsError(f"{path}: {shown(name)} is no name of a tensor")
        code = _TYPES.get(entry["dtype"]) or _OTHER_TYPES.get(entry["dtype"])
        if code is None:
            raise WeightsError(
                f"{path}: {shown(name)} is of type {entry['dtype']}, expected one of "
                f"{', '.join(_TYPES)}"
            )
        begin, end = entry["data_offsets"]
        dtype = np.dtype(code)
        try:
            array = view_array(data[begin:end], dtype, tuple(entry["shape"]), False)
        except ValueError as error:  # more axes than arrays have, or sizes that overflow
            raise WeightsError(f"{path}: {shown(name)}: {error}; take another file") from error
        tensors[name] = widen_bfloat16(array) if entry["dtype"] == "BF16" else array
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return the notes in a file's header; `format` says who wrote it (pt, np, pd).

    Raises:
        WeightsError: The file is damaged.
    """
    header, _ = _open(path)
    return header.get("__metadata__") or {}


@dataclass(frozen=True)
class SparseRows:
    """A table of zeros but for some rows; whole, it exists in no memory, only in files.

    Attributes:
        length: Rows of the table, `V`.
        numbers: Those that are given, ascending; int64 [U].
        rows: What they hold; [U, E].
    """

    length: int
    numbers: NDArray[np.int64]
    rows: Array

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element."""
        return self.rows.dtype

    @property
    def shape(self) -> Shape:
        """Shape of the whole table, [V, E]."""
        return self.length, *self.rows.shape[1:]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole table."""
        return math.prod(self.shape) * self.dtype.itemsize

    def blocks(self) -> Iterator[Array]:
        """Make the table, some rows at a time."""
        bounds = range(0, self.length, _BLOCK)
        cuts = np.searchsorted(self.numbers, [*bounds[1:], self.length])
        begin = 0
        for start, end in zip(bounds, cuts, strict=True):
            count = min(_BLOCK, self.length - start)
            block = np.zeros((count, *self.rows.shape[1:]), self.dtype)
            block[self.numbers[begin:end] - start] = self.rows[begin:end]
            yield block
            begin = end


def write_safetensors(
    path: Path,
    tensors: Mapping[str, Array | SparseRows],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors as one file, whole or not at all.

    Not by the library, which wants all of every tensor in memory.

    Raises:
        WeightsError: The file cannot be written, or a tensor is of a type that the format lacks.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    # In the library's order: wide types first, so that every tensor lies on a multiple of its type.
    ordered = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    end = 0
    for name in ordered:
        array = tensors[name]
        if array.dtype.newbyteorder("<") not in _CODES:
            raise WeightsError(
                f"{path}: {shown(name)} is of type {array.dtype}, which the format lacks"
            )
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _CODES[array.dtype.newbyteorder("<")],
            "shape": array.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with replace_file(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in ordered:
            array = tensors[name]
            for block in array.blocks() if isinstance(array, SparseRows) else [array]:
                little = np.asarray(block, block.dtype.newbyteorder("<"), order="C")
                file.write(little.reshape(-1).view(np.uint8).data)
                release_pages(block)


def _open(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Return the checked header, and the bytes that its offsets count in."""
    data = map_file(path)
    length = int.from_bytes(data[:8], "little")
    if MAX_HEADER < length <= len(data) - 8:
        raise WeightsError(
            f"{path}: has a header of {length:,} bytes, expected at most {MAX_HEADER:,}; no model "
            "has so many tensors, so it is not used"
        )
    # Looked at before the library, which has no limits.
    header = parse_json(bytes(data[8 : 8 + length]), path) if 8 + length <= len(data) else {}
    try:
        with safe_open(path, framework="numpy"):  # parses the header and checks it
            pass
    except SafetensorError as error:
        raise _damaged(path, error) from error
    return header, data[8 + length :]


def _damaged(path: Path, error: SafetensorError) -> WeightsError:
    return WeightsError(
        f"{path}: is no whole safetensors file ({error}); copy or download it again"
    )
