"""Read PyTorch's files (.bin, .pt) without PyTorch: the zip format, and the one before 1.6.

Both hold a pickle of tensors that point into storages by persistent ids. Only the description of
tensors is built from the pickle; the arrays are then laid over the bytes in the file.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from paddlenlp_ext.errors import WeightsError, shown
from paddlenlp_ext.files.disk import map_file, release_pages
from paddlenlp_ext.weights.formats.pdparams import (
    ALLOWED,
    MAX_AXES,
    tensors_among,
    view_array,
    widen_bfloat16,
)
from paddlenlp_ext.weights.formats.pickles import Unpickler

Array = NDArray[Any]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# Of the list at the end of a zip file; 20,000 tensors take some 2 MB. ZipFile holds ten times that.
_MAX_DIRECTORY = 4_000_000  # bytes
_IS_UTF8 = 0x800  # flag of an entry of a zip file, of its name
_BLOCK = 16 << 20  # bytes whose checksum is computed at once


@dataclass(frozen=True)
class _Type:
    """Type of a storage's elements."""

    code: str
    bfloat16: bool = False


class _Storage(NamedTuple):
    key: str
    type: _Type
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path) -> dict[str, Array]:
    """Read a state dict.

    Returns:
        Names to arrays, read-only views of the file; bfloat16 becomes float32.

    Raises:
        WeightsError: The file is damaged, or holds more than names and tensors; nothing of it is
            executed.
    """
    data = map_file(path)
    start = bytes(data[:4])
    if start == b"PK\x03\x04":
        state, storages = _read_zip(path, data)
    elif start[:2] == b"\x80\x02":
        state, storages = _read_legacy(path, data)
    else:
        raise WeightsError(f"{path}: is no file of torch.save; copy or download it again")
    if type(state) is not dict:
        raise WeightsError(f"{path}: holds a {type(state).__name__}, expected names and tensors")
    arrays: dict[str, Array] = {}
    tensors: dict[str, Array] = {}
    for name, tensor in tensors_among(state, _Tensor, path).items():
        if not isinstance(tensor, _Tensor):
            tensors[name] = tensor
            continue
        storage = tensor.storage
        if storage.key not in arrays:
            arrays[storage.key] = _array(storages(storage), storage)
        try:
            tensors[name] = _view(arrays[storage.key], tensor)
        except (ValueError, OverflowError) as error:
            raise WeightsError(f"{path}: {shown(name)} {error}; download the file again") from error
    return tensors


def _array(raw: memoryview, storage: _Storage) -> Array:
    array = view_array(raw, np.dtype(storage.type.code), (storage.length,), False)
    return widen_bfloat16(array) if storage.type.bfloat16 else array


def _view(array: Array, tensor: _Tensor) -> Array:
    """Lay a tensor over its storage.

    Numbers may come again and again, as `expand` has them: it costs nothing to lay them so.

    Raises:
        ValueError: It reaches beyond the storage.
    """
    _, offset, shape, strides = tensor
    reach = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1
    if all(shape) and reach > array.size:
        raise ValueError(f"of shape {list(shape)} does not fit its {array.size} numbers")
    steps = tuple(step * array.itemsize for step in strides)
    view: Array = np.ndarray(shape, array.dtype, array, offset * array.itemsize, steps)
    return view


# The zip format


def _read_zip(path: Path, data: memoryview) -> tuple[Any, Callable[[_Storage], memoryview]]:
    entries = _zip_entries(path, data)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(f"{path}: has {len(pickles)} entries data.pkl, expected 1")
    folder = pickles[0].removesuffix("data.pkl")
    if bytes(entries.get(folder + "byteorder", b"little")) != b"little":
        raise WeightsError(f"{path}: was written on a big-endian machine; save it again")
    unpickler = Unpickler(entries[pickles[0]], str(path), _ALLOWED, _Storages())

    def storages(storage: _Storage) -> memoryview:
        raw = entries.get(f"{folder}data/{storage.key}")
        length = storage.length * np.dtype(storage.type.code).itemsize
        if raw is None or len(raw) != length:
            raise WeightsError(
                f"{path}: storage {shown(storage.key)} has {len(raw or b'')} bytes, expected "
                f"{length}; copy or download the file again"
            )
        return raw

    return unpickler.load_all(), storages


def _zip_entries(path: Path, data: memoryview) -> dict[str, memoryview]:
    """Return the entries where they lie in the file; PyTorch stores them uncompressed."""
    entries: dict[str, memoryview] = {}
    if _directory_size(path, data) > _MAX_DIRECTORY:
        raise WeightsError(f"{path}: lists more entries than any model has; not used")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ArithmeticError, ValueError, OSError) as error:
        raise WeightsError(
            f"{path}: is no whole file of torch.save ({error}); copy or download it again"
        ) from error
    for info in infos:
        at = info.header_offset
        head = bytes(data[at : at + 30])
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or len(head) < 30:
            raise WeightsError(
                f"{path}: entry {shown(info.filename)} is not as torch.save writes it"
            )
        name, more = (int.from_bytes(head[n : n + 2], "little") for n in (26, 28))
        begin = at + 30 + name + more
        named = info.orig_filename.encode("utf-8" if info.flag_bits & _IS_UTF8 else "cp437")
        is_same = bytes(data[at + 30 : at + 30 + name]) == named
        whole = head[:4] == b"PK\x03\x04" and is_same and begin + info.file_size <= len(data)
        if not whole or info.filename in entries:
            raise WeightsError(f"{path}: entry {shown(info.filename)} is damaged or there twice")
        entries[info.filename] = data[begin : begin + info.file_size]
    if sum(map(len, entries.values())) > len(data):
        raise WeightsError(f"{path}: its entries share their bytes, so it is damaged; not used")
    for info in infos:
        # PyTorch can be told not to compute it (`set_crc32_options`), and then writes 0.
        if info.CRC and _crc(entries[info.filename]) != info.CRC:
            raise WeightsError(
                f"{path}: entry {shown(info.filename)} is damaged, its CRC is another one; copy or "
                "download the file again"
            )
    return entries


def _crc(raw: memoryview) -> int:
    """Compute the checksum of an entry, and free what was read of the file."""
    crc = 0
    for begin in range(0, len(raw), _BLOCK):
        crc = zlib.crc32(raw[begin : begin + _BLOCK], crc)
        release_pages(raw)
    return crc


def _directory_size(path: Path, data: memoryview) -> int:
    """Return the bytes of the list of entries, as the end of the file gives them.

    `ZipFile` makes an object of each entry before anyone can look at their number.
    """
    if bytes(data[-22:-18]) != b"PK\x05\x06" or bytes(data[-2:]) != bytes(2):
        raise WeightsError(f"{path}: is no whole file of torch.save; copy or download it again")
    size = int.from_bytes(data[-10:-6], "little")
    if (
        bytes(data[-42:-38]) == b"PK\x06\x07"
    ):  # the end of a large file; versions look here or there
        for at in (len(data) - 98, int.from_bytes(data[-34:-26], "little")):
            if bytes(data[at : at + 4]) == b"PK\x06\x06":
                size = max(size, int.from_bytes(data[at + 40 : at + 48], "little"))
    return size


# The format before PyTorch 1.6: five pickles, then the storages


def _read_legacy(path: Path, data: memoryview) -> tuple[Any, Callable[[_Storage], memoryview]]:
    storages = _Storages()
    seen = storages.seen
    unpickler = Unpickler(data, str(path), _ALLOWED, storages)
    if unpickler.load() != _LEGACY_MAGIC or unpickler.load() != _LEGACY_PROTOCOL:
        raise WeightsError(f"{path}: is no file of torch.save; copy or download it again")
    system = unpickler.load()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise WeightsError(f"{path}: was written on a big-endian machine; save it again")
    state = unpickler.load()
    keys = unpickler.load()
    known = type(keys) is list and all(type(key) is str and key in seen for key in keys)
    if not known or len(keys) != len(seen):
        unpickler.refuse("lists other storages than its tensors have")
    raw: dict[str, memoryview] = {}
    for key in keys:
        length = int.from_bytes(unpickler.take(8), "little", signed=True)
        if length != seen[key].length:
            unpickler.refuse(f"storage {shown(key)} has two lengths")
        raw[key] = unpickler.take(length * np.dtype(seen[key].type.code).itemsize)
    if unpickler.position != len(data):
        unpickler.refuse(f"goes on after its end at byte {unpickler.position}")
    return state, lambda wanted: raw[wanted.key]


# What stands behind the globals of a file


class _Storages:
    """Takes persistent ids for storages, each of one type and length."""

    def __init__(self) -> None:
        self.seen: dict[str, _Storage] = {}

    def __call__(self, identifier: object) -> _Storage:
        found = _storage(identifier)
        if self.seen.setdefault(found.key, found) != found:
            raise ValueError(f"storage {shown(found.key)} has two types or lengths")
        return found


def _storage(identifier: object) -> _Storage:
    if type(identifier) is not tuple or len(identifier) not in (5, 6):
        raise TypeError("reference to no storage")
    word, kind, key, _, length, *view = identifier
    if word != "storage" or type(kind) is not _Type or type(key) is not str:
        raise TypeError("reference to no storage")
    if type(length) is not int or length < 0:
        raise ValueError("storage without a length")
    if view not in ([], [None]):
        raise ValueError("part of a storage, as PyTorch wrote before 0.4; save it again")
    return _Storage(key, kind, length)


def _rebuild_tensor(
    storage: object, offset: object, shape: object, strides: object, *_: object
) -> _Tensor:
    sizes, steps = _whole(shape), _whole(strides)
    if len(sizes) > MAX_AXES or len(steps) != len(sizes):
        raise ValueError(
            f"tensor of {len(sizes)} axes and {len(steps)} strides, expected as many of both and "
            f"at most {MAX_AXES}"
        )
    numbers = (offset, *sizes, *steps)
    is_whole = all(type(n) is int and 0 <= n < 2**63 for n in numbers)
    if type(storage) is not _Storage or not is_whole:
        raise TypeError("tensor of no whole numbers")
    return _Tensor(storage, numbers[0], sizes, steps)


def _whole(numbers: object) -> tuple[Any, ...]:
    if type(numbers) is not tuple:
        raise TypeError("shape is no tuple")
    return numbers


def _rebuild_parameter(tensor: object, *_: object) -> object:
    if type(tensor) is not _Tensor:
        raise TypeError("parameter of no tensor")
    return tensor


def _rebuild_with_attributes(
    function: object, kind: object, arguments: object, *_: object
) -> object:
    """Make a tensor that has attributes, without them."""
    if function is not _rebuild_tensor or kind != _TENSOR or type(arguments) is not tuple:
        raise TypeError("tensor of another class")
    return _rebuild_tensor(*arguments)


def _noted(*_: object) -> None:
    """Stand in for what notes beside tensors hold, with which nothing is done."""


_TENSOR = "torch.Tensor"
# Types that a note can name.
_NAMED = ("float16", "bfloat16", "float32", "float64", "bool", "uint8", "int8", "int32", "int64")

_ALLOWED: dict[tuple[str, str], object] = {
    **ALLOWED,  # numbers and arrays of NumPy
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_with_attributes,
    ("torch", "Tensor"): _TENSOR,
    ("torch", "Size"): _noted,
    ("torch", "device"): _noted,
    **{("torch", name): f"torch.{name}" for name in _NAMED},
    ("torch", "DoubleStorage"): _Type("<f8"),
    ("torch", "FloatStorage"): _Type("<f4"),
    ("torch", "HalfStorage"): _Type("<f2"),
    ("torch", "BFloat16Storage"): _Type("<u2", bfloat16=True),
    ("torch", "LongStorage"): _Type("<i8"),
    ("torch", "IntStorage"): _Type("<i4"),
    ("torch", "ShortStorage"): _Type("<i2"),
    ("torch", "CharStorage"): _Type("|i1"),
    ("torch", "ByteStorage"): _Type("|u1"),
    ("torch", "BoolStorage"): _Type("|b1"),
    ("torch", "ComplexFloatStorage"): _Type("<c8"),
    ("torch", "ComplexDoubleStorage"): _Type("<c16"),
}
