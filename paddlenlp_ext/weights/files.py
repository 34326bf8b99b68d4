"""Read the weights of a model from a file or a folder, whatever wrote them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from paddlenlp_ext.errors import WeightsError, shown
from paddlenlp_ext.files.disk import read_object
from paddlenlp_ext.weights.formats.pdparams import read_pdparams, write_pdparams
from paddlenlp_ext.weights.formats.safe_tensors import (
    read_metadata,
    read_safetensors,
    write_safetensors,
)
from paddlenlp_ext.weights.formats.torch_files import read_torch
from paddlenlp_ext.weights.names import shorten

Array = NDArray[Any]
Format = Literal["huggingface", "paddle"]  # whose names and layout


@dataclass(frozen=True)
class Written:
    """What is written in a format, for the library that has it.

    Attributes:
        name: Of the weight file.
        write: Writes it.
        out_in: Whether the weights of linear layers are [out, in], as in PyTorch, or [in, out].
    """

    name: str
    write: Callable[[Path, Mapping[str, Array]], None]
    out_in: bool


FORMATS: Mapping[Format, Written] = {
    "paddle": Written("model_state.pdparams", write_pdparams, out_in=False),
    "huggingface": Written(
        "model.safetensors", partial(write_safetensors, metadata={"format": "pt"}), out_in=True
    ),
}

# Where both kinds lie in one folder, the one that cannot hold code is read.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model_state.pdparams",
    "model_state.pdparams.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
INDEX_SUFFIX = ".index.json"
# What reads files of each kind, and their format; that of .safetensors is in the file.
_READERS: dict[str, tuple[Callable[[Path], dict[str, Array]], Format]] = {
    ".safetensors": (read_safetensors, "huggingface"),
    ".pdparams": (read_pdparams, "paddle"),
    ".bin": (read_torch, "huggingface"),
    ".pt": (read_torch, "huggingface"),
    ".pth": (read_torch, "huggingface"),
}


def read_weights(path: Path) -> dict[str, Array]:
    """Read all tensors of a model; nothing in the files is executed.

    Args:
        path: A weight file, an index of shards, or a folder with one of `WEIGHT_FILES`.

    Returns:
        The file's own names to arrays, most of them read-only views of the mapped file.

    Raises:
        WeightsError: There is no such file, or it is damaged or holds more than tensors.
    """
    path = find_weights(path)
    if not path.name.endswith(INDEX_SUFFIX):
        if path.suffix not in _READERS:
            raise WeightsError(f"{path}: expected a file ending with {', '.join(_READERS)}")
        read, _ = _READERS[path.suffix]
        return read(path)
    weight_map = read_index(path)
    tensors: dict[str, Array] = {}
    for shard in sorted({*weight_map.values()}):
        part = read_weights(path.parent / shard)
        listed = {name for name, file in weight_map.items() if file == shard}
        if part.keys() != listed:
            wrong = sorted(part.keys() ^ listed)
            raise WeightsError(
                f"{path}: does not agree with {shard} about {shorten(wrong, 2)}; "
                "copy or download both again"
            )
        tensors |= part
    return tensors


def find_weights(path: Path) -> Path:
    """Return the weight file of a folder, or the file itself.

    Raises:
        WeightsError: There is none.
    """
    if not path.is_dir():
        return path
    for name in WEIGHT_FILES:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"{path}: holds no weights, expected one of {', '.join(WEIGHT_FILES)}")


def format_of(path: Path) -> Format:
    """Return whose names and layout a file has.

    PaddleNLP writes .safetensors too, with Paddle's names and layout, and says so in the header.

    Raises:
        WeightsError: The file cannot be read.
    """
    path = find_weights(path)
    if path.name.endswith(INDEX_SUFFIX):
        path = path.parent / min(read_index(path).values())
    if path.suffix == ".safetensors" and read_metadata(path).get("format") in ("np", "pd"):
        return "paddle"
    if path.suffix not in _READERS:
        return "huggingface"
    _, found = _READERS[path.suffix]
    return found


def read_index(path: Path) -> dict[str, str]:
    """Read which shard holds which tensor.

    Raises:
        WeightsError: The file is no index, or names a file outside its folder.
    """
    weight_map = read_object(path).get("weight_map")
    if type(weight_map) is not dict or not weight_map:
        raise WeightsError(f"{path}: is no index of weight files; it has no 'weight_map'")
    for shard in weight_map.values():
        if (
            type(shard) is not str
            or Path(shard).name != shard
            or Path(shard).suffix not in _READERS
        ):
            raise WeightsError(
                f"{path}: names {shown(shard)}, expected a weight file in the same folder"
            )
    return weight_map
