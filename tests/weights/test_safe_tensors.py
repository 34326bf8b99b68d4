from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.formats.safe_tensors import (
    SparseRows,
    read_metadata,
    read_safetensors,
    write_safetensors,
)
from tests.weights.arrays import STATES, Arrays, assert_equal, bfloat16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safetensors")


def write_by_hand(path: Path, header: object, data: bytes) -> None:
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


@given(STATES)
def test_writes_and_reads_what_the_library_does(folder: Path, tensors: Arrays) -> None:
    path = folder / "model.safetensors"
    write_safetensors(path, tensors, {"format": "pt"})
    assert_equal(read_safetensors(path), tensors)
    assert_equal(safetensors.numpy.load_file(path), tensors)
    assert read_metadata(path) == {"format": "pt"}


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    values = np.arange(15, dtype="f4").reshape(3, 5)
    views = {"transposed": values.T, "stepped": values[:, ::2], "reversed": values[::-1]}
    write_safetensors(path, views)
    assert_equal(safetensors.numpy.load_file(path), views)
    assert read_metadata(path) == {}


@pytest.mark.parametrize("length", [1, 4096, 9001])  # a block has 4096 rows
def test_sparse_rows_are_written_among_zeros(length: int, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    whole = np.zeros((length, 3), "f4")
    numbers = np.flatnonzero(random.random(length) < 0.3)
    whole[numbers] = random.normal(size=(len(numbers), 3))
    sparse = SparseRows(length, numbers, whole[numbers])
    assert (sparse.shape, sparse.dtype, sparse.nbytes) == (whole.shape, whole.dtype, whole.nbytes)
    path = tmp_path / "model.safetensors"
    tensors = {"after": np.arange(5), "rows": sparse}
    write_safetensors(path, tensors)
    assert_equal(safetensors.numpy.load_file(path), tensors | {"rows": whole})


def test_what_the_format_lacks_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'w' is of type complex64, which the format lacks"):
        write_safetensors(tmp_path / "model.safetensors", {"w": np.ones(3, "c8")})
    assert not [*tmp_path.iterdir()]


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    values = np.random.default_rng(0).normal(size=(3, 5)).astype("f4")
    bits = bfloat16(values)
    write_by_hand(
        path, {"w": {"dtype": "BF16", "shape": [3, 5], "data_offsets": [0, 30]}}, bits.tobytes()
    )
    found = read_safetensors(path)["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(bfloat16(np.ascontiguousarray(found)), bits)
    np.testing.assert_allclose(found, values, rtol=2**-7)


def test_other_types_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    entry = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}
    write_by_hand(path, {"w": entry}, b"ab")
    with pytest.raises(WeightsError, match="'w' is of type F8_E4M3"):
        read_safetensors(path)


def test_arrays_lie_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"w": np.ones((3, 5), "f4")})
    found = read_safetensors(path)["w"]
    assert not found.flags.owndata
    assert not found.flags.writeable
    write_safetensors(path, {"w": np.zeros((3, 5), "f4")})  # the mapped file stays what it was
    np.testing.assert_array_equal(found, np.ones((3, 5)))
    np.testing.assert_array_equal(read_safetensors(path)["w"], np.zeros((3, 5)))


@pytest.fixture(scope="module")
def whole(folder: Path) -> bytes:
    path = folder / "whole.safetensors"
    tensors = {f"layer.{n}.weight": np.full((3, 5), n, "f4") for n in range(3)}
    write_safetensors(path, tensors, {"format": "pt"})
    return path.read_bytes()


def test_every_cut_is_noticed(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            read_safetensors(path)


@given(st.data())
def test_flipped_bits_of_the_header_are_noticed_or_change_a_name(
    whole: bytes, folder: Path, data: st.DataObject
) -> None:
    path = folder / "flipped.safetensors"
    header = 8 + int.from_bytes(whole[:8], "little")
    bit = data.draw(st.integers(0, header * 8 - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(flipped)
    try:
        found = read_safetensors(path)
    except WeightsError:
        return
    # What cannot be seen here shows as a missing and an unexpected name, or another shape or type.
    for name, array in found.items():
        assert array.nbytes == 60
        if name in ("layer.0.weight", "layer.1.weight", "layer.2.weight") and array.dtype == "f4":
            assert array.size == 15


HEADERS: dict[str, object] = {
    "no object": [1, 2],
    "offsets beyond the file": {"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}},
    "offsets backwards": {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
    "a billion numbers": {"w": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]}},
    "a shape that overflows": {"w": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}},
    "a negative shape": {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "a hole": {"w": {"dtype": "I8", "shape": [1], "data_offsets": [3, 4]}},
    "numbers of nobody": {},
}


@pytest.mark.parametrize("header", HEADERS)
def test_wrong_headers_are_refused(header: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_by_hand(path, HEADERS[header], bytes(4))
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        read_safetensors(path)


def test_a_header_of_an_exabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    for read in (read_safetensors, read_metadata):
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            read(path)


@pytest.mark.parametrize("shape", [[2**62, 0], [2**63, 0], [1] * 40, [1] * 100])
def test_shapes_that_no_array_has_are_refused(shape: list[int], tmp_path: Path) -> None:
    length = 0 if 0 in shape else 4
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, length]}
    header = json.dumps({"weight": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(length))
    with pytest.raises(WeightsError, match=r"model\.safetensors: 'weight'"):
        read_safetensors(path)
