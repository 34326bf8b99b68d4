"""Damage is noticed by every check that a format offers; what no model needs spoils no file."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.weights.files import read_weights
from paddlenlp_ext.weights.formats.pdparams import read_pdparams, write_pdparams
from paddlenlp_ext.weights.formats.safe_tensors import write_safetensors
from paddlenlp_ext.weights.formats.torch_files import read_torch
from tests.tiny import FAMILY_SIZES, SIZES
from tests.weights.opcodes import (
    BUILD,
    NONE,
    array,
    array_type,
    blob,
    call,
    many,
    mapping,
    name,
    number,
    pickled,
    text,
    torch_tensor,
    write_legacy,
    write_zip,
)

FOUR = np.arange(4, dtype="f4")
Write = Callable[[Path, bytes, Mapping[str, np.ndarray]], Path]
WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


def four(key: str = "0", kind: str = "f4", length: int = 4, *, legacy: bool = False) -> bytes:
    return torch_tensor(key, kind, length, (length,), (1,), legacy=legacy)


def pairs(*items: tuple[str, bytes]) -> bytes:
    """A dictionary whose keys may come twice."""
    return b"}(" + b"".join(text(key) + value for key, value in items) + b"u"


# ---- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["data/0", "data/1", "data.pkl", "version"])
def test_a_changed_byte_of_an_entry_is_noticed(entry: str, tmp_path: Path) -> None:
    storages = {"0": FOUR, "1": np.full(9_000_000, 5, "f4")}
    state = pickled(mapping(a=four(), b=four("1", length=9_000_000)))
    path = write_zip(tmp_path / "a.bin", state, storages)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"archive/{entry}")
    whole = bytearray(path.read_bytes())
    for at in {0, info.file_size // 2, info.file_size - 1}:
        changed = whole.copy()
        changed[info.header_offset + 30 + len(info.filename) + at] ^= 0x40
        path.write_bytes(changed)
        with pytest.raises(WeightsError, match=rf"'archive/{entry}' is damaged, its CRC"):
            read_torch(path)


def test_a_checksum_that_pytorch_did_not_compute_is_not_compared(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.bin", pickled(mapping(a=four())), {"0": FOUR})
    with zipfile.ZipFile(path, "a") as archive:
        for info in archive.infolist():
            info.CRC = 0
        archive._didModify = True
    assert read_torch(path)["a"].tolist() == [0, 1, 2, 3]


def test_an_entry_under_another_name_in_the_list_is_noticed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.bin", pickled(mapping(a=four("1"))), {"0": FOUR})
    whole = path.read_bytes()
    at = whole.rindex(b"archive/data/0")
    path.write_bytes(whole[:at] + b"archive/data/1" + whole[at + 14 :])
    with pytest.raises(WeightsError, match="'archive/data/1' is damaged"):
        read_torch(path)


@WRITERS
@pytest.mark.parametrize(
    ("kinds", "lengths"),
    [
        (("f4", "i8"), (4, 2)),
        (("i8", "f4"), (2, 4)),
        (("f2", "u2"), (8, 8)),
        (("f4", "f4"), (4, 3)),
    ],
)
def test_a_storage_under_two_types_or_lengths_is_refused(
    write: Write, kinds: tuple[str, str], lengths: tuple[int, int], tmp_path: Path
) -> None:
    legacy = write is write_legacy
    tensors = [four("0", *row, legacy=legacy) for row in zip(kinds, lengths, strict=True)]
    path = write(tmp_path / "a.bin", pickled(mapping(a=tensors[0], b=tensors[1])), {"0": FOUR})
    with pytest.raises(WeightsError, match="storage '0' has two types or lengths"):
        read_torch(path)


@pytest.mark.parametrize("held", [3, 5])
def test_a_storage_of_another_size_is_refused(held: int, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.bin", pickled(mapping(a=four())), {"0": np.zeros(held, "f4")})
    with pytest.raises(WeightsError, match=f"storage '0' has {4 * held} bytes, expected 16"):
        read_torch(path)


@WRITERS
@pytest.mark.parametrize("names", ["aa", "aba", "abb"])
def test_a_tensor_that_comes_twice_is_named(write: Write, names: str, tmp_path: Path) -> None:
    legacy = write is write_legacy
    state = pickled(pairs(*((one, four(legacy=legacy)) for one in names)))
    with pytest.raises(WeightsError, match=f"has '{max(names, key=names.count)}' twice"):
        read_torch(write(tmp_path / "a.bin", state, {"0": FOUR}))


def test_a_tensor_that_comes_twice_in_paddles_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pdparams"
    write_pdparams(path, {"one": FOUR, "two": FOUR})
    path.write_bytes(path.read_bytes().replace(text("two"), text("one")))
    with pytest.raises(WeightsError, match="has 'one' twice"):
        read_pdparams(path)


@WRITERS
def test_what_stands_behind_the_end_is_noticed(write: Write, tmp_path: Path) -> None:
    legacy = write is write_legacy
    state = pickled(mapping(a=four(legacy=legacy))) + (b"" if legacy else b"more")
    path = write(tmp_path / "a.bin", state, {"0": FOUR})
    if legacy:
        path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(WeightsError, match="goes on after its end"):
        read_torch(path)


# ---- numbers of another kind than a model has ----------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    BertModel(BertConfig(**SIZES, **FAMILY_SIZES["bert"])).save_pretrained(tmp_path, "huggingface")
    return tmp_path


def write_bin(path: Path, tensors: Mapping[str, np.ndarray], **others: bytes) -> None:
    """A file of torch.save with these tensors, and what other entries it may have."""
    items, storages = [], {}
    codes = {"float32": "f4", "int64": "i8", "float16": "f2"}
    for key, (label, values) in enumerate(tensors.items()):
        strides = tuple(step // values.itemsize for step in values.strides)
        row = (str(key), codes[str(values.dtype)], values.size, values.shape, strides)
        items.append((label, torch_tensor(*row)))
        storages[str(key)] = np.ascontiguousarray(values)
    storages["few"] = np.array([2, 3], "f4")
    write_zip(path, pickled(pairs(*items, *others.items())), storages)


@pytest.mark.parametrize("kind", ["int8", "uint8", "bool", "int16", "int32", "int64"])
@pytest.mark.parametrize("suffix", ["safetensors", "pdparams"])
def test_whole_numbers_are_no_weights(kind: str, suffix: str, folder: Path) -> None:
    tensors = read_weights(folder)
    if suffix == "pdparams":
        model = BertModel.from_pretrained(folder)
        model.save_pretrained(folder / "p", "paddle")
        folder = folder / "p"
        tensors = read_weights(folder)
    write = {"safetensors": write_safetensors, "pdparams": write_pdparams}[suffix]
    file = folder / {"safetensors": "model.safetensors", "pdparams": "model_state.pdparams"}[suffix]
    spare = {"spare": np.ones(3, kind)}
    write(file, {key: np.array(value) for key, value in tensors.items()} | spare)
    assert BertModel.from_pretrained(folder).load_report.unexpected[-1].endswith("spare")
    for key in [key for key in tensors if "query" in key or "q_proj" in key][:1]:
        one = {key: np.array(tensors[key]).astype(kind)}
        write(file, {key: np.array(value) for key, value in tensors.items()} | one)
        with pytest.raises(UserError, match=f"is of type {kind} in the weights"):
            BertModel.from_pretrained(folder)


# ---- what no model needs -------------------------------------------------------------------------

EXPANDED = torch_tensor("few", "f4", 2, (1_000, 2), (0, 1))
HUGE = torch_tensor("few", "f4", 2, (2**40, 2**20), (0, 0))
ATTRIBUTES = mapping(mark=text("x"), axis=number(0), names=b"](" + text("a") + b"K\1e")
PARAMETER = call(
    name("torch._utils", "_rebuild_parameter_with_state"),
    torch_tensor("few", "f4", 2, (2,), (1,)),
    b"\x88",
    call(name("collections", "OrderedDict")),
    ATTRIBUTES,
)
MARKED = call(
    name("torch._tensor", "_rebuild_from_type_v2"),
    name("torch._utils", "_rebuild_tensor_v2"),
    name("torch", "Tensor"),
    many(
        many(text("storage"), name("torch", "FloatStorage"), text("few"), text("cpu"), b"K\2")
        + b"Q",
        b"K\0",
        many(b"K\2"),
        many(b"K\1"),
        b"\x89",
        call(name("collections", "OrderedDict")),
    ),
    ATTRIBUTES,
)
SPARE = {
    "whole number": number(3),
    "negative number": number(-3),
    "large number": number(2**100),
    "float": b"G" + struct.pack(">d", 0.5),
    "NumPy's number": call(name("numpy.core.multiarray", "scalar"), array_type(), blob(b"1234")),
    "NumPy's array": array((1,), b"1234"),
    "truth": b"\x88",
    "nothing": NONE,
    "text": text("a note"),
    "list": b"](K\1K\2e",
    "options": mapping(lr=b"G" + struct.pack(">d", 0.5), name=text("adam")),
    "size": call(name("torch", "Size"), many(b"K\1")),
    "type": name("torch", "float32"),
    "device": call(name("torch", "device"), text("cpu")),
    "expanded": EXPANDED,
    "huge": HUGE,
    "parameter with attributes": PARAMETER,
    "tensor with attributes": MARKED,
}


@pytest.mark.parametrize("kind", SPARE)
@pytest.mark.parametrize("first", [True, False])
def test_one_entry_does_not_spoil_a_file(kind: str, first: bool, folder: Path) -> None:
    expected = {key: np.array(value) for key, value in read_weights(folder).items()}
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    write_bin(path, expected, **{"a" if first else "z": SPARE[kind]})
    model = BertModel.from_pretrained(folder)
    assert model.load_report.missing == model.load_report.mismatched == ()
    found = read_weights(folder)
    assert {*expected} <= {*found}
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)


def test_expanded_numbers_and_those_with_attributes_are_what_they_are(tmp_path: Path) -> None:
    state = mapping(a=EXPANDED, b=PARAMETER, c=MARKED, d=number(7), e=text("x"))
    path = write_zip(tmp_path / "a.bin", pickled(state), {"few": np.array([2, 3], "f4")})
    found = read_torch(path)
    assert found["a"].shape == (1_000, 2)
    assert found["a"][::500].tolist() == [[2, 3], [2, 3]]
    assert found["b"].tolist() == found["c"].tolist() == [2, 3]
    assert found["d"] == 7
    assert "e" not in found


def test_an_expanded_tensor_that_the_model_needs_is_used(folder: Path) -> None:
    tensors = {key: np.array(value) for key, value in read_weights(folder).items()}
    (folder / "model.safetensors").unlink()
    needed = "embeddings.token_type_embeddings.weight"
    width = tensors.pop(needed).shape[1]
    row = torch_tensor("few", "f4", 2, (3, width), (0, 0), 1)
    write_bin(folder / "pytorch_model.bin", tensors, **{needed: row})
    model = BertModel.from_pretrained(folder)
    assert model.embeddings.token_type_embeddings.weight.numpy().tolist() == [[3.0] * width] * 3


@pytest.mark.parametrize("value", [number(3), text("x"), NONE])
def test_a_number_in_place_of_a_tensor_that_the_model_needs_is_named(
    value: bytes, folder: Path
) -> None:
    tensors = {key: np.array(value) for key, value in read_weights(folder).items()}
    (folder / "model.safetensors").unlink()
    needed = "embeddings.token_type_embeddings.weight"
    del tensors[needed]
    write_bin(folder / "pytorch_model.bin", tensors, **{needed: value})
    with pytest.raises(UserError, match="token_type_embeddings"):
        BertModel.from_pretrained(folder)


def test_numbers_that_stand_for_many_are_not_taken_for_many(folder: Path) -> None:
    tensors = {key: np.array(value) for key, value in read_weights(folder).items()}
    (folder / "model.safetensors").unlink()
    write_bin(folder / "pytorch_model.bin", tensors, z=HUGE)
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] = 1 << 28
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="more than twice the size of the weights"):
        BertModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (mapping(epoch=number(3)), "'epoch' is no tensor"),
        (mapping(a=text("x"), b=NONE), "'a' is no tensor"),
        (mapping(epoch=number(3), model=mapping(a=four())), "'model' is no tensor, but has names"),
        (mapping(**{"x" * 600: four()}), "is no tensor: names are texts of at most 512"),
    ],
)
def test_a_file_without_tensors_of_its_own_is_named(
    state: bytes, said: str, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "a.bin", pickled(state), {"0": FOUR})
    with pytest.raises(WeightsError, match=said):
        read_torch(path)


@pytest.mark.parametrize(
    "spare", [3, -2.5, True, None, "a note", [1, 2], {"lr": 0.5}, np.float32(2), 2**100]
)
def test_one_entry_does_not_spoil_paddles_file(spare: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({"a": FOUR, "spare": spare, "z": FOUR}, 4))
    found = read_pdparams(path)
    assert found["a"].tolist() == found["z"].tolist() == [0, 1, 2, 3]
    nested = {"a": FOUR, "inner": {"b": FOUR}}
    path.write_bytes(pickle.dumps(nested, 4))
    with pytest.raises(WeightsError, match="'inner' is no tensor, but has names and tensors"):
        read_pdparams(path)


def test_a_tensor_of_a_class_that_is_not_known_is_refused(tmp_path: Path) -> None:
    other = MARKED.replace(b"ctorch\nTensor\n", b"cmine\nTensor\n")
    path = write_zip(tmp_path / "a.bin", pickled(mapping(a=other)), {"few": FOUR[:2]})
    with pytest.raises(WeightsError, match=r"asks for 'mine\.Tensor'"):
        read_torch(path)
    other = MARKED.replace(b"_rebuild_tensor_v2", b"_rebuild_from_type_v2").replace(
        b"ctorch._utils", b"ctorch._tensor"
    )
    path = write_zip(tmp_path / "a.bin", pickled(mapping(a=other)), {"few": FOUR[:2]})
    with pytest.raises(WeightsError, match="tensor of another class"):
        read_torch(path)


def test_attributes_of_a_state_dict_are_left(tmp_path: Path) -> None:
    state = mapping(a=four()) + ATTRIBUTES + BUILD
    path = write_zip(tmp_path / "a.bin", pickled(state), {"0": FOUR})
    assert [*read_torch(path)] == ["a"]
