"""Compare every id of our tokenizers with those of transformers.

    python -m benchmarks.compare_tokens --texts TEXTS --vocab VOCABULARIES

`--texts` is a folder: every field of its .tsv files and every line of its .txt files is a text.
`--vocab` names folders of tokenizers, or folders that hold such folders: with a vocab.txt, with a
sentencepiece model (RemBERT) or with both (ERNIE-M). Needs the extra `[parity]`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.prepare import read_texts
from paddlenlp_ext.tokenizers.sentencepiece import (
    ErnieMTokenizer,
    RemBertTokenizer,
    RemBertTokenizerFast,
)
from paddlenlp_ext.tokenizers.wordpiece import BertTokenizer

CHUNK = 5000  # texts of one call of the comparison; bounds memory
LIMITS: dict[str, Any] = {"truncation": True, "max_length": 128}


def tokenizers(folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """Load the tokenizers of a folder in both libraries: name, ours, theirs."""
    import transformers

    theirs: Any
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=Path, required=True, help="folder with .tsv and .txt files")
    parser.add_argument("--vocab", type=Path, nargs="+", required=True, help="tokenizer folders")
    args = parser.parse_args()
    texts = read_texts(args.texts)
    print(f"{len(texts):,} distinct texts\n| tokenizer | rows that differ |\n|---|---|")
    for folder in args.vocab:
        for name, ours, theirs in tokenizers(folder):
            wrong = count_mismatches(ours, theirs, texts)
            differ = ", ".join(f"{column} {n}" for column, n in wrong.items())
            print(f"| {name} | {differ} |", flush=True)


if __name__ == "__main__":
    main()
