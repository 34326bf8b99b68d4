"""Weight files that try to run something: each is refused, and none leaves its mark."""

from __future__ import annotations

import copyreg
import functools
import importlib
import operator
import os
import pickle
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.files import read_weights
from paddlenlp_ext.weights.formats.pdparams import read_pickle
from tests.weights.opcodes import (
    BUILD,
    MEMOIZE,
    NONE,
    PERSID,
    REDUCE,
    array,
    array_type,
    blob,
    call,
    many,
    mapping,
    name,
    number,
    pickled,
    stack_name,
    text,
    torch_tensor,
    write_legacy,
    write_zip,
)

MARK = "executed"  # the folder that a successful attack makes
CODE = f"__import__('os').mkdir({MARK!r})"
MKDIR = name("os", "mkdir")


class Call:
    """Pickles as a call of anything, with a state if one is given."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[object, ...]:
        return self.parts

    def __call__(self) -> None:
        """Be callable, as pickle demands of what it writes as a function."""


def dumped(value: object, protocol: int = 2) -> bytes:
    return pickle.dumps(value, protocol)


EVIL = Call(os.mkdir, MARK)
# Python's own unpickler runs these.
LIVE: dict[str, bytes] = {
    **{f"os.mkdir, protocol {number}": dumped(EVIL, number) for number in range(6)},
    "os.system": dumped(Call(os.system, f"mkdir {MARK}")),
    "subprocess": dumped(Call(subprocess.check_call, ["mkdir", MARK])),
    "eval": dumped(Call(eval, CODE)),
    "eval as Paddle calls it": dumped(Call(eval, CODE, {"data": 1})),
    "exec": dumped(Call(exec, CODE)),
    "compile": dumped(Call(eval, Call(compile, CODE, "x", "eval"))),
    "import": dumped(Call(Call(getattr, Call(__import__, "os"), "mkdir"), MARK)),
    "getattr chain": dumped(
        Call(
            Call(getattr, Call(getattr, Call(importlib.import_module, "shutil"), "os"), "mkdir"),
            MARK,
        )
    ),
    "partial": dumped(Call(functools.partial(os.mkdir, MARK))),
    "methodcaller": dumped(
        Call(operator.methodcaller("mkdir", MARK), Call(importlib.import_module, "os"))
    ),
    "map": dumped(Call(list, Call(map, os.mkdir, [MARK]))),
    "nested pickle": dumped(Call(pickle.loads, dumped(EVIL))),
    "item of an OrderedDict": dumped(Call(OrderedDict, [["weight", EVIL]])),
    "state of an OrderedDict": dumped(Call(OrderedDict, state={"_metadata": EVIL})),
    "copyreg": dumped(Call(copyreg._reconstructor, EVIL, object, None)),
    "key of a dictionary": dumped({Call(str, EVIL): 1}),
    "array of objects": dumped({"weight": np.array([EVIL], dtype=object)}),
    "dotted name": pickled(call(stack_name("shutil", "os.mkdir"), text(MARK)), 4),
    "dotted name under an allowed module": pickled(
        stack_name("collections", "_sys.modules")
        + call(stack_name("shutil", "os.mkdir"), text(MARK)),
        4,
    ),
    "INST": pickled(b"(" + text(MARK) + b"ios\nmkdir\n"),
    "OBJ": pickled(b"(" + MKDIR + text(MARK) + b"o"),
    "attribute __setstate__ made by BUILD": pickled(
        call(name("collections", "OrderedDict"))
        + mapping(__setstate__=MKDIR)
        + BUILD
        + text(MARK)
        + BUILD
    ),
    "called from the memo": pickled(MKDIR + MEMOIZE + b"0" + call(b"h\x00", text(MARK)), 4),
    "before the damage": pickled(call(MKDIR, text(MARK)) + b"\xff"),
}

BILLION = many(number(10**9))
NDARRAY = name("numpy", "ndarray")
RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
EMPTY_ARRAY = call(RECONSTRUCT, NDARRAY, many(number(0)), blob(b"b"))
# These would not run as they stand; they try the doors of our own machine.
DOORS: dict[str, bytes] = {
    "attributes of an allowed function": NDARRAY + mapping(__defaults__=many(number(1))) + BUILD,
    "slots of an allowed function": NDARRAY + many(NONE, mapping(__code__=NONE)) + BUILD,
    "attributes of a list": b"]" + mapping(append=MKDIR) + BUILD,
    "a finished array built again": array((1,), bytes(4)) + many(number(1)) + BUILD,
    "a number called": number(1) + many() + REDUCE,
    "text called": text("os.mkdir") + many(text(MARK)) + REDUCE,
    "a storage type called": name("torch", "FloatStorage") + many(number(10**9)) + REDUCE,
    "an array's class called": call(NDARRAY, BILLION),
    "arguments that are no tuple": NDARRAY + b"]" + REDUCE,
    "NEWOBJ": NDARRAY + BILLION + b"\x81",
    "NEWOBJ_EX": NDARRAY + BILLION + b"}" + b"\x92",
    "EXT1": b"\x82\x01",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "persistent id": text("os.mkdir") + PERSID,
    "persistent id in text": b"Pos.mkdir\n",
    "persistent id of no storage": many(text("module"), NONE, text("a"), text("b")) + PERSID,
    "storage of no type": many(text("storage"), MKDIR, text("0"), text("cpu"), number(1)) + PERSID,
    "type of objects": call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88"),
    "type of structures": call(name("numpy", "dtype"), text("V8"), b"\x89", b"\x88"),
    "type from a list": call(name("numpy", "dtype"), b"]", b"\x89", b"\x88"),
    "type with a wrong order": array((1,), bytes(4), array_type(order=">")),
    "array of another class": call(
        RECONSTRUCT, name("numpy", "dtype"), many(number(0)), blob(b"b")
    ),
    "array of a billion, made at once": call(RECONSTRUCT, NDARRAY, BILLION, blob(b"b")),
    "array of a billion without bytes": array((10**9,), b""),
    "array of 10**60 without bytes": array((10**30, 10**30), b""),
    "array that overflows": array((2**62, 4, 4), bytes(4)),
    "array of a negative length": array((-1,), bytes(4)),
    "array with a few bytes less": array((3, 5), bytes(59)),
    "array with a few bytes more": array((3, 5), bytes(61)),
    "array of a hundred axes": array((1,) * 100, bytes(4)),
    "array of an empty axis and a huge one": array((0, 2**62), b""),
    "bytes in a code that unpacks": call(name("_codecs", "encode"), text("x"), text("zlib")),
    "bytes of a number": call(name("builtins", "bytes"), number(10**9)),
    "tuple of endless things": call(name("builtins", "tuple"), text("x")),
    "tensor of a billion by strides of 0": torch_tensor("0", "f4", 1, (10**9,), (0,)),
    "tensor beyond its storage": torch_tensor("0", "f4", 4, (4,), (1,), 1),
    "tensor far beyond its storage": torch_tensor("0", "f4", 4, (2,), (2**61,)),
    "tensor of another storage": torch_tensor("7", "f4", 4, (4,), (1,)),
    "tensor of a longer storage": torch_tensor("0", "f4", 5, (4,), (1,)),
    "tensor of negative strides": torch_tensor("0", "f4", 4, (4,), (-1,)),
    "tensor of another rank than its strides": torch_tensor("0", "f4", 4, (4,), (1, 1)),
    "tensor of a storage of negative length": torch_tensor("0", "f4", -1, (4,), (1,)),
    "code of another module": call(name("torch.storage", "_load_from_bytes"), blob(dumped(EVIL))),
    "name with a zero width space": call(name("torch._utils", "_rebuild_tensor\u200b")),
    "name of a global's global": call(stack_name("torch._utils", "_rebuild_tensor.__globals__")),
}
ATTACKS = LIVE | {
    **{door: pickled(value, 4) for door, value in DOORS.items()},
    **{f"{door}, as a weight": pickled(mapping(weight=value), 4) for door, value in DOORS.items()},
}


def write_pdparams(folder: Path, attack: bytes) -> Path:
    path = folder / "model_state.pdparams"
    path.write_bytes(attack)
    return path


def write_in_zip(folder: Path, attack: bytes) -> Path:
    return write_zip(folder / "pytorch_model.bin", attack, {"0": np.ones(4, "f4")})


def write_in_legacy(folder: Path, attack: bytes) -> Path:
    return write_legacy(folder / "pytorch_model.bin", attack, {"0": np.ones(4, "f4")})


def write_as_size_of_the_system(folder: Path, attack: bytes) -> Path:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    path = folder / "pytorch_model.bin"
    path.write_bytes(magic + attack)
    return path


@pytest.mark.parametrize("attack", LIVE)
def test_the_attacks_are_real(attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with suppress(Exception):  # some fail after they have done what they came for
        pickle.loads(LIVE[attack])
    assert Path(MARK).is_dir()


@pytest.mark.parametrize(
    "write", [write_pdparams, write_in_zip, write_in_legacy, write_as_size_of_the_system]
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(
    attack: str,
    write: Callable[[Path, bytes], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, ATTACKS[attack])
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path(MARK).exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_optimizer_states_are_read_as_carefully(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_pdparams(tmp_path, ATTACKS[attack])
    with pytest.raises(WeightsError):
        read_pickle(path)
    assert not Path(MARK).exists()


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled(mapping()))
        archive.writestr("archive/data/0", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsError, match="not as torch"):
        read_weights(path)


def test_two_pickles_in_one_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled(mapping()))
        archive.writestr("b/data.pkl", dumped(EVIL))
    with pytest.raises(WeightsError, match="2 entries"):
        read_weights(path)
