"""`python -m paddlenlp_ext.paddlenlp SCRIPT …`: run a script of PaddleNLP's as it is."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from paddlenlp_ext.paddlenlp.stand_in import stand_in

USAGE = "usage: python -m paddlenlp_ext.paddlenlp SCRIPT [arguments of the script]"


def main(argv: list[str]) -> None:
    """Run the script with the rest of the words as its arguments."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"{USAGE}\n\nRun a script with this project in the place of paddlenlp.")
        sys.exit(0 if argv else 2)
    script = Path(argv[0])
    if not script.is_file():
        print(f"error: {script}: expected a script in Python, got no file", file=sys.stderr)
        sys.exit(2)
    stand_in()
    sys.argv = argv
    sys.path[0] = str(script.absolute().parent)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
