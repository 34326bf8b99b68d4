"""A shard is what stands in its own file, and a damaged one ends in one line."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import LAYOUT, check_rows
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, VOCABULARY, open_shard, read_slice

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data/pretraining/training_data.hdf5"
Make = Callable[[h5py.File, str, np.ndarray], Any]


def remade(folder: Path, column: str, make: Make) -> Path:
    """The sample shard with one column made anew, and its neighbour beside it."""
    path = folder / "train.hdf5"
    shutil.copy(SAMPLE, path)
    shutil.copy(SAMPLE, folder / "other.hdf5")
    with h5py.File(path, "r+") as file:
        values = file[column][:]
        del file[column]
        make(file, column, values)
    return path


def rows_of(path: Path, count: int = 5) -> dict[str, np.ndarray]:
    return dict(read_slice(open_shard(path, LAYOUT), LAYOUT, 0, count))


def external(file: h5py.File, name: str, values: np.ndarray) -> None:
    other = Path(file.filename).with_name("numbers.bin")
    other.write_bytes(values.tobytes())
    file.create_dataset(name, values.shape, values.dtype, external=[(str(other), 0, values.nbytes)])


def virtual(file: h5py.File, name: str, values: np.ndarray) -> None:
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[:] = h5py.VirtualSource("other.hdf5", name, values.shape)
    file.create_virtual_dataset(name, layout)


def linked(file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = h5py.ExternalLink("other.hdf5", name)


def soft(file: h5py.File, name: str, values: np.ndarray) -> None:
    file["elsewhere"] = values
    file[name] = h5py.SoftLink("/elsewhere")


def dangling(file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = h5py.ExternalLink("/dev/zero", name)


def loop(file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = file["/"]


@pytest.mark.parametrize("column", ["input_ids", "segment_ids", "next_sentence_labels"])
@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (external, "stands in another file"),
        (virtual, "stands in another file"),
        (linked, "is a link"),
        (soft, "is a link"),
        (dangling, "is a link"),
        (loop, "a group of that name"),
    ],
)
def test_numbers_of_another_place_are_refused(tmp_path, column, make, problem):
    path = remade(tmp_path, column, make)
    with pytest.raises(DataError, match=rf"train\.hdf5: .*{column}.*{problem}"):
        rows_of(path)


def test_a_column_that_leads_elsewhere_only_later_is_refused(tmp_path):
    """Between opening and reading, as a file that somebody else can write."""
    shard = open_shard(shutil.copy(SAMPLE, tmp_path / "train.hdf5"), LAYOUT)
    remade(tmp_path, "input_mask", external)
    with pytest.raises(DataError, match="input_mask stands in another file"):
        read_slice(shard, LAYOUT, 0, 5)


def of_type(kind: Any) -> Make:
    def make(file: h5py.File, name: str, values: np.ndarray) -> None:
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(file.id, name.encode(), kind, space)

    return make


TYPES = {
    "times": h5py.h5t.UNIX_D32LE,
    "bits": h5py.h5t.STD_B16LE,
    "references": h5py.h5t.STD_REF_OBJ,
    "opaque": h5py.h5t.create(h5py.h5t.OPAQUE, 5),
    "text": h5py.h5t.py_create(h5py.string_dtype(), logical=True),
    "bytes": h5py.h5t.py_create(np.dtype("S3")),
    "complex": h5py.h5t.py_create(np.dtype("c8")),
    "compound": h5py.h5t.py_create(np.dtype([("a", "i4"), ("b", "f4")])),
    "lists": h5py.h5t.vlen_create(h5py.h5t.NATIVE_INT32),
    "arrays": h5py.h5t.array_create(h5py.h5t.NATIVE_INT32, (2,)),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("column", ["input_ids", "next_sentence_labels"])
def test_types_that_are_no_numbers_are_named(tmp_path, kind, column):
    with pytest.raises(DataError, match=rf"train\.hdf5: .*{column}|train\.hdf5: cannot be read"):
        rows_of(remade(tmp_path, column, of_type(TYPES[kind])))


def test_names_that_are_no_text_are_quoted(tmp_path):
    def make(file: h5py.File, name: str, values: np.ndarray) -> None:
        for other in (b"\xff\xfe", b"a\nerror: all is well\x1b[2J", b"x" * 3000):
            h5py.h5g.create(file.id, other)

    with pytest.raises(DataError, match=r"train\.hdf5: .*input_ids") as caught:
        rows_of(remade(tmp_path, "input_ids", make))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("number", [32015, 307, 40_000])
def test_filters_that_are_plug_ins_are_refused(tmp_path, number):
    def make(file: h5py.File, name: str, values: np.ndarray) -> None:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((256, *values.shape[1:]))
        made.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_INT32, space, made)

    with pytest.raises(DataError, match=rf"masked_lm_ids is packed by filter {number}, a plug-in"):
        rows_of(remade(tmp_path, "masked_lm_ids", make))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzf"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"scaleoffset": 0, "chunks": True},
        {"chunks": (1, 3)},
        {},
    ],
    ids=repr,
)
def test_what_the_library_itself_unpacks_is_read(tmp_path, options):
    def make(file: h5py.File, name: str, values: np.ndarray) -> None:
        file.create_dataset(name, data=values, **options)

    found = rows_of(remade(tmp_path, "input_ids", make))
    np.testing.assert_array_equal(found["input_ids"], rows_of(SAMPLE)["input_ids"])


@pytest.mark.parametrize(("rows", "taken"), [(1000, True), (400_000, False)])
def test_pieces_that_are_unpacked_for_every_slice_are_small(tmp_path, rows, taken):
    path = tmp_path / "train.hdf5"
    with h5py.File(path, "w") as file:
        for name, (dtype, axis) in LAYOUT.items():
            shape = (rows, 16) if axis else (rows,)
            data = file.create_dataset(name, shape, dtype, chunks=shape, compression="gzip")
            data[:] = 1
    if taken:
        assert rows_of(path)["input_ids"].all()
    else:
        with pytest.raises(DataError, match=r"train\.hdf5: input_ids is packed in pieces of 400,0"):
            rows_of(path)


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "train.hdf5")
    for path in (tmp_path / "train.hdf5", Path(os.devnull), tmp_path):
        with pytest.raises(DataError, match=f"{path.name}: is not a regular file"):
            open_shard(path, LAYOUT)


@pytest.mark.parametrize("name", [HAS_PAIRS, VOCABULARY])
@pytest.mark.parametrize("value", [np.zeros(3), "x" * 5000, 0.5, h5py.Empty("f4")], ids=range(4))
def test_attributes_of_other_forms_are_named(tmp_path, name, value):
    path = shutil.copy(SAMPLE, tmp_path / "train.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(DataError, match=rf"train\.hdf5: has an attribute {name} that is no"):
        open_shard(path, LAYOUT)


def test_unknown_attributes_are_left_alone(tmp_path):
    path = shutil.copy(SAMPLE, tmp_path / "train.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs["of another program"] = "x" * 30_000
        space = h5py.h5s.create_simple((3,))
        h5py.h5a.create(file.id, b"made at", h5py.h5t.UNIX_D32LE, space)
        h5py.h5a.create(file.id, b"\xff", h5py.h5t.STD_REF_OBJ, space)
    assert set(open_shard(path, LAYOUT).attributes) <= {HAS_PAIRS, VOCABULARY}


MEANT = {
    "labels in a column": ("next_sentence_labels", lambda values: values[:, None]),
    "labels in a column of floats": ("next_sentence_labels", lambda values: values[:, None] * 1.0),
    "a mask of booleans": ("input_mask", lambda values: values.astype(bool)),
    "segments of booleans": ("segment_ids", lambda values: values.astype(bool)),
    "a mask of floats": ("input_mask", lambda values: values.astype("float32")),
    "ids as doubles": ("input_ids", lambda values: values.astype(">f8")),
    "places as large numbers": ("masked_lm_positions", lambda values: values.astype(">u8")),
}


@pytest.mark.parametrize("case", MEANT)
def test_what_can_mean_one_thing_only_is_read(tmp_path, case):
    column, change = MEANT[case]

    def make(file: h5py.File, name: str, values: np.ndarray) -> None:
        file.create_dataset(name, data=change(values), compression="gzip")

    found = rows_of(remade(tmp_path, column, make), 99)
    for name, values in rows_of(SAMPLE, 99).items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (0.5, "row 3: input_mask must be whole numbers, not 0.5"),
        (np.nan, "row 3: input_mask must be whole numbers, not nan"),
        (np.inf, "input_mask has numbers beyond int8"),
        (300.0, "input_mask has numbers beyond int8"),
    ],
)
def test_floats_that_are_no_whole_numbers_are_named(tmp_path, value, problem):
    def make(file: h5py.File, name: str, values: np.ndarray) -> None:
        other = values.astype("float32")
        other[3, 1] = value
        file[name] = other

    path = remade(tmp_path, "input_mask", make)
    with pytest.raises(DataError, match=rf"train\.hdf5: {problem}"):
        rows_of(path)


def mutated(path: Path, seed: int) -> Path:
    """The sample shard with one to eight bytes changed, of odd seeds those that describe it."""
    choice, content = random.Random(seed), bytearray(SAMPLE.read_bytes())
    reach = 8192 if seed % 2 else len(content)
    for _ in range(choice.randint(1, 8)):
        content[choice.randrange(reach)] = choice.randrange(256)
    path.write_bytes(content)
    return path


def read_all(path: Path) -> str:
    """Read a shard to its end; return what is wrong with it."""
    try:
        shards = ShardSet([path], LAYOUT, check_rows(30522, 2))
        for piece in shards.slices(700):
            shards.read(piece)
    except DataError as error:
        return str(error)
    return ""


ENDLESS = 357  # a seed with which HDF5 1.14 and 2.0 follow a list that leads back to itself


def test_a_damaged_shard_that_is_read_without_end_is_named(tmp_path):
    path = mutated(tmp_path / "train.hdf5", ENDLESS)
    assert read_all(path).startswith(f"{path}: cannot be read (")


WAITING = """
import signal, sys
from tests.field.test_shards import read_all, Path
from paddlenlp_ext.process.signals import raise_on_signals
raise_on_signals()
print("begun", flush=True)
read_all(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_reading_of_a_damaged_shard(tmp_path, number):
    path = mutated(tmp_path / "train.hdf5", ENDLESS)
    began = [sys.executable, "-c", WAITING, str(path)]
    with subprocess.Popen(began, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(1)  # the library has begun, and is not yet ended for working too long
        run.send_signal(number)
        assert run.wait(20) != 0


@pytest.mark.parametrize("first", [0, 30, 60])
def test_every_damaged_shard_ends_in_rows_or_in_one_line(tmp_path, first):
    """A few of those of which `python -m tests.faults` reads thousands."""
    path = tmp_path / "train.hdf5"
    for seed in range(first, first + 30):
        said = read_all(mutated(path, seed))
        assert said == "" or said.startswith(f"{path}: ")
        assert said.isprintable()
