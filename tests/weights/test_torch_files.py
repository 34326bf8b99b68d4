"""Files of torch.save written by hand; tests/parity/test_weight_files.py has PyTorch write them."""

from __future__ import annotations

import copy
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.formats.torch_files import read_torch
from tests.weights.arrays import assert_equal, bfloat16
from tests.weights.opcodes import (
    BUILD,
    call,
    mapping,
    name,
    pickled,
    torch_tensor,
    write_legacy,
    write_zip,
)

BASE = np.arange(24, dtype="f4")
HALF = np.linspace(-3, 3, 5, dtype="f2")
WIDE = np.linspace(-3, 3, 7, dtype="f4")
STORAGES = {"0": BASE, "1": HALF, "2": bfloat16(WIDE), "3": np.arange(3)}
EXPECTED = {
    "plain": BASE[:15].reshape(3, 5),
    "view": BASE[2:8].reshape(2, 3),
    "transposed": BASE[:15].reshape(3, 5).T,
    "stepped": BASE[1:24:4],
    "scalar": BASE[5].reshape(()),
    "nothing": np.zeros((0, 3), "f4"),
    "half": HALF,
    "ids": np.arange(3).reshape(1, 3),
    "bfloat16": (bfloat16(WIDE).astype("u4") << 16).view("f4"),
}


def state(*, legacy: bool = False) -> bytes:
    def tensor(*arguments: object) -> bytes:
        return torch_tensor(*arguments, legacy=legacy)

    return mapping(
        plain=tensor("0", "f4", 24, (3, 5), (5, 1)),
        view=tensor("0", "f4", 24, (2, 3), (3, 1), 2),
        transposed=tensor("0", "f4", 24, (5, 3), (1, 5)),
        stepped=tensor("0", "f4", 24, (6,), (4,), 1),
        scalar=tensor("0", "f4", 24, (), (), 5),
        nothing=tensor("0", "f4", 24, (0, 3), (3, 1)),
        half=tensor("1", "f2", 5, (5,), (1,)),
        ids=tensor("3", "i8", 3, (1, 3), (3, 1)),
        bfloat16=tensor("2", "u2", 7, (7,), (1,)),
    )


def a_zip(path: Path) -> Path:
    return write_zip(path, pickled(state()), STORAGES)


def a_legacy_file(path: Path) -> Path:
    return write_legacy(path, pickled(state(legacy=True)), STORAGES)


WRITERS = pytest.mark.parametrize("write", [a_zip, a_legacy_file])
Writer = Callable[[Path], Path]


@WRITERS
def test_reads_types_views_and_strides(write: Writer, tmp_path: Path) -> None:
    found = read_torch(write(tmp_path / "pytorch_model.bin"))
    assert_equal(found, EXPECTED)
    assert found["plain"].base is not None
    assert not found["plain"].flags.writeable


@WRITERS
def test_views_share_their_storage(write: Writer, tmp_path: Path) -> None:
    found = read_torch(write(tmp_path / "pytorch_model.bin"))
    assert np.shares_memory(found["plain"], found["transposed"])
    assert np.shares_memory(found["plain"], found["view"])


def test_parameters_and_attributes_of_a_state_dict(tmp_path: Path) -> None:
    weight = call(
        name("torch._utils", "_rebuild_parameter"),
        torch_tensor("0", "f4", 24, (2, 3), (3, 1)),
        b"\x88",
        call(name("collections", "OrderedDict")),
    )
    attributes = mapping(_metadata=call(name("collections", "OrderedDict")))
    ordered = call(name("collections", "OrderedDict")) + mapping(weight=weight)[1:]
    path = write_zip(
        tmp_path / "pytorch_model.bin", pickled(ordered + attributes + BUILD), STORAGES
    )
    assert_equal(read_torch(path), {"weight": BASE[:6].reshape(2, 3)})


@WRITERS
def test_every_cut_is_noticed(write: Writer, tmp_path: Path) -> None:
    path = write(tmp_path / "pytorch_model.bin")
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(WeightsError, match=r"pytorch_model\.bin"):
            read_torch(path)


@WRITERS
@given(data=st.data())
def test_flipped_bits_end_in_tensors_or_one_error(
    write: Writer, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "flipped.bin")
    whole = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(whole)
    try:
        found = read_torch(path)
    except WeightsError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert len(found) <= len(EXPECTED)


def test_storages_shorter_than_they_say(tmp_path: Path) -> None:
    short = STORAGES | {"0": BASE[:-1]}
    path = write_zip(tmp_path / "pytorch_model.bin", pickled(state()), short)
    with pytest.raises(WeightsError, match="storage '0' has 92 bytes, expected 96"):
        read_torch(path)
    path = write_legacy(tmp_path / "pytorch_model.bin", pickled(state(legacy=True)), short)
    with pytest.raises(WeightsError, match="storage '0' has two lengths"):
        read_torch(path)


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "said"),
    [
        ((25,), (1,), 0, "does not fit its 24 numbers"),
        ((24,), (1,), 1, "does not fit its 24 numbers"),
        ((2, 3), (22, 1), 0, "does not fit its 24 numbers"),
        ((2, 3), (-3, 1), 9, "tensor of no whole numbers"),
        ((-2, -3), (3, 1), 0, "tensor of no whole numbers"),
        ((2, 3), (1,), 0, "2 axes and 1 strides"),
        ((1,) * 70, (1,) * 70, 0, "70 axes"),
        ((0,), (1,), 2**63, "tensor of no whole numbers"),
        ((0,), (1,), 2**63 - 1, "'weight'"),
        ((1,), (2**63 - 1,), 0, "'weight'"),
    ],
)
def test_tensors_beyond_their_storage(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, said: str, tmp_path: Path
) -> None:
    state = mapping(weight=torch_tensor("0", "f4", 24, shape, strides, offset))
    path = write_zip(tmp_path / "pytorch_model.bin", pickled(state), STORAGES)
    with pytest.raises(WeightsError, match=said):
        read_torch(path)


def test_sizes_of_thousands_of_digits_take_no_time(tmp_path: Path) -> None:
    for size in (2**62, 2**2030):
        state = mapping(weight=torch_tensor("0", "f4", 24, (size,) * 5000, (1,) * 5000))
        path = write_zip(tmp_path / "pytorch_model.bin", pickled(state), STORAGES)
        start = time.perf_counter()
        with pytest.raises(WeightsError) as caught:
            read_torch(path)
        assert len(str(caught.value)) < 400
        assert time.perf_counter() - start < 1


def test_storages_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    # bfloat16 is widened, so that each of them takes memory.
    tensors = {f"w{n}": torch_tensor(str(n), "u2", 1000, (1000,), (1,)) for n in range(50)}
    path = tmp_path / "pytorch_model.bin"
    write_zip(path, pickled(mapping(**tensors)), {"0": np.zeros(1000, "u2")})
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(1, 50):
            entry = copy.copy(archive.getinfo("archive/data/0"))
            entry.filename = f"archive/data/{number}"
            archive.filelist.append(entry)
        archive._didModify = True
    with pytest.raises(WeightsError, match=r"share their bytes|is damaged"):
        read_torch(path)


def test_long_lists_of_entries_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "pytorch_model.bin", pickled(mapping()), {})
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(70_000):  # so many that the end of the file is that of a large one
            entry = copy.copy(archive.filelist[0])
            entry.filename = f"{number:030}"
            archive.filelist.append(entry)
        archive._didModify = True
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(WeightsError, match="more entries than any model has"):
        read_torch(path)


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.bin", pickled(state()), STORAGES, byteorder=b"big")
    with pytest.raises(WeightsError, match="big-endian"):
        read_torch(path)


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.bin", pickled(mapping(epoch=b"K\x03")), {})
    with pytest.raises(WeightsError, match="'epoch' is no tensor"):
        read_torch(path)
    path = write_zip(tmp_path / "a.bin", pickled(b"]"), {})
    with pytest.raises(WeightsError, match="holds a list"):
        read_torch(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "text")
    with pytest.raises(WeightsError, match="0 entries"):
        read_torch(path)
    for content in (b"<html>", b"\x80\x02}.", b"PK\x03\x04", b"\x80\x02"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"pytorch_model\.bin"):
            read_torch(path)
