"""Write PAWS-X as JSON lines, which scripts without a task of that name take as files of a user.

    python benchmarks/pawsx_lines.py PAWS_FOLDER LINES_FOLDER

Of PAWS_FOLDER/x-final the English training rows, and dev and test in all languages: train.jsonl,
dev.jsonl and test.jsonl, with the columns sentence1, sentence2, label and language.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from paddlenlp_ext.tasks.cross_lingual import PAWS_X, read_languages


def write(source: str | Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, languages in {"train": ["en"], "dev": None, "test": None}.items():
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for language, rows in read_languages(PAWS_X, split, str(source), languages).items():
                for row in rows:
                    line = {"sentence1": row.text_a, "sentence2": row.text_b}
                    line |= {"label": PAWS_X.labels[row.label], "language": language}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
