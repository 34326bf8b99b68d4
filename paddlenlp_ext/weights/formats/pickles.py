"""A machine for the pickles of weight files, which builds containers, numbers and text; no more.

Python's own unpickler calls whatever a file names. This one knows the instructions that Paddle,
NumPy and PyTorch write for tensors, and nothing else: there is no way to import a name, to reach an
attribute or to make an object of a class. A global name is looked up in a table of exact pairs
(module, name), and what stands behind it is a function of this package, never the one of that name.

Bytes stay where they are in the mapped file, so reading costs no memory; what a file can make us
allocate is bounded by its own size and by `MAX_INSTRUCTIONS`.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NoReturn

from paddlenlp_ext.errors import WeightsError, shown

# A tensor takes some 40 instructions, so this is enough for 20,000 tensors; a file of a gigabyte
# that makes one empty dictionary a byte is stopped after 60 MB.
MAX_INSTRUCTIONS = 1_000_000
MAX_PROTOCOL = 4  # Paddle writes 2 to 4, PyTorch 2
MAX_LONG = 16  # bytes of an integer; the longest, PyTorch's mark of its older files, has 10
MAX_NAME = 512  # characters
SHOWN = 200  # characters of a reason that a file's content makes up

Allowed = Mapping[tuple[str, str], object]

_CONSTANTS = {0x4E: None, 0x88: True, 0x89: False}
_EMPTY: dict[int, Callable[[], object]] = {0x7D: dict, 0x5D: list, 0x29: tuple}
_NUMBERS = {0x4A: "<i", 0x4B: "<B", 0x4D: "<H", 0x47: ">d"}
_LENGTHS = {1: "<B", 4: "<I", 8: "<Q"}
# Instruction to the width of the length before the payload.
_BYTES = {0x43: 1, 0x42: 4, 0x8E: 8}
_TEXT = {0x8C: 1, 0x58: 4, 0x8D: 8}
_PYTHON2_TEXT = {0x55: 1, 0x54: 4}
_PUT = {0x71: 1, 0x72: 4}
_GET = {0x68: 1, 0x6A: 4}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}


def is_name(name: object) -> bool:
    """Return whether a tensor can be called so; messages hold its name."""
    return type(name) is str and len(name) <= MAX_NAME


class Unbuilt(ABC):
    """What an allowed function returns when the pickle gives the rest with a BUILD."""

    @abstractmethod
    def build(self, state: object) -> object:
        """Return the finished object, which takes this one's place.

        Raises:
            ValueError: The state is none of this object (TypeError, too).
        """


class Unpickler:
    """Read pickles from mapped bytes.

    Args:
        data: The file, or a part of it.
        source: Its name, for messages.
        allowed: The globals that may occur, with what stands behind them: a function of ours that
            checks its arguments (ValueError or TypeError if they are wrong), or any inert value.
        persistent: Gives the object for a persistent id; without it such ids are refused.

    Attributes:
        position: Where the next pickle begins.
    """

    def __init__(
        self,
        data: memoryview,
        source: str,
        allowed: Allowed,
        persistent: Callable[[object], object] | None = None,
    ) -> None:
        self.position = 0
        self._data = data
        self._source = source
        self._allowed = allowed
        self._persistent = persistent
        self._left = MAX_INSTRUCTIONS
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._memo_of: dict[int, int] = {}  # id of an unbuilt object to its place in the memo
        # Text that allowed functions turn into bytes; honest files do so once with each.
        self._text_left = len(data) + 1024

    def load(self) -> Any:
        """Read one pickle and return its object; bytes in it are memoryviews of the file.

        Raises:
            WeightsError: The pickle asks for more than tensors in containers, or is damaged.
        """
        for part in (self._stack, self._marks, self._memo, self._memo_of):
            part.clear()
        start = self.position
        try:
            while (code := self._byte()) != _STOP:
                self._left -= 1
                if self._left < 0:
                    self.refuse(f"has more than {MAX_INSTRUCTIONS:,} instructions")
                step = _STEPS.get(code)
                if step is None:
                    self.refuse(
                        f"holds the pickle instruction {code:#04x} at byte {self.position - 1}, "
                        "which no tensor needs"
                    )
                step(self, code)
            if len(self._stack) != 1:
                self.refuse(f"the pickle at byte {start} is damaged")
            return self._stack.pop()
        except WeightsError:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError, struct.error) as error:
            self.refuse(f"the pickle at byte {start} is damaged ({type(error).__name__})", error)

    def load_all(self) -> Any:
        """Read the one pickle that all the bytes are.

        Raises:
            WeightsError: As of `load`; or something stands behind it.
        """
        found = self.load()
        if self.position != len(self._data):
            self.refuse(f"goes on after its end at byte {self.position}")
        return found

    def refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        """Raise a WeightsError that names the file."""
        raise WeightsError(
            f"{self._source}: {reason}; nothing of it was used, take the file from a source that "
            "you trust"
        ) from cause

    # Reading bytes

    def take(self, length: int) -> memoryview:
        """Return the next bytes, and go behind them."""
        end = self.position + length
        if end > len(self._data):
            raise WeightsError(
                f"{self._source}: ends after {len(self._data)} bytes, where {end} are needed; it "
                "was cut off, copy or download it again"
            )
        view = self._data[self.position : end]
        self.position = end
        return view

    def _byte(self) -> int:
        if self.position >= len(self._data):
            self.take(1)
        self.position += 1
        return self._data[self.position - 1]

    def _unsigned(self, width: int) -> int:
        (number,) = struct.unpack(_LENGTHS[width], self.take(width))
        return int(number)

    def _line(self) -> str:
        """Return the text up to the next line feed; names of globals are short."""
        window = bytes(self._data[self.position : self.position + 256])
        end = window.index(b"\n")
        self.position += end + 1
        return window[:end].decode("ascii", errors="backslashreplace")

    # Instructions

    def _push_constant(self, code: int) -> None:
        self._stack.append(_CONSTANTS[code])

    def _push_empty(self, code: int) -> None:
        self._stack.append(_EMPTY[code]())

    def _push_number(self, code: int) -> None:
        form = _NUMBERS[code]
        self._stack.extend(struct.unpack(form, self.take(struct.calcsize(form))))

    def _push_long(self, code: int) -> None:
        length = self._byte()
        if length > MAX_LONG:
            self.refuse(f"holds an integer of {length} bytes, expected at most {MAX_LONG}")
        self._stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def _push_bytes(self, code: int) -> None:
        self._stack.append(self.take(self._unsigned(_BYTES[code])))

    def _push_text(self, code: int) -> None:
        raw = self.take(self._unsigned(_TEXT[code]))
        self._stack.append(str(raw, "utf-8", "surrogatepass"))

    def _push_python2_text(self, code: int) -> None:
        self._stack.append(str(self.take(self._unsigned(_PYTHON2_TEXT[code])), "latin-1"))

    def _put(self, code: int) -> None:
        self._memoize(self._unsigned(_PUT[code]))

    def _put_next(self, code: int) -> None:
        self._memoize(len(self._memo))

    def _memoize(self, place: int) -> None:
        value = self._stack[-1]
        self._memo[place] = value
        if isinstance(value, Unbuilt):
            self._memo_of[id(value)] = place

    def _get(self, code: int) -> None:
        self._stack.append(self._memo[self._unsigned(_GET[code])])

    def _mark(self, code: int) -> None:
        self._marks.append(len(self._stack))

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _tuple(self, code: int) -> None:
        if code in _TUPLES:
            self._marks.append(len(self._stack) - _TUPLES[code])
            if self._marks[-1] < 0:
                raise IndexError(code)
        self._stack.append(tuple(self._since_mark()))

    def _append(self, code: int) -> None:
        items = self._since_mark() if code == _APPENDS else [self._stack.pop()]
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError(code)
        target.extend(items)

    def _set_items(self, code: int) -> None:
        if code == _SETITEM:
            self._marks.append(len(self._stack) - 2)
        items = self._since_mark()
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError(code)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Other keys could be made to collide, or to recurse when they are hashed.
            if not (type(key) is str or (type(key) is int and abs(key) < 2**53)):
                raise TypeError(code)
            if key in target:
                self.refuse(f"has {shown(key)} twice")
            target[key] = value

    def _global(self, code: int) -> None:
        if code == _GLOBAL:
            module, name = self._line(), self._line()
        else:
            name, module = self._stack.pop(), self._stack.pop()
            if type(module) is not str or type(name) is not str:
                raise TypeError(code)
        found = self._allowed.get((module, name))
        if found is None:
            asked = ascii(f"{module[:80]}.{name[:80]}")  # one line, whatever the name is
            self.refuse(f"asks for {asked}, which is no tensor")
        self._stack.append(found)

    def _reduce(self, code: int) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if type(function) is not FunctionType or type(arguments) is not tuple:
            self.refuse("calls what is not a function for tensors")
        self._count_text(arguments)
        self._stack.append(self._made(function, *arguments))

    def _build(self, code: int) -> None:
        state, target = self._stack.pop(), self._stack.pop()
        if type(target) is dict:
            self._stack.append(target)  # attributes of an OrderedDict: PyTorch's version numbers
        elif isinstance(target, Unbuilt):
            self._count_text(state)
            built = self._made(target.build, state)
            if (place := self._memo_of.pop(id(target), None)) is not None:
                self._memo[place] = built
            self._stack.append(built)
        else:
            self.refuse(f"sets attributes of a {type(target).__name__}")

    def _persistent_id(self, code: int) -> None:
        if self._persistent is None:
            self.refuse("holds a persistent id, which is no tensor")
        self._stack.append(self._made(self._persistent, self._stack.pop()))

    def _made(self, function: Callable[..., object], *arguments: object) -> object:
        try:
            return function(*arguments)
        except (TypeError, ValueError, OverflowError, LookupError) as error:
            self.refuse(f"holds a damaged tensor ({str(error)[:SHOWN]})", error)

    def _count_text(self, arguments: object) -> None:
        """Stop a file that has one long text turned into bytes again and again."""
        for argument in arguments if type(arguments) is tuple else ():
            if type(argument) is str:
                self._text_left -= len(argument)
        if self._text_left < 0:
            self.refuse("would take much more memory than it is long")

    def _protocol(self, code: int) -> None:
        protocol = self._byte()
        if protocol > MAX_PROTOCOL:
            self.refuse(f"is a pickle of protocol {protocol}, expected at most {MAX_PROTOCOL}")

    def _frame(self, code: int) -> None:
        self._unsigned(8)  # where the next frame begins; of use for streams only


_STOP, _APPENDS, _SETITEM, _GLOBAL = 0x2E, 0x65, 0x73, 0x63
_STEPS: dict[int, Callable[[Unpickler, int], None]] = {
    **dict.fromkeys(_CONSTANTS, Unpickler._push_constant),
    **dict.fromkeys(_EMPTY, Unpickler._push_empty),
    **dict.fromkeys(_NUMBERS, Unpickler._push_number),
    **dict.fromkeys(_BYTES, Unpickler._push_bytes),
    **dict.fromkeys(_TEXT, Unpickler._push_text),
    **dict.fromkeys(_PYTHON2_TEXT, Unpickler._push_python2_text),
    **dict.fromkeys(_PUT, Unpickler._put),
    **dict.fromkeys(_GET, Unpickler._get),
    **dict.fromkeys((*_TUPLES, 0x74), Unpickler._tuple),
    **dict.fromkeys((0x61, _APPENDS), Unpickler._append),
    **dict.fromkeys((_SETITEM, 0x75), Unpickler._set_items),
    **dict.fromkeys((_GLOBAL, 0x93), Unpickler._global),
    0x8A: Unpickler._push_long,
    0x94: Unpickler._put_next,
    0x28: Unpickler._mark,
    0x52: Unpickler._reduce,
    0x62: Unpickler._build,
    0x51: Unpickler._persistent_id,
    0x80: Unpickler._protocol,
    0x95: Unpickler._frame,
}
