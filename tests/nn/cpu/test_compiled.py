"""The kernels in C alone, and how an installation comes to have them or not."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.nn.cpu import compiled

ROOT = Path(__file__).parents[3]


def activate(
    kernels: compiled.Kernels, values: np.ndarray, kind: str, dropout: compiled.Dropout
) -> tuple[np.ndarray, np.ndarray]:
    """The activated numbers and the slopes; values float32 [T, F]."""
    numbers, bias = values.astype("float32"), np.zeros(values.shape[1], "float32")
    slopes = np.empty_like(numbers)
    number = compiled.ACTIVATIONS.index(kind)
    given = compiled.Activation(numbers, bias, slopes, *values.shape, number, dropout)
    kernels.call("activate", given)
    return numbers, slopes


NONE = compiled.Dropout.of(0, 0.0)


def test_what_a_description_points_to_lives_as_long():
    places = np.arange(5, dtype=np.int32)
    seen = weakref.ref(places)
    window = compiled.Window(places, None, 1, 5, 5, 3)
    assert (window.places, window.real) == (places.ctypes.data, None)
    around = compiled.Depthwise(None, None, None, 8, window, None, None, None)
    del places, window
    assert seen() is not None
    del around
    assert seen() is None


def test_a_thread_beside_changes_nothing(kernels):
    """One that allocates takes at once what is freed too early."""
    config = BertConfig(
        vocab_size=31, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=40, max_position_embeddings=19,
    )  # fmt: skip
    model = BertModel(config, with_pooler=False)
    model.eval()
    ids = paddle.to_tensor(np.random.default_rng(1).integers(1, 31, (7, 11)))

    def gradients() -> list[np.ndarray]:
        model(ids).last_hidden_state.square().sum().backward()
        found = [one.grad.numpy() for one in model.parameters() if one.grad is not None]
        model.clear_gradients()
        return found

    expected, is_over = gradients(), threading.Event()

    def allocate() -> None:
        while not is_over.is_set():
            _ = [np.full(8, -7, np.int32) for _ in range(50)]

    thread = threading.Thread(target=allocate)
    thread.start()
    try:
        for _ in range(100):
            for got, want in zip(gradients(), expected, strict=True):
                np.testing.assert_array_equal(got, want)
    finally:
        is_over.set()
        thread.join()


def test_gelu_is_exact_to_rounding(kernels):
    values = np.linspace(-15, 15, 30_011).astype("float32").astype(float)
    below = np.array([math.erfc(-x / math.sqrt(2)) / 2 for x in values])
    slopes = below + values * np.exp(-values * values / 2) / math.sqrt(2 * math.pi)
    found = activate(kernels, values[None], "gelu", NONE)
    for got, expected in zip(found, (values * below, slopes), strict=True):
        assert (abs(got[0] - expected) <= 2e-7 * np.maximum(1, abs(values))).all()


def test_gelu_by_tanh_is_exact_to_rounding(kernels):
    values = np.linspace(-15, 15, 30_011).astype("float32").astype(float)
    inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
    steepness = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * values**2)
    expected = values / 2 * (1 + np.tanh(inner))
    slopes = (1 + np.tanh(inner)) / 2 + values / 2 * steepness / np.cosh(inner) ** 2
    found = activate(kernels, values[None], "tanh_gelu", NONE)
    for got, wanted in zip(found, (expected, slopes), strict=True):
        assert (abs(got[0] - wanted) <= 4e-7 * np.maximum(1, abs(values))).all()


@pytest.mark.parametrize("kind", compiled.ACTIVATIONS)
def test_far_numbers_and_none(kind, kernels):
    far = np.array([[1e4, -1e4, 1e30, -1e30, np.inf, np.nan, 0.0]])
    numbers, slopes = activate(kernels, far, kind, NONE)
    np.testing.assert_array_equal(
        numbers[0], [np.float32(1e4), 0, np.float32(1e30), 0, *far[0, 4:]]
    )
    np.testing.assert_allclose(slopes[0, :5], [1, 0, 1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_without_patterns(share, kernels):
    """Of a million numbers: the share, and that of neighbours in rows, columns and seeds."""
    rows, columns = 1009, 997

    def kept(seed: int) -> np.ndarray:
        dropout = compiled.Dropout.of(seed, share)
        return activate(kernels, np.ones((rows, columns)), "relu", dropout)[0]

    first = kept(7)
    assert first.max() == pytest.approx(1 / (1 - share), rel=1e-6)
    dropped = first == 0
    bound = 5 * math.sqrt(share * (1 - share) / dropped.size)
    assert abs(dropped.mean() - share) < bound
    pairs = {
        "columns": (dropped[:, 1:], dropped[:, :-1]),
        "rows": (dropped[1:], dropped[:-1]),
        "vectors": (dropped[:, 16:], dropped[:, :-16]),
        "places of a layer": (dropped, kept(8) == 0),
        "layers": (dropped, kept(7 + 4 * 12345) == 0),
    }
    for name, (one, other) in pairs.items():
        deviation = abs((one & other).mean() - share**2)
        assert deviation < 5 * share * (1 - share) / math.sqrt(one.size) + 2 * bound * share, name
    spread = math.sqrt(share * (1 - share))
    for axis, length in ((0, rows), (1, columns)):
        deviations = (dropped.mean(axis) - share) / (spread / math.sqrt(length))
        assert 0.9 < deviations.std() < 1.1


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    places = ("--build-lib", str(folder), "--build-temp", str(folder / "temporary"))
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext", *places],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip


def test_an_installation_without_a_compiler_has_none_and_says_so(tmp_path):
    pytest.importorskip("setuptools", "77")
    done = build(tmp_path / "built", PATH=str(tmp_path), CC="")
    assert done.returncode == 0, done.stderr
    assert 'building extension "paddlenlp_ext.nn.cpu._kernels" failed' in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.parametrize("content", [None, b"", b"no library"])
def test_none_where_there_is_none(content, tmp_path, monkeypatch):
    path = tmp_path / "_kernels.c.so"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(compiled, "LIBRARY", path)
    compiled.kernels.cache_clear()
    assert compiled.kernels() is None
    compiled.kernels.cache_clear()


FORKED = """
import os, signal, sys
from pathlib import Path
import paddle
from paddlenlp_ext.nn.cpu.compiled import Kernels
kernels, numbers = Kernels(Path(sys.argv[1])), paddle.ones([1 << 20])
expected = kernels.sum_squares(numbers)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.alarm(20)
os._exit(kernels.sum_squares(numbers) != expected)
"""


def test_a_fork_computes_though_it_has_no_threads(library):
    several = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", FORKED, str(library)]
    assert subprocess.run(command, env=several).returncode == 0
