"""Warn of hand-written Python files of more than 350 lines: such a file may be two rooms.

A warning, not a wall: a file is as long as its subject.
"""

import subprocess
from pathlib import Path

LIMIT = 350  # lines

if __name__ == "__main__":
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        length = len(Path(name).read_text().splitlines())
        if length > LIMIT and not name.startswith("tests/"):
            print(f"warning: {name}: {length} lines, more than {LIMIT}")
