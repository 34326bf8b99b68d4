"""Wait for another process that works on the same file, and say for which."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

NOTICE = 10.0  # seconds after which is said who is waited for


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold a lock, for which others may have to be waited."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=NOTICE)
    except Timeout:
        who = ", ".join(map(str, _holders(path))) or "another"
        print(f"waiting for process {who}, which has {path}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _holders(path: Path) -> list[int]:
    """The processes that have a file locked, as far as Linux tells."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        file = os.stat(path)
        place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] != "->" and fields[5] == place:  # "->": one that waits
                found.append(int(fields[4]))
    return found
