"""Make the SST-2 sample, `glue/SST-2/train.tsv` and `dev.tsv`, from a published rating study.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python data/make_sst2.py vaderSentiment-3.3.2.tar.gz

The source distribution (MIT licence, see LICENSE.vaderSentiment.txt) holds 10,605 sentences of film
reviews, each with the mean of some twenty people's ratings from -4 to 4: Hutto & Gilbert (2014),
"VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM. The
sample is not SST-2's; it only has its layout and its way of writing.
"""

import argparse
import hashlib
import html
import io
import re
import tarfile
from pathlib import Path

SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
MEMBER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
CLEAR = 1.5  # least distance of a mean rating from neutral; 7,079 sentences have it
SIZES = {"train": 4000, "dev": 600}  # rows, half of them positive

# The way of writing of SST-2's files: the Penn Treebank's tokens, in lower case.
TOKENS = [
    (r"\s+", " "),
    (r"(?<!\S)''(?=\S)|(?<=\()''|(?<!\S)\"(?=\S)", "`` "),  # opening quotation marks
    (r"''|\"", " '' "),
    (r"(?<![^\s(])'(?=[^\W\d])", "` "),
    (r"(?<=[^\s'`])'(?=[\s.,;:!?)]|$)", " '"),
    (r"\.{2,}", " ... "),
    (r"([;!?()])", r" \1 "),
    (r"([,:])(?!\d)", r" \1 "),
    # A full stop, but not that of an abbreviation (mr. hill) or of initials (j.r.r.).
    (r"(?<![\s.])(?<![\s.][a-z])(?<!\b[mdjsv][rs])(?<!\bmrs)\.(?=[\s')]*$|\s)", " ."),
    (r"(?<=\w)n't\b", " n't"),
    (r"(?<=\w)'(s|re|ve|ll|d|m)\b", r" '\1"),
    (r"\bcannot\b", "can not"),
    (r"\s+", " "),
]


def tokenized(text: str) -> str:
    """Write a sentence in SST-2's way: `it's fun.` becomes `it 's fun .`."""
    text = html.unescape(text).lower().replace("’", "'")
    for pattern, replacement in TOKENS:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def read_ratings(archive: bytes) -> list[tuple[str, float]]:
    """Return the sentences with their mean ratings from the bytes of the source distribution."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        inner = outer.extractfile(MEMBER).read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as study:
        text = study.extractfile(RATINGS).read().decode("utf-8")
    rows = [line.split("\t") for line in text.replace("\r\n", "\n").split("\n") if line]
    return [(sentence, float(rating)) for _, rating, sentence in rows]


def make_splits(ratings: list[tuple[str, float]]) -> dict[str, list[tuple[str, int]]]:
    """Choose the rows of each split, half of them positive, no sentence twice."""
    rows: dict[str, tuple[str, int]] = {}
    for text, rating in ratings:
        if abs(rating) >= CLEAR:
            sentence = tokenized(text)
            # Sentences that differ in punctuation alone are one; the first stays.
            rows.setdefault("".join(filter(str.isalnum, sentence)), (sentence, int(rating > 0)))
    # A hash is an order that no sort of ratings or authors shines through, and needs no seed.
    ordered = sorted(rows.values(), key=lambda row: hashlib.sha256(row[0].encode()).digest())
    by_label = {label: [row for row in ordered if row[1] == label] for label in (0, 1)}
    splits = {}
    for split, size in SIZES.items():
        chosen = {row for label in by_label for row in by_label[label][: size // 2]}
        by_label = {label: rest[size // 2 :] for label, rest in by_label.items()}
        splits[split] = [row for row in ordered if row in chosen]
    return splits


def main() -> None:
    """Write both files beside this script."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("archive", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    archive = parser.parse_args().archive.read_bytes()
    if hashlib.sha256(archive).hexdigest() != SHA256:
        parser.error(f"expected the file with SHA-256 {SHA256}")
    folder = Path(__file__).parent / "glue" / "SST-2"
    for split, rows in make_splits(read_ratings(archive)).items():
        lines = ["sentence\tlabel", *(f"{sentence}\t{label}" for sentence, label in rows)]
        (folder / f"{split}.tsv").write_bytes(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
