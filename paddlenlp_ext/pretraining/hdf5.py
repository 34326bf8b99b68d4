"""Read HDF5 files that others made; called by `shards.py` in a process apart.

HDF5 has many side doors: numbers that stand in other files, links, filters that are programs, types
of any kind. What a shard has no use for is refused before it is followed.
"""

import math
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import DataError

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]


class Column(NamedTuple):
    """A data set of a shard, with one entry a row.

    Attributes:
        dtype: As it is written; any integers are read, and other numbers that are whole.
        axis: Name of its second axis; columns with the same one are equally wide in a file. None:
            a number a row.
    """

    dtype: str
    axis: str | None = None


Layout = Mapping[str, Column]

MAX_RATIO = 2000  # numbers' bytes per byte that holds them; gzip packs zeros a thousandfold
MAX_CHUNK = 1 << 24  # bytes that are unpacked for whatever is read of them
MAX_ATTRIBUTE = 1 << 12  # bytes
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset"}
FILTERS |= {32000: "lzf"}  # part of h5py
LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)  # and not h5d.VIRTUAL
NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)  # booleans are an enumeration
REMAKE = "make the file again"


def describe(
    path: str, layout: Layout, known: Mapping[str, type]
) -> tuple[int, dict[str, int], dict[str, Any]]:
    """Look at a file; no row is read.

    Args:
        path: The file.
        layout: Its columns.
        known: Attributes that are read, if they are there, and their types.

    Returns:
        How many rows it has, the width of each axis, and the attributes.

    Raises:
        DataError: It cannot be used; without the name of the file.
    """
    with _opened(path) as file:
        columns = _columns(file, layout)
        _require_numbers(columns)
        rows = next(iter(columns.values())).shape[0]
        widths: dict[str, int] = {}
        for name, (_, axis) in layout.items():
            shape = columns[name].shape
            if axis is not None and len(shape) == 2:
                widths.setdefault(axis, shape[1])
            expected = (rows,) if axis is None else (rows, widths.get(axis, axis))
            if shape != expected and not (axis is None and shape == (rows, 1)):
                raise DataError(f"{name} has the shape {shape}, not {expected}; {REMAKE}")
        return rows, widths, _attributes(file, known)


def read(path: str, layout: Layout, start: int, stop: int) -> dict[str, Array]:
    """Read rows as the types of the layout.

    Raises:
        DataError: They are damaged, or are no longer there; without the name of the file.
    """
    found = {}
    with _opened(path) as file:
        for name, data in _columns(file, layout).items():
            column = layout[name]
            values = data[start:stop]
            if len(values) != stop - start:
                raise DataError(f"was changed during the run; {REMAKE}")
            found[name] = _whole_numbers(name, values, start, np.dtype(column.dtype))
            if column.axis is None:
                found[name] = found[name].reshape(-1)
    return found


@contextmanager
def _opened(path: str) -> Iterator[h5py.File]:
    """Open a file; what the library says of a broken one becomes an error."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # to open a pipe would wait for a writer
            raise DataError("is not a regular file; expected HDF5")
        # Without a lock: nothing is written, and some network file systems have none.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # of any kind: types without one in NumPy, names that are no text
        said = str(error.args[0]) if error.args else type(error).__name__
        reason = said.partition("(")[2].rstrip(")") or said
        raise DataError(
            f"cannot be read ({_plain(reason, 200)}); the file is damaged or no HDF5, so copy it "
            "again or make it again"
        ) from error


def _columns(file: h5py.File, layout: Layout) -> dict[str, h5py.Dataset]:
    """Find the columns, each in the file itself and of numbers."""
    missing = [name for name in layout if not file.id.links.exists(name.encode())]
    if missing:
        others = ", ".join(map(_plain, islice(file, 10))) or "nothing"
        raise DataError(f"lacks {', '.join(missing)} (it has {others}); {REMAKE}")
    return {name: _column(file, name, dtype) for name, (dtype, _) in layout.items()}


def _column(file: h5py.File, name: str, dtype: str) -> h5py.Dataset:
    if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise DataError(f"{name} is a link, which may lead to another file; {REMAKE}")
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise DataError(f"lacks {name} (it has a group of that name); {REMAKE}")
    made = data.id.get_create_plist()
    if made.get_layout() not in LAYOUTS or made.get_external_count():
        raise DataError(f"{name} stands in another file; {REMAKE}")
    filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    if unknown := set(filters) - set(FILTERS):
        raise DataError(
            f"{name} is packed by filter {min(unknown)}, a plug-in; expected "
            f"{', '.join(FILTERS.values())}; {REMAKE}"
        )
    if not _is_numeric(data):
        raise DataError(f"{name} has a type that is no number, not {dtype}; {REMAKE}")
    if filters and math.prod(made.get_chunk()) * data.dtype.itemsize > MAX_CHUNK:
        rows, size = made.get_chunk()[0], MAX_CHUNK >> 20
        raise DataError(
            f"{name} is packed in pieces of {rows:,} rows, each of which is unpacked for every few "
            f"rows of it; expected {size} MiB at most: {REMAKE}, or repack it with h5repack"
        )
    return data


def _is_numeric(data: h5py.Dataset) -> bool:
    try:
        kind = data.dtype
    except (TypeError, ValueError, KeyError):  # it has no equal in NumPy
        return False
    known = data.id.get_type().get_class() in NUMBERS
    return known and kind.kind in "biuf" and kind.itemsize <= 8


def _require_numbers(columns: Mapping[str, h5py.Dataset]) -> None:
    """Refuse a file that says it has far more numbers than it holds: room is made for each row."""
    if not all(data.shape for data in columns.values()):
        raise DataError(f"has a column without rows; {REMAKE}")
    said = sum(math.prod(data.shape) * data.dtype.itemsize for data in columns.values())
    stored = sum(data.id.get_storage_size() for data in columns.values())
    if said > MAX_RATIO * stored:
        rows = next(iter(columns.values())).shape[0]
        raise DataError(
            f"says that it has {rows:,} rows, and holds {stored:,} bytes of them; {REMAKE}"
        )


def _whole_numbers(name: str, values: Array, start: int, dtype: np.dtype[Any]) -> Array:
    """Convert numbers, all of which must be such of the type."""
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            odd = np.rint(values) != values
        if odd.any():
            row = int(np.nonzero(odd)[0].min())
            raise DataError(
                f"row {start + row}: {name} must be whole numbers, not {values[odd][0]}; {REMAKE}"
            )
    bounds = np.iinfo(dtype)
    if values.size and not bounds.min <= values.min() <= values.max() <= bounds.max:
        raise DataError(f"{name} has numbers beyond {dtype}; {REMAKE}")
    return values.astype(dtype, copy=False)


def _attributes(file: h5py.File, known: Mapping[str, type]) -> dict[str, Any]:
    """Read the attributes that are there; all others are left alone."""
    found = {}
    for name, kind in known.items():
        if not h5py.h5a.exists(file.id, name.encode()):
            continue
        attribute = h5py.h5a.open(file.id, name.encode())
        value = None
        if attribute.shape == () and attribute.get_storage_size() <= MAX_ATTRIBUTE:
            value = file.attrs[name]
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, np.generic):
            value = value.item()
        known_kind = isinstance(value, str if kind is str else int)  # True is an int, too
        if not known_kind or len(str(value)) > MAX_ATTRIBUTE:
            raise DataError(f"has an attribute {name} that is no {kind.__name__}; {REMAKE}")
        found[name] = kind(value)
    return found


def _plain(text: str | bytes, most: int = 60) -> str:
    """Quote a text of a file so that it is printable and short."""
    text = text.decode(errors="backslashreplace") if isinstance(text, bytes) else text
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:most])
    return shown if len(text) <= most else f"{shown}..."
