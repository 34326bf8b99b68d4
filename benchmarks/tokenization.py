"""Compare our tokenizers with those of transformers: every id, and texts a second.

    python benchmarks/tokenization.py --texts TEXTS --vocab VOCABULARIES --compare

`--texts` is a folder: every field of its .tsv files and every line of its .txt files is a text.
`--vocab` names folders of tokenizers, or folders that hold such folders: with a vocab.txt, with a
sentencepiece model (RemBERT) or with both (ERNIE-M). Needs the extra `[parity]`.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paddlenlp_ext.tokenizers.sentencepiece import (
    ErnieMTokenizer,
    RemBertTokenizer,
    RemBertTokenizerFast,
)
from paddlenlp_ext.tokenizers.wordpiece import BertTokenizer

CHUNK = 5000  # texts of one call of the comparison; bounds memory
LIMITS: dict[str, Any] = {"truncation": True, "max_length": 128}


def read_texts(folder: Path) -> list[str]:
    """Collect the distinct texts of a folder, in a fixed order."""
    texts: dict[str, None] = {}
    for path in sorted([*folder.rglob("*.tsv"), *folder.rglob("*.txt")]):
        if not path.name.endswith("vocab.txt"):
            for line in path.read_text("utf-8", errors="replace").split("\n"):
                texts.update(dict.fromkeys(line.split("\t")))
    return list(texts)


def tokenizers(folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """Load the tokenizers of a folder in both libraries: name, ours, theirs."""
    import transformers

    transformers.logging.set_verbosity_error()
    vocabulary = folder / "vocab.txt"
    model = next(iter(sorted(folder.glob("*.model"))), None)
    if vocabulary.is_file() and model:
        theirs = transformers.ErnieMTokenizer(str(model), str(vocabulary))
        yield f"{folder.name}, ERNIE-M", ErnieMTokenizer(vocabulary, model), theirs
    elif model:
        theirs = transformers.RemBertTokenizer(str(model))
        yield f"{folder.name}, RemBERT", RemBertTokenizer(model), theirs
        yield f"{folder.name}, RemBERT Fast", RemBertTokenizerFast(model), theirs
    elif vocabulary.is_file():
        lower = "uncased" in folder.name
        theirs = transformers.BertTokenizerFast(str(vocabulary), do_lower_case=lower)
        yield folder.name, BertTokenizer(vocabulary, lower), theirs
    else:
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from tokenizers(inner)


def count_mismatches(ours: Any, theirs: Any, texts: list[str]) -> dict[str, int]:
    """Count texts, whole and as cut pairs, whose rows differ, by column."""
    offsets = {"return_offsets_mapping": True} if theirs.is_fast else {}
    wrong: dict[str, int] = {}
    seconds = texts[1:] + texts[:1]
    for start in range(0, len(texts), CHUNK):
        part = slice(start, start + CHUNK)
        calls: list[tuple[list[Any], dict[str, Any]]] = [
            ([texts[part]], offsets),
            ([texts[part], seconds[part]], {**offsets, **LIMITS}),
        ]
        for arguments, options in calls:
            mine, reference = ours(*arguments, **options), theirs(*arguments, **options)
            for name, expected in reference.items():
                rows = zip(mine[name], expected, strict=True)
                wrong[name] = wrong.get(name, 0) + sum(row != other for row, other in rows)
    return wrong


def speeds(tokenizers: list[Any], samples: list[list[str]]) -> list[float]:
    """Time calls on texts and on pairs; texts a second, the median over the samples.

    Each sample is new to all of them, and they take turns, so that all meet the same machine.
    """

    def alone(tokenizer: Any, sample: list[str]) -> None:
        tokenizer(sample, **LIMITS)

    def pairs(tokenizer: Any, sample: list[str]) -> None:
        tokenizer(sample, sample[1:] + sample[:1], **LIMITS)

    figures: list[float] = []
    calls: list[Callable[[Any, list[str]], None]] = [alone, pairs]
    for call in calls:
        rates: list[list[float]] = [[] for _ in tokenizers]
        for sample in samples:
            for tokenizer, rate in zip(tokenizers, rates, strict=True):
                start = time.perf_counter()
                call(tokenizer, sample)
                rate.append(len(sample) / (time.perf_counter() - start))
        figures += [statistics.median(rate) for rate in rates]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=Path, required=True, help="folder with .tsv and .txt files")
    parser.add_argument("--vocab", type=Path, nargs="+", required=True, help="tokenizer folders")
    parser.add_argument("--compare", action="store_true", help="compare all texts, not only speed")
    parser.add_argument("--sample", type=int, default=10000, help="texts of a timed call")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls; the median counts")
    args = parser.parse_args()

    texts = read_texts(args.texts)
    shuffled = random.Random(0).sample(texts, len(texts))
    samples = [
        shuffled[start : start + args.sample]
        for start in range(0, args.sample * args.repeats, args.sample)
        if start < len(shuffled)
    ]
    print(
        f"{len(texts):,} distinct texts; texts (pairs) a second in calls of {len(samples[0]):,}, "
        f"median of {len(samples)}"
    )
    print("| tokenizer | rows that differ | ours | transformers | ours, pairs |", end="")
    print(" transformers, pairs |\n|---|---|---|---|---|---|")
    for folder in args.vocab:
        for name, ours, theirs in tokenizers(folder):
            wrong = count_mismatches(ours, theirs, texts) if args.compare else {}
            differ = ", ".join(f"{column} {n}" for column, n in wrong.items()) or "not compared"
            figures = " | ".join(f"{figure:,.0f}" for figure in speeds([ours, theirs], samples))
            print(f"| {name} | {differ} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
