"""List what one run of a script calls: the files and functions of this project.

    python -m benchmarks.walk examples/language_model/bert/run_glue.py --model_type bert ...

All after the module's name is the script and its flags. Who reads the code from a command to its
results walks through these; class bodies, comprehensions and lambdas are not counted.
"""

from __future__ import annotations

import cProfile
import inspect
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("paddlenlp_ext", "examples")


def main() -> None:
    """Run the script that the command line names, and print what it called."""
    sys.argv = sys.argv[1:]
    profile = cProfile.Profile()
    try:
        profile.runcall(runpy.run_path, sys.argv[0], run_name="__main__")
    except SystemExit as error:
        if error.code:
            raise
    codes = [entry.code for entry in profile.getstats() if not isinstance(entry.code, str)]
    called = {
        (path.relative_to(ROOT), code.co_firstlineno)
        for code in codes
        if (path := Path(code.co_filename)).is_relative_to(ROOT)
        and path.relative_to(ROOT).parts[0] in OURS
        and code.co_flags & inspect.CO_OPTIMIZED  # not the body of a class or module
        and not code.co_name.startswith("<")
    }
    files = sorted({path for path, _ in called})
    print(*files, sep="\n")
    print(f"{len(files)} files, {len(called)} functions")


if __name__ == "__main__":
    main()
