"""Paddle's own files: pickles of a dictionary of NumPy arrays (.pdparams, .pdopt).

Read through `pickles.Unpickler`, written without pickle and without Paddle.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from paddlenlp_ext.errors import WeightsError, shown
from paddlenlp_ext.files.disk import map_file, release_pages, replace_file
from paddlenlp_ext.weights.formats.pickles import MAX_NAME, Unbuilt, Unpickler, is_name

Array = NDArray[Any]

# Paddle notes here which parameter of a program a tensor was, and makes tensors of what is listed.
NAME_TABLE = "StructuredToParameterName@@"
MAX_AXES = 32  # NumPy's limit before version 2; Paddle has 9
_TYPES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))


def read_pickle(path: Path) -> Any:
    """Read a file that `paddle.save` wrote: containers, numbers, text and arrays.

    Arrays are read-only views of the file. Tensors in nested containers, and those of older
    versions of Paddle, come as (name, array), as `paddle.load(return_numpy=True)` has them.

    Raises:
        WeightsError: The file is damaged, or holds more than that; nothing of it is executed.
    """
    data = map_file(path)
    return Unpickler(data, str(path), ALLOWED).load_all()


def read_pdparams(path: Path) -> dict[str, Array]:
    """Read the weights of a model.

    Paddle keeps bfloat16 as uint16, which no weight is otherwise; such arrays become float32.

    Returns:
        Names to arrays, read-only views of the file where the type allows.

    Raises:
        WeightsError: The file is damaged, or holds more than a dictionary of tensors.
    """
    found = read_pickle(path)
    if type(found) is not dict:
        raise WeightsError(f"{path}: holds a {type(found).__name__}, expected names and tensors")
    found.pop(NAME_TABLE, None)
    # Before Paddle 2.1 a parameter was kept as (name in the program, array).
    found = {
        name: value[1] if type(value) is tuple and len(value) == 2 else value
        for name, value in found.items()
    }
    tensors: dict[str, Array] = tensors_among(found, np.ndarray, path)
    halves = {name: array for name, array in tensors.items() if array.dtype == np.uint16}
    if sum(array.nbytes for array in halves.values()) > path.stat().st_size:
        raise WeightsError(f"{path}: repeats its tensors more often than it is long; not used")
    return tensors | {name: widen_bfloat16(array) for name, array in halves.items()}


def write_pdparams(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write weights as `paddle.save` does (protocol 4), one tensor at a time.

    NumPy is named by its older module, which `paddle.load` finds under NumPy 1 and 2.

    Raises:
        WeightsError: The file cannot be written, or a tensor is of a type that Paddle lacks.
    """
    for name, array in tensors.items():
        if _type_code(array.dtype) not in _TYPES:
            raise WeightsError(
                f"{path}: {shown(name)} is of type {array.dtype}, which no weight has"
            )
    with replace_file(path) as temporary, temporary.open("wb") as file:
        file.write(b"\x80\x04}(")  # protocol 4, empty dictionary, mark
        for name, array in tensors.items():
            file.write(_text(name))
            _write_array(file, array)
            release_pages(array)
        file.write(_text(NAME_TABLE) + b"}(")
        for name in tensors:
            file.write(_text(name) * 2)
        file.write(b"uu.")


def tensors_among(state: Mapping[Any, object], kind: type, path: Path) -> dict[str, Any]:
    """Leave out what a file holds besides tensors: texts, types, lists of numbers.

    A number becomes an array without axes; what else there is no model needs.

    Args:
        state: What the file holds.
        kind: Type of a tensor in it.
        path: The file.

    Raises:
        WeightsError: It holds tensors within another entry, or none at all.
    """
    found: dict[str, Any] = {}
    for name, value in state.items():
        if not is_name(name):
            raise WeightsError(
                f"{path}: {shown(name)} is no tensor: names are texts of at most {MAX_NAME} "
                "characters"
            )
        if isinstance(value, dict) and isinstance(next(iter(value.values()), None), kind):
            raise WeightsError(
                f"{path}: {shown(name)} is no tensor, but has names and tensors of its own; save "
                "what it holds as a file"
            )
        is_number = isinstance(value, float | np.generic) or (
            isinstance(value, int) and abs(value) < 2**63
        )
        if isinstance(value, kind | np.ndarray) or is_number:
            found[name] = np.asarray(value) if is_number else value
    if state and not any(isinstance(value, kind) for value in state.values()):
        raise WeightsError(f"{path}: {shown(next(iter(state)))} is no tensor, and no other is")
    return found


def widen_bfloat16(bits: Array) -> Array:
    """Return bfloat16 numbers, given as uint16, as float32: they are its upper half."""
    return np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)


def view_array(raw: memoryview, dtype: np.dtype[Any], shape: object, fortran: bool) -> Array:
    """Lay an array over bytes of a file; none is made that the bytes do not fill exactly.

    Args:
        raw: The bytes.
        dtype: Type of an element.
        shape: What the file says; checked here.
        fortran: Whether the first axis runs fastest.

    Raises:
        ValueError: The shape is none of these bytes.
    """
    if type(shape) is not tuple or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise ValueError("shape is not of whole numbers")
    if len(shape) > MAX_AXES:  # looked at before the product, which could take hours
        raise ValueError(f"shape has {len(shape)} axes, expected at most {MAX_AXES}")
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"shape {shape} of {dtype} does not fit {len(raw)} bytes")
    array: Array = np.ndarray(shape, dtype, buffer=raw, order="F" if fortran else "C")
    return array


class _UnbuiltType(Unbuilt):
    def __init__(self, code: str) -> None:
        self.code = code

    def build(self, state: object) -> np.dtype[Any]:
        # (version, byte order, then what only structured types have)
        if type(state) is not tuple or state[1] not in ("<", "|"):
            raise ValueError("type is not little-endian")
        if state[2:5] != (None, None, None):
            raise ValueError("type is structured")
        return np.dtype(f"<{self.code}")


class _UnbuiltArray(Unbuilt):
    def build(self, state: object) -> Array:
        if type(state) is not tuple:
            raise TypeError("array without a state")
        _, shape, dtype, order, raw = state
        if not isinstance(dtype, np.dtype):
            raise TypeError("array without a type")
        if type(raw) is str:  # bytes of Python 2
            raw = memoryview(raw.encode("latin-1"))
        if type(raw) is not memoryview:
            raise TypeError("array without bytes")
        return view_array(raw, dtype, shape, bool(order))


# What stands behind the globals of a file. Each checks its arguments and makes nothing large.


def _reconstruct(kind: object, shape: object, code: object) -> Unbuilt:
    if kind is not _ndarray or shape != (0,):
        raise ValueError("array of another class")
    return _UnbuiltArray()


def _ndarray() -> Unbuilt:
    raise ValueError("array without a shape")


def _dtype(code: object, align: object = False, copy: object = False) -> Unbuilt:
    if type(code) is not str or code not in _TYPES:
        # Only text is shown: a tuple of tuples may be endless when it is written out.
        shown = repr(code[:20]) if type(code) is str else type(code).__name__
        raise ValueError(f"type {shown} is none of a tensor")
    return _UnbuiltType(code)


def _scalar(dtype: object, raw: object) -> object:
    if not isinstance(dtype, np.dtype):
        raise TypeError("number without a type")
    if type(raw) is str:
        raw = memoryview(raw.encode("latin-1"))
    if type(raw) is not memoryview:
        raise TypeError("number without bytes")
    return view_array(raw, dtype, (), False)[()]


def _tuple(items: object) -> object:
    if type(items) is not tuple:
        raise TypeError("tensor without a name")
    return items


def _encode(text: object, encoding: object) -> memoryview:
    # Python 3 writes bytes so in protocol 2.
    if type(text) is not str or encoding != "latin1":
        raise ValueError("bytes in another encoding")
    return memoryview(text.encode("latin-1"))


def _no_bytes() -> memoryview:
    return memoryview(b"")


def ordered_dict() -> dict[object, object]:
    """Stand in for OrderedDict, which a dictionary is."""
    return {}


ALLOWED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): ordered_dict,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "tuple"): _tuple,
    ("__builtin__", "tuple"): _tuple,
}


def _type_code(dtype: np.dtype[Any]) -> str:
    return f"{dtype.kind}{dtype.itemsize}"


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(raw)) + raw


def _write_array(file: BinaryIO, array: Array) -> None:
    """Write what `ndarray.__reduce__` says, without keeping a copy of every array."""
    code = _type_code(array.dtype)
    order = b"|" if array.dtype.itemsize == 1 else b"<"
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    file.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R")
    file.write(b"(K\x01(")
    for length in array.shape:
        file.write(b"\x8a\x08" + struct.pack("<q", length))
    file.write(b"tcnumpy\ndtype\n" + _text(code) + b"\x89\x88\x87R")  # align False, copy True
    # The state of a plain type: version 3, byte order, no fields, sizes unset, no flags.
    unset = b"J\xff\xff\xff\xff"
    file.write(b"(K\x03" + _text(order.decode()) + b"NNN" + unset * 2 + b"K\x00tb")
    file.write(b"\x89\x8e" + struct.pack("<Q", array.nbytes))  # not Fortran's order; the bytes
    file.write(little.reshape(-1).view(np.uint8).data)
    file.write(b"tb")
