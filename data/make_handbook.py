"""Make the sample corpus of `pretraining/` from the text of the Debian Administrator's Handbook.

    python data/make_handbook.py HANDBOOK.txt data/pretraining

HANDBOOK.txt is the English text of the book (Debian's package debian-handbook): a paragraph a
line, an empty line after each section. A sentence splitter turns it into a sentence a line, which
`create_pretraining_data.py` reads. Sections are shared between training and held-out text by a
hash, until each has its size; `--all` takes the whole book.
"""

import argparse
import hashlib
import re
from pathlib import Path

TRAIN_BYTES, HELD_OUT_BYTES = 240_000, 40_000
HELD_OUT_SHARE = 10  # of the whole book, one section in so many
NAMES = ("sample_text.txt", "sample_text_held_out.txt")

HOST = re.compile(r"(?<=://)[\w-]+(\.[\w-]+)+|\b[\w-]+\.example\.org\b")
# A sentence ends at a stop, unless that belongs to an abbreviation or a lower-case word follows.
END = re.compile(r"(?<=[.!?…])([”’\")\]]*)\s+(?=[“‘\"(\[]?[A-Z0-9])")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Mr|Dr|St|No|p|pp|Inc)|\b[A-Z])\.$")


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph into sentences."""
    parts: list[str] = []
    for part in END.sub(lambda found: found[1] + "\n", paragraph).split("\n"):
        if parts and ABBREVIATION.search(parts[-1]):
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return [part.strip() for part in parts if part.strip()]


def sections(text: str) -> list[str]:
    """Return each section, a sentence a line."""
    return [
        "\n".join(
            one for line in HOST.sub("example.org", section).splitlines() for one in sentences(line)
        )
        for section in re.split(r"\n\s*\n", text.strip())
    ]


def order(section: str) -> int:
    """Give a section a place that does not depend on the others."""
    return int(hashlib.sha256(section.encode()).hexdigest()[:8], 16)


def excerpt(found: list[str], size: int) -> list[str]:
    """Take sections of a middling length while there is room; they are kept in the book's order."""
    taken: set[str] = set()
    for section in sorted(found, key=order):
        length = len(section.encode()) + 2
        if 2000 <= length <= min(size, 20_000):
            taken.add(section)
            size -= length
    return [section for section in found if section in taken]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="the whole book, not an excerpt")
    args = parser.parse_args()
    found = sections(args.text.read_text(encoding="utf-8"))
    held_out = [section for section in found if order(section) % HELD_OUT_SHARE == 0]
    train = [section for section in found if section not in held_out]
    if not args.all:
        train, held_out = excerpt(train, TRAIN_BYTES), excerpt(held_out, HELD_OUT_BYTES)
    for name, part in zip(NAMES, (train, held_out), strict=True):
        path = args.folder / name
        path.write_text("\n\n".join(part) + "\n", encoding="utf-8")
        print(f"{path}: {len(part)} sections, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
