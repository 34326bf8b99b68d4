"""GELU and products of matrices by oneDNN, a library that Paddle's packages for x86 bring along.

Paddle calls it only in programs. Here it is called by its C interface, which stays as it is through
version 3: https://uxlfoundation.github.io/oneDNN/group_dnnl_api.html
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import paddle
from paddle import Tensor

from paddlenlp_ext.process import runtime

LIBRARY = Path(paddle.__file__).parent / "libs/libdnnl.so.3"
MAJOR = 3  # version whose numbers follow
CPU, IN_ORDER, UNDEFINED, MAX_AXES = 1, 1, 0, 12
BFLOAT16, FLOAT32 = 2, 3
FORWARD_TRAINING, GELU_ERF = 64, 0x31
SOURCE, RESULT, WEIGHTS, SOURCE_GRADIENT, RESULT_GRADIENT = 1, 17, 33, 129, 145

CHECKED = (-6.0, -1.5, -0.1, 0.0, 0.7, 2.0, 5.0)  # numbers whose GELU is compared with Python's
CLOSE = 1e-5
MOST = 1024  # products of different sizes that are kept; batches without padding have many


Loaded = TypeVar("Loaded", bound="OneDnn")


class _Argument(ctypes.Structure):
    _fields_ = (("index", c_int), ("memory", c_void_p))


class _Product(NamedTuple):
    """What a product of two matrices is made for."""

    a: tuple[int, ...]
    b: tuple[int, ...]
    turn_a: bool
    turn_b: bool
    adds: bool
    dtype: int


class OneDnn:
    """The library, and where it computes: on this CPU.

    What it computes with serves one thread at a time, so each of several at once has its own.

    Args:
        library: Path of oneDNN.

    Raises:
        OSError: It cannot be loaded, or is of another version.
    """

    def __init__(self, library: Path) -> None:
        self._path = library
        self._idle: list[Any] = [self]
        self._library = ctypes.CDLL(str(library))
        self._library.dnnl_version.restype = POINTER(c_int)
        if self._library.dnnl_version()[0] != MAJOR:
            raise OSError(f"{library}: is not of version {MAJOR}")
        self._engine, self._stream = c_void_p(), c_void_p()
        self._call("engine_create", byref(self._engine), c_int(CPU), c_size_t(0))
        self._call("stream_create", byref(self._stream), self._engine, c_int(IN_ORDER))

    def is_right(self) -> bool:
        """Compare a few results with Python's."""
        raise NotImplementedError

    @contextmanager
    def _alone(self: Loaded) -> Iterator[Loaded]:
        """Lend this object, or one like it, to a thread; there are as many as compute at once."""
        try:
            lent = self._idle.pop()
        except IndexError:
            lent = type(self)(self._path)
        try:
            yield lent
        finally:
            self._idle.append(lent)

    def _layout(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: int) -> c_void_p:
        axes, layout = c_int64 * MAX_AXES, c_void_p()
        self._call(
            "memory_desc_create_with_strides",
            byref(layout), c_int(len(shape)), axes(*shape), c_int(dtype), axes(*strides),
        )  # fmt: skip
        return layout

    def _primitive(self, description: c_void_p) -> c_void_p:
        primitive = c_void_p()
        self._call("primitive_create", byref(primitive), description)
        self._call("primitive_desc_destroy", description)
        return primitive

    def _execute(self, primitive: c_void_p, *operands: tuple[int, c_void_p, int]) -> None:
        """Compute; of each operand its index, its layout and its address."""
        arguments = (_Argument * len(operands))()
        for argument, (index, layout, address) in zip(arguments, operands, strict=True):
            memory = c_void_p()
            self._call("memory_create", byref(memory), layout, self._engine, c_void_p(address))
            argument.index, argument.memory = index, memory
        self._call("primitive_execute", primitive, self._stream, c_int(len(operands)), arguments)
        self._call("stream_wait", self._stream)
        for argument in arguments:
            self._call("memory_destroy", c_void_p(argument.memory))

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self._library, f"dnnl_{name}")(*arguments):
            raise RuntimeError(f"oneDNN: {name} failed with status {status}")


class Gelu(OneDnn):
    """The exact GELU, `x (1 + erf(x / √2)) / 2`, of float32 numbers that lie one behind another."""

    def __init__(self, library: Path) -> None:
        super().__init__(library)
        # What is made for a count stays: it is small, and a run has few different ones.
        self._made = cache(self._make)

    def forward(self, count: int, source: int, result: int) -> None:
        """Compute the GELU of `count` numbers, from address to address."""
        with self._alone() as own:
            layout, forward, _ = own._made(count)
            own._execute(forward, (SOURCE, layout, source), (RESULT, layout, result))

    def backward(self, count: int, source: int, gradient: int, result: int) -> None:
        """Compute the gradient of the numbers at `source` from that of their GELU."""
        with self._alone() as own:
            layout, _, backward = own._made(count)
            own._execute(
                backward,
                (SOURCE, layout, source),
                (RESULT_GRADIENT, layout, gradient),
                (SOURCE_GRADIENT, layout, result),
            )

    def is_right(self) -> bool:
        """Compare a few numbers with Python's."""
        array = c_float * len(CHECKED)
        numbers, ones, results, slopes = (
            array(*CHECKED),
            array(*[1.0] * len(CHECKED)),
            array(),
            array(),
        )
        places = [ctypes.addressof(one) for one in (numbers, ones, results, slopes)]
        self.forward(len(CHECKED), places[0], places[2])
        self.backward(len(CHECKED), places[0], places[1], places[3])
        return all(
            abs(result - x * below) < CLOSE and abs(slope - below - x * density) < CLOSE
            for x, result, slope in zip(CHECKED, results, slopes, strict=True)
            for below in [(1 + math.erf(x / math.sqrt(2))) / 2]
            for density in [math.exp(-x * x / 2) / math.sqrt(2 * math.pi)]
        )

    def _make(self, count: int) -> tuple[c_void_p, c_void_p, c_void_p]:
        """Describe `count` numbers, and make what computes their GELU and its gradient."""
        none, forward, backward = c_float(0), c_void_p(), c_void_p()
        layout = self._layout((count,), (1,), FLOAT32)
        self._call(
            "eltwise_forward_primitive_desc_create",
            byref(forward), self._engine, c_int(FORWARD_TRAINING), c_int(GELU_ERF),
            layout, layout, none, none, None,
        )  # fmt: skip
        self._call(
            "eltwise_backward_primitive_desc_create",
            byref(backward), self._engine, c_int(GELU_ERF),
            layout, layout, layout, none, none, forward, None,
        )  # fmt: skip
        # The gradient's description refers to the other's, which its primitive keeps.
        made = self._primitive(backward)
        return layout, self._primitive(forward), made


class Products(OneDnn):
    """Products of two matrices, float32 or bfloat16, with a float32 result."""

    checked = "float32"

    def __init__(self, library: Path) -> None:
        super().__init__(library)
        self._made: dict[_Product, tuple[c_void_p, tuple[c_void_p, ...]]] = {}

    def multiply(
        self, a: Tensor, b: Tensor, result: Tensor, turn_a: bool, turn_b: bool, adds: bool
    ) -> None:
        """Compute `a b` into a result, or add it to it; see `product`."""
        dtype = BFLOAT16 if a.dtype == paddle.bfloat16 else FLOAT32
        kind = _Product(tuple(a.shape), tuple(b.shape), turn_a, turn_b, adds, dtype)
        places = (a.data_ptr(), b.data_ptr(), result.data_ptr())
        with self._alone() as own:
            primitive, layouts = own._kept(kind)
            own._execute(primitive, *zip((SOURCE, WEIGHTS, RESULT), layouts, places, strict=True))

    def is_right(self) -> bool:
        """Compare a product that is added, of a turned matrix, with the same by hand."""
        a, b = (
            paddle.to_tensor(row, dtype=self.checked, place="cpu")
            for row in ([[1.0, 2.0, 3.0]], [[4.0, 5.0]])
        )
        result = paddle.to_tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], place="cpu")
        self.multiply(a, b, result, True, False, True)
        return bool(result.tolist() == [[5.0, 7.0], [11.0, 14.0], [17.0, 21.0]])

    def _kept(self, kind: _Product) -> tuple[c_void_p, tuple[c_void_p, ...]]:
        """Return what computes such products, made where there is none."""
        made = self._made.pop(kind) if kind in self._made else self._make(kind)
        self._made[kind] = made  # the last one: the first was not used longest
        if len(self._made) > MOST:
            self._forget(next(iter(self._made)))
        return made

    def _forget(self, kind: _Product) -> None:
        primitive, layouts = self._made.pop(kind)
        self._call("primitive_destroy", primitive)
        for layout in layouts:
            self._call("memory_desc_destroy", layout)

    def _make(self, kind: _Product) -> tuple[c_void_p, tuple[c_void_p, ...]]:
        a, b, turn_a, turn_b, adds, dtype = kind

        def layout(shape: tuple[int, ...], turned: bool) -> c_void_p:
            rows, columns = shape
            if turned:
                return self._layout((columns, rows), (1, columns), dtype)
            return self._layout((rows, columns), (columns, 1), dtype)

        shape = (a[1] if turn_a else a[0], b[0] if turn_b else b[1])
        layouts = (
            layout(a, turn_a),
            layout(b, turn_b),
            self._layout(shape, (shape[1], 1), FLOAT32),
        )
        attributes, operations, description = c_void_p(), c_void_p(), c_void_p()
        self._call("primitive_attr_create", byref(attributes))
        if adds:
            self._call("post_ops_create", byref(operations))
            self._call("post_ops_append_sum", operations, c_float(1), c_int32(0), c_int(UNDEFINED))
            self._call("primitive_attr_set_post_ops", attributes, operations)
            self._call("post_ops_destroy", operations)
        self._call(
            "matmul_primitive_desc_create",
            byref(description), self._engine, *layouts[:2], None, layouts[2], attributes,
        )  # fmt: skip
        self._call("primitive_attr_destroy", attributes)
        return self._primitive(description), layouts


class Bfloat16Products(Products):
    """The same where it has products of bfloat16 for the processor: on an x86-64 with AVX-512."""

    checked = "bfloat16"


def product(
    a: Tensor,
    b: Tensor,
    *,
    turn_a: bool = False,
    turn_b: bool = False,
    add_to: Tensor | None = None,
) -> Tensor:
    """Multiply matrices on a CPU, as fast as what is there can.

    Args:
        a: float32 or bfloat16 [M, K]; [K, M] if it is to be transposed.
        b: The same, [K, N]; [N, K] if it is to be transposed.
        turn_a: Transpose `a`.
        turn_b: Transpose `b`.
        add_to: What the product is added to, in place; float32 [M, N].

    Returns:
        The product, float32 [M, N], or `add_to`.
    """
    rows, columns = a.shape, b.shape
    shape = [rows[1 if turn_a else 0], columns[0 if turn_b else 1]]
    if 0 in rows or 0 in columns:  # which early versions of Paddle refuse
        return paddle.zeros(shape, "float32") if add_to is None else add_to
    library = bfloat16_products() if a.dtype == paddle.bfloat16 else products()
    if library is None:
        if a.dtype == paddle.bfloat16:
            a, b = a.astype("float32"), b.astype("float32")
        result = paddle.matmul(a, b, transpose_x=turn_a, transpose_y=turn_b)
        return result if add_to is None else add_to.add_(result)
    result = paddle.empty(shape, "float32") if add_to is None else add_to
    library.multiply(a, b, result, turn_a, turn_b, add_to is not None)
    return result


@cache
def gelu() -> Gelu | None:
    """Load the library; None where it is not there, or computes something else."""
    return _load(Gelu)


@cache
def bfloat16_products() -> Products | None:
    """Load the library; None where it is not there, or multiplies no bfloat16."""
    return _load(Bfloat16Products)


@cache
def products() -> Products | None:
    """Return what multiplies float32 matrices; None where Paddle's own product is faster, too.

    That it is on an Intel processor, where Paddle's products are MKL's and about twice as fast. On
    an AMD EPYC (Zen 4) it is as fast as MKL or somewhat faster.
    """
    if runtime.processor().get("vendor_id") == "GenuineIntel":
        return None
    return _load(Products)


def _load(kind: type[Loaded]) -> Loaded | None:
    try:
        loaded = kind(LIBRARY)
        return loaded if loaded.is_right() else None
    except (OSError, AttributeError, RuntimeError):
        return None
