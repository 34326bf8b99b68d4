from __future__ import annotations

import pickle
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.formats.pickles import MAX_INSTRUCTIONS, Unpickler
from tests.weights.opcodes import (
    MEMOIZE,
    STOP,
    call,
    mapping,
    name,
    number,
    proto,
    stack_name,
    text,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False)
    | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=9) | st.integers(-9, 2**40), inner, max_size=5)
    ),
    max_leaves=20,
)


def load(data: bytes, **options: object) -> object:
    return Unpickler(memoryview(data), "some.pdparams", **{"allowed": {}, **options}).load()


@given(PLAIN, st.sampled_from([2, 3, 4]))
def test_reads_plain_containers_as_pickle_does(value: object, protocol: int) -> None:
    assert load(pickle.dumps(value, protocol)) == value


def test_keeps_identity_and_cycles() -> None:
    shared: list[object] = [1]
    cycle: list[object] = [shared, shared]
    cycle.append(cycle)
    found = load(pickle.dumps(cycle, 4))
    assert isinstance(found, list)
    assert found[0] is found[1]
    assert found[2] is found


def test_bytes_stay_where_they_are() -> None:
    data = memoryview(pickle.dumps(b"x" * 1000, 4))
    found = Unpickler(data, "some.pdparams", {}).load()
    assert isinstance(found, memoryview)
    assert found.obj is data.obj
    assert found == b"x" * 1000


def test_python2_text() -> None:
    assert load(b"\x80\x02U\x03a\xe9b.") == "a\xe9b"


def test_newer_protocols_are_named() -> None:
    with pytest.raises(WeightsError, match="is a pickle of protocol 5, expected at most 4"):
        load(pickle.dumps([], 5))


def test_several_pickles_follow_each_other() -> None:
    data = pickle.dumps([1], 2) + pickle.dumps({"a": 2}, 4) + b"rest"
    unpickler = Unpickler(memoryview(data), "some.bin", {})
    assert [unpickler.load(), unpickler.load()] == [[1], {"a": 2}]
    assert data[unpickler.position :] == b"rest"


def test_calls_what_stands_behind_a_name_and_nothing_else() -> None:
    def double(value: object) -> object:
        if not isinstance(value, int):
            raise TypeError("no number")
        return value * 2

    allowed = {("os", "system"): double}
    for function in (name("os", "system"), stack_name("os", "system")):
        assert load(proto(4) + call(function, number(21)) + STOP, allowed=allowed) == 42
        with pytest.raises(WeightsError, match=r"damaged tensor \(no number"):
            load(proto(4) + call(function, text("ls")) + STOP, allowed=allowed)


@pytest.mark.parametrize(
    ("module", "attribute"), [("os", "system.x"), ("os.x", "system"), ("posix", "system"), ("", "")]
)
def test_names_are_compared_whole(module: str, attribute: str) -> None:
    for function in (name(module, attribute), stack_name(module, attribute)):
        with pytest.raises(WeightsError, match="asks for"):
            load(proto(4) + function + STOP, allowed={("os", "system"): len})


def test_a_refusal_is_one_line_with_file_and_name() -> None:
    with pytest.raises(WeightsError) as caught:
        load(stack_name("os\n\x1b[2J", "sys\ntem") + STOP)
    assert str(caught.value).startswith("some.pdparams: asks for ")
    assert "sys\\ntem" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_one_error(data: bytes) -> None:
    with suppress(WeightsError):
        load(data)


@given(PLAIN, st.data())
def test_every_cut_is_noticed(value: object, data: st.DataObject) -> None:
    whole = pickle.dumps(value, 4)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WeightsError):
        load(whole[:cut])


# Bytes of the pickle, and what the refusal says.
BOMBS = {
    "one empty dictionary a byte": (proto(4) + b"}" * 1_500_000 + STOP, "instructions"),
    "marks": (proto(4) + b"(" * 1_500_000 + STOP, "instructions"),
    # Each list holds the one before twice: 2**10000 elements if anyone unfolded it.
    "laughing lists": (proto(4) + b"]\x94" + b"](h\x00h\x00e\x94" * 10_000 + STOP, "damaged"),
    "memo far away": (proto(4) + b"]r\xff\xff\xff\xff" * 10_000 + STOP, "damaged"),
    "long integer": (proto(4) + b"\x8b\x00\x00\x00\x7f" + b"\xff" * 99 + STOP, "instruction 0x8b"),
    "bytes of an exabyte": (proto(4) + b"\x8e" + b"\xff" * 7 + b"\x0f" + STOP, "cut off"),
    "text of an exabyte": (proto(4) + b"\x8d" + b"\xff" * 7 + b"\x0f" + STOP, "cut off"),
    "deep tuples as a key": (proto(4) + b"}N" + b"\x85" * 100_000 + b"Ns" + STOP, "damaged"),
    "one text turned into bytes often": (
        proto(4)
        + text("x" * 1_000_000)
        + MEMOIZE
        + call(name("a", "encode"), b"h\x00") * 5000
        + STOP,
        "more memory",
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_quickly_and_in_little_memory(bomb: str) -> None:
    def encode(value: object) -> object:
        return str(value).encode()

    data, reason = BOMBS[bomb]
    began = time.perf_counter()
    with pytest.raises(WeightsError, match=reason):
        load(data, allowed={("a", "encode"): encode})
    assert time.perf_counter() - began < 3  # under a second on an idle machine


def test_the_limit_of_instructions_bounds_memory() -> None:
    tracemalloc.start()
    with pytest.raises(WeightsError, match="instructions"):
        load(BOMBS["one empty dictionary a byte"][0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_honest_files_are_far_from_the_limit() -> None:
    # Five tensors a parameter in an optimizer's state, some 60 instructions each.
    assert MAX_INSTRUCTIONS > 200 * 16 * 5 * 60


def test_keys_must_be_text_or_small_numbers() -> None:
    for key in (b"N", b")", number(2**60), b"\x88"):
        with pytest.raises(WeightsError):
            load(proto(4) + b"}" + key + b"Ns" + STOP)
    assert load(proto(4) + mapping(a=number(1)) + STOP) == {"a": 1}
