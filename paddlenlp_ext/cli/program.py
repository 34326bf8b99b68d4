"""How a script runs and ends: signals, processes, and what a user is told of an error."""

import errno
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import launcher, runtime, signals
from paddlenlp_ext.process.spawn import spawn as start_processes
from paddlenlp_ext.process.streams import lasting_streams

# What is wrong with a path that a user gave, and that nobody has looked at before it was used.
OF_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)

USER_ERROR = 2  # exit code; argparse takes 2 as well

# A setting in backticks, or a text in quotes as `repr` writes it; "dev's" opens none.
SETTING = re.compile(r"""(?<!\w)'(?:\\.|[^'\\])*'|(?<!\w)"(?:\\.|[^"\\])*"|`([a-z][a-z0-9_]*)`""")


def run(main: Callable[[], object]) -> NoReturn:
    """Run a script's `main` and end the process: a user's mistake is one line and exit code 2.

    SIGTERM and SIGHUP end it as Ctrl-C does: what is open is closed and child processes end. (The
    training loop catches them for itself, and saves first.) What ends a process of the launcher is
    written into `FAILED.json` of its log folder.
    """
    with lasting_streams(), signals.raise_on_signals():
        try:
            launcher.end_with_launcher()
            launcher.begin()
            runtime.require_open_files(runtime.OPEN_FILES)
            main()
        except KeyboardInterrupt as error:
            launcher.report_loss(error)
            sys.exit(signals.exit_code(error))
        except SystemExit as error:
            if error.code in signals.EXIT_CODES:
                launcher.report_loss(error)
            elif error.code not in (None, 0, USER_ERROR):
                launcher.report_failure(error)
            raise
        except Exception as error:
            if line := _line(error):
                print(f"error: {line}", file=sys.stderr)
            # After a signal to all processes, one that still works may miss another that has ended.
            lost = signals.any_received()
            (launcher.report_loss if lost else launcher.report_failure)(error)
            if not line:
                raise
            sys.exit(USER_ERROR)
        finally:
            signals.forget_received()
            launcher.end()
    sys.exit(0)


def spawn(main: Callable[..., object], processes: int, *args: object, device: str = "gpu") -> None:
    """Start processes as `process.spawn` does; each ends as `run` says."""
    start_processes(run, processes, partial(main, *args), device=device)


def as_flags(message: str) -> str:
    """Write a setting that a message of the library names as its flag: `seed` as --seed.

    What stands in quotes is a user's own text, and stays as it is.
    """
    return SETTING.sub(lambda found: f"--{found[1]}" if found[1] else found[0], message)


def _line(error: Exception) -> str:
    """Say what a user can do about an error; nothing where that is a matter for programmers."""
    if isinstance(error, UserError):
        return as_flags(str(error))
    if isinstance(error, MemoryError):
        lines = [line for line in str(error).splitlines() if line.strip()]
        return (
            f"out of memory ({lines[-1].strip() if lines else 'no detail given'}); lower "
            "the batch size (--gradient_accumulation_steps makes up for it), lower "
            "--max_seq_length, or set --recompute"
        )
    if isinstance(error, OSError) and error.filename and error.errno in OF_PATHS:
        return f"{error.filename}: {error.strerror}; give another path"
    return ""
