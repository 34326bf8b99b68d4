"""A tokenizer of a few made-up words, and corpora of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paddlenlp_ext.tokenizers.bert import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)
WORDS = [f"w{number}" for number in range(300)]
PIECES = [f"##p{number}" for number in range(60)]  # continue a word


def tokenizer(folder: Path) -> BertTokenizer:
    """A tokenizer of `SPECIAL`, `WORDS` and `PIECES`, in this order."""
    path = folder / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, *WORDS, *PIECES]) + "\n", encoding="utf-8")
    return BertTokenizer(path)


def corpus(path: Path, documents: int, sentences: tuple[int, int] = (3, 30), seed: int = 1) -> Path:
    """Write documents of random sentences of 2 to 12 words, some of several pieces."""
    random = np.random.default_rng(seed)
    written = []
    for _ in range(documents):
        lines = []
        for _ in range(random.integers(*sentences)):
            words = [
                WORDS[random.integers(len(WORDS))]
                + "".join(f"p{random.integers(60)}" for _ in range(random.integers(-2, 3)))
                for _ in range(random.integers(2, 13))
            ]
            lines.append(" ".join(words))
        written.append("\n".join(lines))
    path.write_text("\n\n".join(written) + "\n", encoding="utf-8")
    return path
