"""Turn SIGTERM and SIGINT into a request that the training loop grants between two updates.

All processes must stop after the same update, so the loop asks `agreed` on all of them, or adds
`flags` to numbers that it brings together anyway.
"""

import signal
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType

from paddlenlp_ext import cli
from paddlenlp_ext.process.signals import ENDING
from paddlenlp_ext.training import distributed


class StopRequest:
    """Catches the signals while its `with` block runs.

    A second Ctrl-C ends the process at once.
    """

    def __init__(self) -> None:
        self._received: set[int] = set()
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        """Begin to catch signals; only a main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._catch) for number in ENDING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._previous.items():
            signal.signal(number, handler or signal.SIG_DFL)  # type: ignore[arg-type]

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in self._received:
            raise KeyboardInterrupt
        self._received.add(number)
        cli.note(number)

    @property
    def flags(self) -> list[float]:
        """Whether each of the signals came, as numbers that processes can sum."""
        return [float(number in self._received) for number in ENDING]

    @staticmethod
    def signal_of(flags: Sequence[float]) -> int:
        """Return the signal that summed flags tell of; 0 for none."""
        return next((int(n) for n, flag in zip(ENDING, flags, strict=True) if flag), 0)

    def agreed(self) -> int:
        """Ask all processes; return the signal that any of them received, or 0."""
        return self.signal_of(distributed.all_reduce(self.flags))
