"""Batches from examples, column by column: `Tuple(Pad(pad_val=0), Stack("int64"))`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from paddlenlp_ext.errors import UserError

Array = NDArray[Any]
Collate = Callable[[Sequence[Any]], Any]


class Stack:
    """Stack arrays of one shape.

    Args:
        axis: Where the examples are counted.
        dtype: Type of the batch; that of the arrays if None.
    """

    def __init__(self, axis: int = 0, dtype: DTypeLike | None = None) -> None:
        self.axis = axis
        self.dtype = dtype

    def __call__(self, data: Sequence[Any]) -> Array:
        """Return the examples' arrays as one."""
        stacked = np.stack(data, axis=self.axis)
        return stacked if self.dtype is None else stacked.astype(self.dtype)


class Pad:
    """Make arrays of one axis as long as the longest, and stack them.

    Args:
        pad_val: What is filled in.
        axis: The axis whose length differs.
        ret_length: Return the lengths before padding too, int32, or of the type that is given.
        dtype: Type of the batch; that of the first array if None.
        pad_right: Whether to fill in at the end.
    """

    def __init__(
        self,
        pad_val: float = 0,
        axis: int = 0,
        ret_length: Any = None,
        dtype: DTypeLike | None = None,
        pad_right: bool = True,
    ) -> None:
        self.pad_val = pad_val
        self.axis = axis
        self.ret_length = ret_length
        self.dtype = dtype
        self.pad_right = pad_right

    def __call__(self, data: Sequence[Any]) -> Array | tuple[Array, Array]:
        """Return the examples' arrays as one, and their lengths if asked for; numbers as int64."""
        if not isinstance(data[0], (list, tuple, np.ndarray)):
            return np.asarray(data, dtype="int64" if self.dtype is None else self.dtype)
        arrays = [np.asarray(one) for one in data]
        lengths = [array.shape[self.axis] for array in arrays]
        shape = list(arrays[0].shape)
        shape[self.axis] = max(lengths)
        # An empty list has numbers of no kind, which NumPy calls float64.
        types = [array.dtype for array in arrays if array.size] or [np.dtype("int64")]
        batch = np.full([len(arrays), *shape], self.pad_val, self.dtype or types[0])
        for row, array, length in zip(batch, arrays, lengths, strict=True):
            place = [slice(None)] * array.ndim
            begin = 0 if self.pad_right else max(lengths) - length
            place[self.axis] = slice(begin, begin + length)
            row[tuple(place)] = array
        if not self.ret_length:
            return batch
        dtype = "int32" if self.ret_length is True else self.ret_length
        return batch, np.asarray(lengths, dtype)


class Tuple:
    """Collate examples that are tuples: the function of each place for that place.

    Args:
        fn: The first function, or all of them in a list.
        args: The others.

    Raises:
        UserError: These are no functions.
    """

    def __init__(self, fn: Collate | Sequence[Collate], *args: Collate) -> None:
        self.functions = [*fn] if isinstance(fn, (list, tuple)) and not args else [fn, *args]
        _require_functions(dict(enumerate(self.functions)))

    def __call__(self, data: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
        """Return the columns; a function that returns several gives several.

        Raises:
            UserError: The examples have another number of parts.
        """
        if len(data[0]) != len(self.functions):
            raise UserError(
                f"an example has {len(data[0])} parts, and there are {len(self.functions)} functions "
                "to collate them; give one for each"
            )
        columns = [[example[place] for example in data] for place in range(len(self.functions))]
        return _columns(zip(self.functions, columns, strict=True))


class Dict:
    """Collate examples that are mappings: the function of each name for that name.

    Args:
        fn: The functions; others' columns are left out.

    Raises:
        UserError: These are no functions.
    """

    def __init__(self, fn: Mapping[str, Collate]) -> None:
        self.functions = dict(fn)
        _require_functions(self.functions)

    def __call__(self, data: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
        """Return the columns in the functions' order."""
        return _columns(
            (function, [example[name] for example in data])
            for name, function in self.functions.items()
        )


def _columns(pairs: Any) -> tuple[Any, ...]:
    columns: list[Any] = []
    for function, column in pairs:
        collated = function(column)
        columns += collated if isinstance(collated, (tuple, list)) else [collated]
    return tuple(columns)


def _require_functions(functions: Mapping[Any, Any]) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise UserError(f"what collates part {name!r} must be a function, not {function!r}")
