"""All layers of a few tokens in one call, against the same layers one by one."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import Tensor

from paddlenlp_ext.nn.attention import Attention, Mask, mask_of
from paddlenlp_ext.nn.cpu import few
from paddlenlp_ext.nn.cpu.layers import Linear
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from paddlenlp_ext.nn.positions import FIRST, LAST, TOKENS, Positions

pytestmark = [
    pytest.mark.usefixtures("kernels"),
    pytest.mark.skipif(not few._has_vectors(), reason="the processor has no AVX2"),
]
READ = np.array([[2, 0, 2], [0, 1, 1]])


def make(hidden: int, heads: int, inner: int, layers: int = 3, act: str = "gelu") -> Encoder:
    paddle.seed(hidden)
    encoder = Encoder(
        EncoderLayer(
            Attention(hidden, heads, 0.1),
            Linear(hidden, inner),
            Linear(inner, hidden),
            hidden_act=act,
            hidden_size=hidden,
            layer_norm_eps=1e-5,
            dropout=0.1,
        )
        for _ in range(layers)
    )
    for parameter in encoder.parameters():  # biases and LayerNorms too
        parameter.set_value(parameter + 0.2 * paddle.randn(parameter.shape))
    encoder.eval()
    return encoder


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call was for the kernel."""
    found: list[bool] = []

    can_encode = few.can_encode

    def looking(*arguments: Any) -> bool:
        found.append(can_encode(*arguments))
        return found[-1]

    monkeypatch.setattr(few, "can_encode", looking)
    return found


@paddle.no_grad()
def both(
    encoder: Encoder, states: Tensor, mask: Mask | None, positions: Positions | None, **asked: bool
) -> tuple[np.ndarray, np.ndarray]:
    found = encoder(states, mask, positions=positions, **asked).last_hidden_state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few, "MOST", 0)
        expected = encoder(states, mask, positions=positions, **asked).last_hidden_state
    assert found.shape == expected.shape
    return found.numpy(), expected.numpy()


SHAPES = [(32, 2, 48), (48, 1, 160), (160, 10, 16), (208, 13, 336)]


@pytest.mark.parametrize(("hidden", "heads", "inner"), SHAPES)
@pytest.mark.parametrize("length", [1, 5, 12, 29])
def test_one_text(hidden: int, heads: int, inner: int, length: int, seen: list[bool]) -> None:
    """Any number of rows, of vectors and of blocks of them."""
    encoder = make(hidden, heads, inner)
    states = paddle.randn([1, length, hidden])
    for positions in (FIRST, LAST, None):
        np.testing.assert_allclose(*both(encoder, states, None, positions), rtol=2e-5, atol=2e-5)
    assert seen == [True, False] * 3


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("positions", [FIRST, LAST, TOKENS, None, "chosen"])
@pytest.mark.parametrize("second", [4, 7])
def test_texts(act: str, positions: Positions | str | None, second: int, seen: list[bool]) -> None:
    """Of one length, and with padding, which is left out unless it is read."""
    encoder = make(32, 2, 48, act=act)
    states = paddle.randn([2, 7, 32])
    mask = mask_of(paddle.to_tensor(np.arange(7) < np.array([[7], [second]])))
    chosen = paddle.to_tensor(READ) if positions == "chosen" else positions
    found, expected = both(encoder, states, mask, chosen)
    reads_padding = second < 7 and (positions is None or positions is LAST)
    assert seen == [not reads_padding, False]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_more_are_read_than_there_are() -> None:
    """The first token fills up rows of which fewer are read than of others."""
    encoder = make(48, 1, 160)
    states = paddle.randn([3, 7, 48])
    mask = mask_of(paddle.to_tensor(np.arange(7) < np.array([[7], [1], [1]])))
    read = np.zeros((3, 6), np.int64)
    read[0] = range(6)
    found, expected = both(encoder, states, mask, paddle.to_tensor(read))
    assert found.shape == (3, 6, 48)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


LENGTHS = {
    "one text": [14],
    "texts for each thread": [29, 31, 17, 30, 29, 1, 24, 31, 30, 22, 31, 28, 31, 19],
    "one text is most": [31, 2, 130, 1],
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("positions", [FIRST, TOKENS])
def test_threads_change_nothing(lengths: list[int], positions: Positions, seen: list[bool]) -> None:
    """More of them than vectors of a row, too; whether they share texts or have their own."""
    threads = ctypes.CDLL("libgomp.so.1")
    encoder = make(160, 10, 16)
    states = paddle.randn([len(lengths), max(lengths), 160])
    mask = mask_of(paddle.to_tensor(np.arange(max(lengths)) < np.array(lengths)[:, None]))
    before, found = threads.omp_get_max_threads(), []
    for number in (1, 2, 3, 9):
        threads.omp_set_num_threads(number)
        with paddle.no_grad():
            output = encoder(states, mask, positions=positions)
        found.append(output.last_hidden_state.numpy())
    threads.omp_set_num_threads(before)
    assert all(np.array_equal(one, found[0]) for one in found)
    assert all(seen)
    expected = both(encoder, states, mask, positions)[1]
    np.testing.assert_allclose(found[0], expected, rtol=2e-5, atol=2e-5)


def test_what_it_leaves_to_others(seen: list[bool]) -> None:
    encoder = make(32, 2, 48)
    states = paddle.randn([1, 6, 32])
    encoder(states, None)  # with gradients
    with paddle.no_grad():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(few, "MOST", states.size - 1)
            encoder(states, None)
        encoder(paddle.randn([0, 6, 32]), None)
        encoder(states, mask_of(paddle.ones([1, 6], "int64"), causal=True))
        encoder.train()
        encoder(states, None)
        encoder.eval()
        encoder.layers[1].is_compiled = False
        encoder(states, None)
        encoder.layers[1].is_compiled = True
        called: list[object] = []
        hook = encoder.layers[2].register_forward_post_hook(lambda *_: called.append(1))
        encoder(states, None)
        hook.remove()
        make(24, 2, 48)(states[:, :, :24], None)
        make(32, 2, 40)(states, None)
        assert called
        assert not any(seen)
        assert len(seen) == 9
        for asked in ("output_hidden_states", "output_attentions"):
            encoder(states, None, **{asked: True})
        assert len(seen) == 9
        encoder(states, None)
        encoder.skips_unread = False
        found = encoder(states, None, positions=FIRST).last_hidden_state
        whole = encoder(states, None).last_hidden_state
    assert seen[9:] == [True] * 3
    assert np.array_equal(found.numpy(), whole.numpy()[:, :1])
