"""GELU by oneDNN, a library that Paddle's packages for x86 processors bring along.

Paddle calls it only in programs. Here it is called by its C interface, which stays as it is through
version 3: https://uxlfoundation.github.io/oneDNN/group_dnnl_api.html
"""

from __future__ import annotations

import ctypes
import math
from ctypes import POINTER, byref, c_float, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path

import paddle

LIBRARY = Path(paddle.__file__).parent / "libs/libdnnl.so.3"
MAJOR = 3  # version whose numbers follow
CPU, IN_ORDER, FLOAT32, MAX_AXES = 1, 1, 3, 12
FORWARD_TRAINING, GELU_ERF = 64, 0x31
SOURCE, RESULT, SOURCE_GRADIENT, RESULT_GRADIENT = 1, 17, 129, 145

CHECKED = (-6.0, -1.5, -0.1, 0.0, 0.7, 2.0, 5.0)  # numbers whose GELU is compared with Python's
CLOSE = 1e-5


class _Argument(ctypes.Structure):
    _fields_ = (("index", c_int), ("memory", c_void_p))


class Gelu:
    """The exact GELU, `x (1 + erf(x / √2)) / 2`, of float32 numbers that lie one behind another.

    Args:
        library: Path of oneDNN.

    Raises:
        OSError: It cannot be loaded, or is of another version.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.dnnl_version.restype = POINTER(c_int)
        if self._library.dnnl_version()[0] != MAJOR:
            raise OSError(f"{library}: is not of version {MAJOR}")
        self._engine, self._stream = c_void_p(), c_void_p()
        self._call("engine_create", byref(self._engine), c_int(CPU), c_size_t(0))
        self._call("stream_create", byref(self._stream), self._engine, c_int(IN_ORDER))
        # What is made for a count stays: it is small, and a run has few different ones.
        self._made = cache(self._make)

    def forward(self, count: int, source: int, result: int) -> None:
        """Compute the GELU of `count` numbers, from address to address."""
        layout, forward, _ = self._made(count)
        self._execute(forward, layout, {SOURCE: source, RESULT: result})

    def backward(self, count: int, source: int, gradient: int, result: int) -> None:
        """Compute the gradient of the numbers at `source` from that of their GELU."""
        layout, _, backward = self._made(count)
        addresses = {SOURCE: source, RESULT_GRADIENT: gradient, SOURCE_GRADIENT: result}
        self._execute(backward, layout, addresses)

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
        axes, none = c_int64 * MAX_AXES, c_float(0)
        layout, forward, backward = c_void_p(), c_void_p(), c_void_p()
        made = c_void_p(), c_void_p()
        self._call(
            "memory_desc_create_with_strides",
            byref(layout), c_int(1), axes(count), c_int(FLOAT32), axes(1),
        )  # fmt: skip
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
        for primitive, description in zip(made, (forward, backward), strict=True):
            self._call("primitive_create", byref(primitive), description)
            self._call("primitive_desc_destroy", description)
        return layout, *made

    def _execute(self, primitive: c_void_p, layout: c_void_p, addresses: dict[int, int]) -> None:
        arguments = (_Argument * len(addresses))()
        for argument, (index, address) in zip(arguments, addresses.items(), strict=True):
            memory = c_void_p()
            self._call("memory_create", byref(memory), layout, self._engine, c_void_p(address))
            argument.index, argument.memory = index, memory
        self._call("primitive_execute", primitive, self._stream, c_int(len(addresses)), arguments)
        self._call("stream_wait", self._stream)
        for argument in arguments:
            self._call("memory_destroy", c_void_p(argument.memory))

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self._library, f"dnnl_{name}")(*arguments):
            raise RuntimeError(f"oneDNN: {name} failed with status {status}")


@cache
def gelu() -> Gelu | None:
    """Load the library; None where it is not there, or computes something else."""
    try:
        loaded = Gelu(LIBRARY)
        return loaded if loaded.is_right() else None
    except (OSError, AttributeError, RuntimeError):
        return None
