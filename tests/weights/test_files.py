from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files import disk
from paddlenlp_ext.files.disk import map_file, release_pages, replace_file, spill_to_disk
from paddlenlp_ext.weights.files import format_of, read_index, read_weights
from paddlenlp_ext.weights.formats.pdparams import write_pdparams
from paddlenlp_ext.weights.formats.safe_tensors import write_safetensors
from tests.weights.arrays import Arrays, assert_equal
from tests.weights.opcodes import mapping, pickled, torch_tensor, write_zip

PARTS: tuple[Arrays, Arrays] = (
    {"a.weight": np.arange(6, dtype="f4").reshape(2, 3)},
    {"b.weight": np.ones(5, "f4"), "b.bias": np.zeros((), "f4")},
)
WHOLE = PARTS[0] | PARTS[1]


def write_shards(
    folder: Path, stem: str, suffix: str, write: Callable[[Path, Arrays], None]
) -> Path:
    weight_map = {}
    for number, part in enumerate(PARTS, 1):
        shard = f"{stem}-0000{number}-of-00002{suffix}"
        write(folder / shard, part)
        weight_map |= dict.fromkeys(part, shard)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 48}, "weight_map": weight_map}))
    return index


def write_bin(path: Path, tensors: Arrays) -> None:
    state = {
        name: torch_tensor(
            name, "f4", array.size, array.shape, tuple(n // 4 for n in array.strides)
        )
        for name, array in tensors.items()
    }
    write_zip(path, pickled(mapping(**state)), tensors)


SHARDS = {
    "safetensors": ("model", ".safetensors", write_safetensors, "huggingface"),
    "bin": ("pytorch_model", ".bin", write_bin, "huggingface"),
    "pdparams": ("model_state", ".pdparams", write_pdparams, "paddle"),
}


@pytest.mark.parametrize("kind", SHARDS)
def test_reads_shards_by_index_and_by_folder(kind: str, tmp_path: Path) -> None:
    *how, layout = SHARDS[kind]
    index = write_shards(tmp_path, *how)
    for path in (index, tmp_path):
        assert_equal(read_weights(path), WHOLE)
        assert format_of(path) == layout


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model_state.pdparams"])
def test_reads_the_one_file_of_a_folder(name: str, tmp_path: Path) -> None:
    write = {".safetensors": write_safetensors, ".bin": write_bin, ".pdparams": write_pdparams}
    write[Path(name).suffix](tmp_path / name, WHOLE)
    assert_equal(read_weights(tmp_path), WHOLE)


@pytest.mark.parametrize(
    ("note", "layout"),
    [("pt", "huggingface"), (None, "huggingface"), ("np", "paddle"), ("pd", "paddle")],
)
def test_safetensors_say_whose_layout_they_have(
    note: str | None, layout: str, tmp_path: Path
) -> None:
    # PaddleNLP's save_pretrained(safe_serialization=True) writes format=np, with Paddle's names.
    path = tmp_path / "model.safetensors"
    write_safetensors(path, WHOLE, {"format": note} if note else None)
    assert format_of(tmp_path) == layout


@pytest.mark.parametrize(
    "shard",
    [
        "../outside.safetensors",
        "/etc/x.safetensors",
        "sub/x.safetensors",
        "x.txt",
        "x.index.json",
        3,
    ],
)
def test_shards_stay_in_their_folder(shard: object, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(WeightsError, match="in the same folder"):
        read_weights(index)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', "[" * 100_000]
)
def test_broken_indexes_are_refused(content: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(WeightsError, match=r"index\.json"):
        read_index(index)


def test_index_and_shards_must_agree(tmp_path: Path) -> None:
    index = write_shards(tmp_path, "model", ".safetensors", write_safetensors)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    write_safetensors(shard, {"b.weight": np.ones(5, "f4"), "c": np.ones(5, "f4")})
    with pytest.raises(WeightsError, match=r"does not agree with model-00002.*b\.bias, c;"):
        read_weights(index)
    shard.unlink()
    with pytest.raises(WeightsError, match=r"model-00002-of-00002\.safetensors: cannot be read"):
        read_weights(index)


def test_missing_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no weights, expected one of model\.safetensors"):
        read_weights(tmp_path)
    with pytest.raises(WeightsError, match="expected a file ending with"):
        read_weights(tmp_path / "model.h5")
    for suffix in (".safetensors", ".bin", ".pdparams"):
        path = tmp_path / f"none{suffix}"
        with pytest.raises(WeightsError, match=r"cannot be read: No such file"):
            read_weights(path)
        path.write_bytes(b"")
        with pytest.raises(WeightsError, match="is empty"):
            read_weights(path)


# ---- writing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("write", [write_safetensors, write_pdparams])
def test_a_failed_write_leaves_the_old_file(
    write: Callable[[Path, Arrays], None],
    call: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / ("a.safetensors" if write is write_safetensors else "a.pdparams")
    write(path, PARTS[0])

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(WeightsError, match="cannot be written: No space left on device"):
            write(path, PARTS[1])
    assert_equal(read_weights(path), PARTS[0])
    assert [*tmp_path.iterdir()] == [path]
    write(path, PARTS[1])
    assert_equal(read_weights(path), PARTS[1])


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with replace_file(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be written"):
        write_safetensors(tmp_path / "none" / "a.safetensors", PARTS[0])
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        map_file(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts memory there")
@pytest.mark.parametrize("name", ["model.safetensors", "model_state.pdparams"])
def test_forgotten_arrays_take_no_memory(name: str, tmp_path: Path) -> None:
    def mapped() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

    path = tmp_path / name
    write = write_safetensors if path.suffix == ".safetensors" else write_pdparams
    write(path, {"w": np.ones((5000, 1000), "f4")})
    array = read_weights(path)["w"].T  # views of views lead to the file, too
    before = mapped()
    total = array.sum()
    assert mapped() - before > 15_000
    release_pages(array)
    assert mapped() - before < 5_000
    assert array.sum() == total
    release_pages(np.ones(3))  # of no file


def test_what_is_kept_on_disk_can_be_changed_and_leaves_no_file(tmp_path):
    array = np.arange(35, dtype="f4").reshape(7, 5)
    kept = spill_to_disk(array.T, tmp_path)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(kept, array.T)
    kept[2] *= 2
    release_pages(kept)
    array[:, 2] *= 2
    np.testing.assert_array_equal(kept, array.T)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.tempfile, "TemporaryFile", lambda dir: open("/dev/full", "wb+"))  # noqa: SIM115
    with pytest.raises(WeightsError, match=r"cannot be written: No space left.*bytes are free"):
        spill_to_disk(np.ones((300, 70), "f4"), tmp_path)
