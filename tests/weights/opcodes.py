"""Write pickles instruction by instruction: those of torch.save, and those that no one should run.

Names of instructions are pickle's own (`pickletools`).
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

STOP = b"."
NONE = b"N"
MEMOIZE = b"\x94"
REDUCE = b"R"
BUILD = b"b"
PERSID = b"Q"
NEWOBJ = b"\x81"


def proto(number: int) -> bytes:
    return b"\x80" + bytes([number])


def pickled(value: bytes, protocol: int = 2) -> bytes:
    return proto(protocol) + value + STOP


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def blob(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def many(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + many(*arguments) + REDUCE


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def array_type(code: str = "f4", order: str = "<") -> bytes:
    unset = number(-1)
    state = many(number(3), text(order), NONE, NONE, NONE, unset, unset, number(0))
    return call(name("numpy", "dtype"), text(code), b"\x89", b"\x88") + state + BUILD


def array(shape: tuple[int, ...], raw: bytes, dtype: bytes | None = None) -> bytes:
    empty = call(
        name("numpy.core.multiarray", "_reconstruct"),
        name("numpy", "ndarray"),
        many(number(0)),
        blob(b"b"),
    )
    sizes = many(*map(number, shape))
    return empty + many(number(1), sizes, dtype or array_type(), b"\x89", blob(raw)) + BUILD


# ---- what torch.save writes ------------------------------------------------------------------

STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage", "u2": "BFloat16Storage"}


def torch_tensor(
    key: str,
    kind: str,
    length: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int = 0,
    *,
    legacy: bool = False,
) -> bytes:
    storage = many(
        text("storage"),
        name("torch", STORAGES[kind]),
        text(key),
        text("cpu"),
        number(length),
        *([NONE] if legacy else []),
    )
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage + PERSID,
        number(offset),
        many(*map(number, shape)),
        many(*map(number, strides)),
        b"\x89",
        call(name("collections", "OrderedDict")),
    )


def write_zip(
    path: Path, state: bytes, storages: Mapping[str, np.ndarray], **others: bytes
) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", state)
        archive.writestr("archive/byteorder", others.get("byteorder", b"little"))
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values.tobytes())
        archive.writestr("archive/version", b"3\n")
    return path


def write_legacy(path: Path, state: bytes, storages: Mapping[str, np.ndarray]) -> Path:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [state, pickle.dumps(sorted(storages), 2)]
    for key in sorted(storages):
        parts += [struct.pack("<q", storages[key].size), storages[key].tobytes()]
    path.write_bytes(b"".join(parts))
    return path
