"""Files that others made are regular, not larger than any honest one, and decoded within limits."""

from __future__ import annotations

import json
import os
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from paddlenlp_ext.errors import DataError, UserError, WeightsError
from paddlenlp_ext.files.disk import MAX_VALUES, open_file, parse_json
from paddlenlp_ext.models.bert import BertConfig
from paddlenlp_ext.tasks.cross_lingual import PAWS_X, _header
from paddlenlp_ext.tasks.glue import glue_task
from paddlenlp_ext.tasks.rows import read_examples
from paddlenlp_ext.tokenizers import saving
from paddlenlp_ext.tokenizers.segmentation import Vocabulary
from paddlenlp_ext.tokenizers.sentencepiece import read_model
from paddlenlp_ext.tokenizers.xlm_r import read_backend
from paddlenlp_ext.weights.files import read_index, read_weights
from paddlenlp_ext.weights.folders import read_config
from paddlenlp_ext.weights.formats.safe_tensors import read_metadata, read_safetensors

GIB = 1 << 30
SECONDS = 2.0  # on a machine at work; what is refused takes a hundredth of it
MEMORY = 200 << 20  # bytes

# What reads each small file, and its name.
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "config": ("config.json", lambda path: read_config(path.parent)),
    "config of an older PaddleNLP": ("model_config.json", lambda path: read_config(path.parent)),
    "vocabulary": ("vocab.txt", Vocabulary.load),
    "settings": ("tokenizer_config.json", saving.read_json),
    "added tokens": ("added_tokens.json", saving.read_json),
    "pieces": ("sentencepiece.bpe.model", read_model),
    "converted tokenizer": ("tokenizer.json", read_backend),
    "index": ("model.safetensors.index.json", read_index),
}


@contextmanager
def bounded() -> Iterator[None]:
    began = time.monotonic()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    assert time.monotonic() - began < 4 * SECONDS  # it is slower while memory is watched


def safetensors(path: Path, header: bytes) -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("size", [3 * GIB // 4, 20 * GIB])
def test_a_file_that_is_too_large_is_refused_by_its_size(
    kind: str, size: int, tmp_path: Path
) -> None:
    name, read = READERS[kind]
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, size)
    began = time.monotonic()
    with pytest.raises(UserError, match=f"{name}: has {size:,} bytes, expected at most"):
        read(tmp_path / name)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("kind", [*READERS, "model.safetensors", "a.bin", "a.pt", "a.pdparams"])
def test_a_fifo_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    name, read = READERS.get(kind, (kind, read_weights))
    os.mkfifo(tmp_path / name)
    # Where a folder is searched, a FIFO is no file.
    with pytest.raises(UserError, match=r"expected a regular file|in this folder"):
        read(tmp_path / name)


def test_a_fifo_among_shards_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"00001\.safetensors: is a FIFO"):
        read_weights(tmp_path)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/random"])
def test_a_device_is_refused(path: str) -> None:
    with pytest.raises(WeightsError, match=f"{path}: is a FIFO, a device"):
        open_file(Path(path))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_vocabulary_of_millions_of_empty_lines_is_refused(end: str, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(end.encode() * (30_000_000 // len(end)))
    with bounded(), pytest.raises(UserError, match="lines, expected at most 1,000,000"):
        Vocabulary.load(path)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_of_a_vocabulary_are_those_of_a_text_file(
    end: str, last: bool, tmp_path: Path
) -> None:
    path = tmp_path / "vocab.txt"
    for tokens in (["a"], ["a", "", "b\x0b\x85\u2028c"], ["", "a", ""]):
        path.write_bytes("".join(["\ufeff", end.join(tokens), end * last]).encode())
        with path.open(encoding="utf-8-sig") as file:
            assert Vocabulary.load(path).tokens == [line.rstrip("\n") for line in file]


HEADERS = {
    "tensors": ",".join(
        f'"{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for n in range(150_000)
    ),
    "notes": '"__metadata__":{' + ",".join(f'"{n}":""' for n in range(1_000_000)) + "}",
    "axes": '"a":{"dtype":"F32","data_offsets":[0,0],"shape":[' + "0," * 7_000_000 + "0]}",
    "nested": '"a":' + "[" * 600_000 + "]" * 600_000,
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("read", [read_safetensors, read_metadata])
def test_a_header_of_more_than_any_model_has_is_refused(
    kind: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = safetensors(tmp_path / "a.safetensors", b"{" + HEADERS[kind].encode() + b"}")
    with bounded(), pytest.raises(WeightsError, match=f"has more than {MAX_VALUES:,} values"):
        read(path)


def test_a_header_of_spaces_is_refused_by_its_size(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "a.safetensors", b"{}".ljust(40 << 20))
    with bounded(), pytest.raises(WeightsError, match=r"header of 41,943,040 bytes"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"id2label": {' + ",".join(f'"{n}": "a"' for n in range(900_000)) + "}}",
        '{"weight_map": {' + ",".join(f'"{n}": "a.bin"' for n in range(700_000)) + "}}",
        '{"a": [' + "{}," * 600_000 + "{}]}",
    ],
    ids=["labels", "tensors", "objects"],
)
@pytest.mark.parametrize("kind", ["config", "settings", "index"])
def test_json_of_more_values_than_any_model_has_is_refused(
    text: str, kind: str, tmp_path: Path
) -> None:
    name, read = READERS[kind]
    (tmp_path / name).write_text(text)
    with bounded(), pytest.raises(UserError, match=f"{name}: has more than {MAX_VALUES:,} values"):
        read(tmp_path / name)


def test_as_many_labels_and_tensors_as_large_models_have_are_read(tmp_path: Path) -> None:
    labels = {str(n): f"a label of an ordinary length, number {n}" for n in range(30_000)}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels}, indent=2))
    with bounded():
        assert BertConfig.from_pretrained(tmp_path).num_labels == 30_000
    index = {"weight_map": {f"encoder.layer.{n}.weight": "a.bin" for n in range(100_000)}}
    (tmp_path / "a.index.json").write_text(json.dumps(index))
    assert len(read_index(tmp_path / "a.index.json")) == 100_000


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"b": [-Infinity]}', '{"c": {"d": Infinity}}'])
@pytest.mark.parametrize("kind", ["config", "settings", "index"])
def test_numbers_that_json_lacks_are_named(text: str, kind: str, tmp_path: Path) -> None:
    name, read = READERS[kind]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}: .*(NaN|Infinity) is no number of JSON"):
        read(tmp_path / name)


@pytest.mark.parametrize("number", ["1e999", "-1e400"])
def test_a_number_of_json_that_no_float_holds_is_no_size(number: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"initializer_range": {number}}}')
    with pytest.raises(UserError, match=r"config\.json: initializer_range must be a number from 0"):
        BertConfig.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="initializer_range must be a number from 0"):
        BertConfig(initializer_range=float("nan"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"hidden_size": 24, "vocab_size": 9, "hidden_size": 48}', "hidden_size"),
        ('{"weight_map": {"a": "x.bin", "b": "x.bin", "b": "y.bin"}}', "b"),
        ('{"weight_map": {}, "deep": [{"k": {"": 1, "": 1}}]}', ""),
    ],
)
@pytest.mark.parametrize("kind", ["config", "settings", "index"])
def test_a_name_that_comes_twice_is_named(text: str, named: str, kind: str, tmp_path: Path) -> None:
    name, read = READERS[kind]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}: .*it has '{named}' twice"):
        read(tmp_path / name)


def test_a_tensor_that_comes_twice_in_a_header_is_named(tmp_path: Path) -> None:
    one = '"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    path = safetensors(tmp_path / "a.safetensors", f"{{{one},{one}}}".encode())
    with pytest.raises(WeightsError, match="it has 'a' twice"):
        read_safetensors(path)


@pytest.mark.parametrize("depth", [900, 3_000, 400_000])
def test_json_that_is_nested_deep_is_no_traceback(depth: int, tmp_path: Path) -> None:
    raw = b"[" * depth + b"]" * depth
    with suppress(WeightsError):
        parse_json(raw, tmp_path)


@pytest.mark.parametrize("raw", [b"\xff\xfe{\0}\0", b"{'a': 1}", b"", b"{} {}", b'{"a": "\xe9"}'])
@pytest.mark.parametrize("kind", ["config", "settings", "index"])
def test_what_is_no_json_in_utf_8_is_named(raw: bytes, kind: str, tmp_path: Path) -> None:
    name, read = READERS[kind]
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(UserError, match=f"{name}: expected JSON in UTF-8"):
        read(tmp_path / name)


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        read_model(tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_model(tmp_path)


@pytest.mark.parametrize("task", ["STS-B", "RTE"])
def test_a_fifo_in_place_of_a_table_is_refused(task: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.tsv")
    with pytest.raises(DataError, match=r"train\.tsv: is a FIFO"):
        read_examples(glue_task(task), "train", tmp_path)


def test_a_fifo_in_place_of_a_table_of_a_language_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dev_2k.tsv")
    with pytest.raises(DataError, match=r"dev_2k\.tsv: is a FIFO"):
        _header(tmp_path / "dev_2k.tsv", PAWS_X)
