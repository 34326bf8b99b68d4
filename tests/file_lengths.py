"""Refuse hand-written Python files of more than 350 lines: such a file is two rooms."""

import subprocess
import sys
from pathlib import Path

LIMIT = 350  # lines


def main() -> int:
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True)
    lengths = {name: len(Path(name).read_text().splitlines()) for name in listed.stdout.split()}
    long = {name: length for name, length in lengths.items() if length > LIMIT}
    for name, length in long.items():
        print(f"{name}: {length} lines, more than {LIMIT}")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main())
