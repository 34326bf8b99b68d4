"""Read and write .safetensors files, through the safetensors library.

The library checks the whole header (offsets, sizes, no holes). The numbers are then viewed in the
mapped file rather than copied, bfloat16, which NumPy lacks, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.disk import map_file, replace_file
from paddlenlp_ext.weights.pdparams import view_array, widen_bfloat16

Array = NDArray[Any]

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


def read_safetensors(path: Path) -> dict[str, Array]:
    """Read all tensors of a file.

    Returns:
        Names to arrays, read-only views of the file; bfloat16 becomes float32.

    Raises:
        WeightsError: The file is damaged, or has numbers of a type that no weight has.
    """
    header, data = _open(path)
    tensors: dict[str, Array] = {}
    for name, entry in header.items():
        if entry["dtype"] not in _TYPES:
            raise WeightsError(
                f"{path}: {name!r} is of type {entry['dtype']}, expected one of {', '.join(_TYPES)}"
            )
        begin, end = entry["data_offsets"]
        dtype = np.dtype(_TYPES[entry["dtype"]])
        array = view_array(data[begin:end], dtype, tuple(entry["shape"]), False)
        tensors[name] = widen_bfloat16(array) if entry["dtype"] == "BF16" else array
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return the notes in a file's header; `format` says who wrote it (pt, np, pd).

    Raises:
        WeightsError: The file is damaged.
    """
    map_file(path)  # says what is wrong with a missing or empty file
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise _damaged(path, error) from error


def write_safetensors(
    path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as one file, whole or not at all.

    Raises:
        WeightsError: The file cannot be written, or a tensor is of a type that the format lacks.
    """
    # The library writes memory as it lies there, so a transposed view would come out wrong.
    dense = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with replace_file(path) as temporary:
        try:
            save_file(dense, temporary, metadata=dict(metadata or {}) or None)
        except SafetensorError as error:
            raise WeightsError(f"{path}: cannot be written: {error}") from error


def _open(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Return the checked entries of the header, and the bytes that their offsets count in."""
    data = map_file(path)
    try:
        with safe_open(path, framework="numpy"):  # parses the header and checks it
            pass
    except SafetensorError as error:
        raise _damaged(path, error) from error
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(bytes(data[8 : 8 + length]))
    header.pop("__metadata__", None)
    return header, data[8 + length :]


def _damaged(path: Path, error: SafetensorError) -> WeightsError:
    return WeightsError(
        f"{path}: is no whole safetensors file ({error}); copy or download it again"
    )
