from __future__ import annotations

import pickle
import time
import tracemalloc
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.formats.pdparams import read_pdparams, read_pickle, write_pdparams
from tests.weights.arrays import STATES, Arrays, assert_equal
from tests.weights.opcodes import array, call, many, mapping, name, pickled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pdparams")


def state() -> Arrays:
    random = np.random.default_rng(3)
    return {
        "encoder.weight": random.normal(size=(3, 5)).astype("f4"),
        "encoder.bias": random.normal(size=5).astype("f4"),
        "scalar": np.array(2.5, "f4"),
        "nothing": np.ones((2, 0), "f4"),
        "ids": np.arange(7),
        "half": random.normal(size=(2, 3)).astype("f2"),
        "switch": np.array([True, False]),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reads_what_paddle_saves(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    saved = {name: paddle.to_tensor(value) for name, value in state().items()}
    paddle.save(saved, str(path), protocol=protocol)
    assert_equal(read_pdparams(path), {name: value.numpy() for name, value in saved.items()})


@given(STATES)
def test_writes_what_paddle_loads(folder: Path, tensors: Arrays) -> None:
    path = folder / "model_state.pdparams"
    write_pdparams(path, tensors)
    assert_equal(read_pdparams(path), tensors)
    assert_equal(paddle.load(str(path), return_numpy=True), tensors)


def test_paddle_loads_tensors_not_arrays(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    write_pdparams(path, {"weight": np.ones((2, 3), "f4").T})
    loaded = paddle.load(str(path))["weight"]
    assert isinstance(loaded, paddle.Tensor)
    layer = paddle.nn.Linear(3, 2)
    missing, unexpected = layer.set_state_dict({"weight": loaded, "bias": layer.bias})
    assert missing == unexpected == []


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    values = paddle.randn([3, 5]).astype("bfloat16")
    paddle.save({"weight": values}, str(path))
    assert_equal(read_pdparams(path), {"weight": values.astype("float32").numpy()})


def test_arrays_lie_in_the_file_and_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    write_pdparams(path, state())
    weight = read_pdparams(path)["encoder.weight"]
    assert not weight.flags.owndata
    assert not weight.flags.writeable
    paddle.nn.Linear(3, 5).weight.set_value(weight)  # also where the file does not align it


def test_names_with_arrays_of_older_versions(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    values = state()["encoder.weight"]
    path.write_bytes(pickle.dumps({"weight": ("linear_0.w_0", values)}, 2))
    assert_equal(read_pdparams(path), {"weight": values})


def test_both_module_names_of_numpy(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    older = pickled(mapping(weight=array((2, 3), np.arange(6, dtype="f4").tobytes())))
    assert b"numpy.core." in older
    for data in (older, older.replace(b"numpy.core.", b"numpy._core.")):
        path.write_bytes(data)
        assert_equal(read_pdparams(path), {"weight": np.arange(6, dtype="f4").reshape(2, 3)})


def test_fortran_order_and_shared_arrays(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    values = np.asfortranarray(state()["encoder.weight"])
    path.write_bytes(pickle.dumps({"a": values, "b": values}, 4))
    found = read_pdparams(path)
    assert_equal(found, {"a": values, "b": values})
    assert found["a"] is found["b"]


def test_optimizer_states(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdopt"
    layer = paddle.nn.Linear(3, 5)
    rate = paddle.optimizer.lr.LambdaDecay(0.25, lambda step: 1.0)
    optimizer = paddle.optimizer.AdamW(rate, parameters=layer.parameters())
    layer(paddle.ones([2, 3])).sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    paddle.save(saved, str(path))
    found = read_pickle(path)
    assert found["LR_Scheduler"] == saved["LR_Scheduler"]
    moment = next(name for name in saved if name.endswith("moment1_0"))
    np.testing.assert_array_equal(found[moment], saved[moment].numpy())


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    for content, named in (({"step": 3}, "'step'"), ({"a": {"b": 1}}, "'a'"), ([1], "list")):
        path.write_bytes(pickle.dumps(content, 4))
        with pytest.raises(WeightsError, match=named):
            read_pdparams(path)


def test_what_follows_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    write_pdparams(path, state())
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="goes on after its end"):
        read_pdparams(path)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    write_pdparams(path, state())
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(WeightsError, match=r"model_state\.pdparams"):
            read_pdparams(path)


def test_sizes_of_thousands_of_digits_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    for size in (0, 2**62, 2**2030):
        path.write_bytes(pickled(mapping(weight=array((size,) * 5000, b""))))
        start = time.perf_counter()
        with pytest.raises(WeightsError) as caught:
            read_pdparams(path)
        assert len(str(caught.value)) < 400
        assert time.perf_counter() - start < 1


def test_a_type_that_would_be_endless_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    doubled = b")q\x01" + b"h\x01h\x01\x86q\x01" * 60
    dtype = call(name("numpy", "dtype"), many(doubled + b"h\x01"))
    path.write_bytes(pickled(mapping(weight=dtype)))
    with pytest.raises(WeightsError, match="type tuple is none of a tensor"):
        read_pdparams(path)


def test_names_that_would_fill_a_message_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(pickle.dumps({"x" * 100_000: np.ones(2)}, 4))
    with pytest.raises(WeightsError, match="is no tensor") as caught:
        read_pdparams(path)
    assert len(str(caught.value)) < 400


def test_repeated_bfloat16_cannot_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    values = np.zeros(100_000, "u2")
    path.write_bytes(pickle.dumps({str(n): values for n in range(1000)}, 4))
    with pytest.raises(WeightsError, match="more often than it is long"):
        read_pdparams(path)


def test_types_that_no_weight_has_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    for values in (np.array(["a"]), np.array([None]), np.zeros(2, "c8"), np.zeros(2, "M8[s]")):
        with pytest.raises(WeightsError, match="which no weight has"):
            write_pdparams(path, {"weight": values})
    assert not path.exists()


def test_large_files_need_no_memory_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    write_pdparams(path, {"weight": np.zeros((1000, 10_000), "f4")})
    tracemalloc.start()
    assert read_pdparams(path)["weight"].nbytes == 40_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
