"""Standard streams that whoever started this process has closed, and what is shown on them."""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def open_missing_streams() -> None:
    """Let standard streams that are closed lead to nowhere.

    Python has None in their place, which a progress bar cannot write to; and files that are opened
    would take their numbers, so that what C libraries say would be written into these.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115  # it takes the number that is free
            os.set_inheritable(stream.fileno(), True)  # for child processes
            setattr(sys, name, stream)


def progress_bar(total: int | None, **options: Any) -> "tqdm[None]":
    """Make a progress bar on stderr; it shows nothing where that is no terminal, or closed."""
    from tqdm import tqdm  # only now: `--help` is there at once

    return tqdm(total=total, disable=None if sys.stderr is not None else True, **options)
