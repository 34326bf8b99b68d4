"""Compare every id of our tokenizers with those of transformers, and check every offset.

    python -m benchmarks.compare_tokens --texts TEXTS --vocab VOCABULARIES

`--texts` is a folder: every field of its .tsv files and every line of its .txt files is a text.
`--vocab` names folders of tokenizers, or folders that hold such folders: with a vocab.txt, with a
sentencepiece model (RemBERT and XLM-R) or with both (ERNIE-M). Where the others' tokenizer runs on
the `tokenizers` library, offsets, overlapping rows, given words, and texts with a mask and an added
token are compared too. Needs the extra `[parity]`.
"""

import argparse
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.prepare import read_texts
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer, RemBertTokenizerFast
from paddlenlp_ext.tokenizers.xlm_r import XLMRobertaTokenizer

CHUNK = 5000  # texts of one call of the comparison; bounds memory
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what sentencepiece puts for a space
LIMITS: dict[str, Any] = {"truncation": True, "max_length": 128}
WINDOWS: dict[str, Any] = {"max_length": 24, "stride": 5, "return_overflowing_tokens": True}
ADDED = "newword"  # a token that all tokenizers get

Call = tuple[list[Any], dict[str, Any]]  # arguments and options


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
        theirs = transformers.XLMRobertaTokenizerFast(str(model))
        yield f"{folder.name}, XLM-R", XLMRobertaTokenizer(model), theirs
    elif vocabulary.is_file():
        lower = "uncased" in folder.name
        theirs = transformers.BertTokenizerFast(str(vocabulary), do_lower_case=lower)
        yield folder.name, BertTokenizer(vocabulary, lower), theirs
    else:
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from tokenizers(inner)


def fast_calls(texts: list[str], seconds: list[str]) -> Iterator[Call]:
    """List further calls, for tokenizers that have offsets in both libraries."""
    offsets = {"return_offsets_mapping": True}
    yield [texts], offsets
    yield [texts, seconds], {**LIMITS, **offsets}
    yield [texts], {**LIMITS, **offsets, **WINDOWS}
    words = [[text.split() for text in part] for part in (texts, seconds)]
    yield words, {"is_split_into_words": True, **LIMITS, **offsets}


def marked(text: str, mask: str) -> str:
    """Put a mask and an added token into a text, at a place that depends on its length."""
    place = len(text) * 3 // 7
    return f"{text[:place]}{mask}{text[place:]} {ADDED}"


def count_mismatches(ours: Any, theirs: Any, texts: list[str]) -> dict[str, int]:
    """Count texts, whole and as cut pairs, whose rows differ, by column."""
    wrong: dict[str, int] = {}
    seconds = texts[1:] + texts[:1]
    for start in range(0, len(texts), CHUNK):
        part = slice(start, start + CHUNK)
        made: list[Call] = [([texts[part]], {}), ([texts[part], seconds[part]], LIMITS)]
        if theirs.is_fast:  # asked for offsets, ours takes another way to the ids
            made += fast_calls(texts[part], seconds[part])
        for arguments, options in made:
            mine, reference = ours(*arguments, **options), theirs(*arguments, **options)
            for name, expected in reference.items():
                rows = zip(mine[name], expected, strict=True)
                wrong[name] = wrong.get(name, 0) + sum(row != other for row, other in rows)
    return wrong


def count_wrong_offsets(tokenizer: Any, texts: list[str]) -> int:
    """Count tokens whose span is outside the text, goes back, or does not cover the token's text.

    A token covers its span if it equals it once both are in their compatibility form, in which
    case and accents do not count: the models fold characters before they cut.
    """
    wrong = 0
    for start in range(0, len(texts), CHUNK):
        part = texts[start : start + CHUNK]
        encoded = tokenizer(part, add_special_tokens=False, return_offsets_mapping=True)
        for text, ids, spans in zip(part, encoded.input_ids, encoded.offset_mapping, strict=True):
            last = 0
            for token, (begin, end) in zip(
                tokenizer.convert_ids_to_tokens(ids), spans, strict=True
            ):
                covered = _folded(text[begin:end])
                word = _folded(token.removeprefix("##").replace(SPACE, ""))
                fits = token == tokenizer.unk_token or word in covered or covered in word
                wrong += not (last <= begin <= end <= len(text) and fits)
                last = begin
    return wrong


def _folded(text: str) -> str:
    """Leave out what models fold: case, width, accents, spaces, invisible characters."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in plain if unicodedata.category(c)[0] not in "MZC")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=Path, required=True, help="folder with .tsv and .txt files")
    parser.add_argument("--vocab", type=Path, nargs="+", required=True, help="tokenizer folders")
    args = parser.parse_args()
    texts = read_texts(args.texts)
    print(f"{len(texts):,} distinct texts")
    print("| tokenizer | rows that differ | wrong offsets |\n|---|---|---|")
    for folder in args.vocab:
        for name, ours, theirs in tokenizers(folder):
            wrong = count_mismatches(ours, theirs, texts)
            if theirs.is_fast:
                for tokenizer in (ours, theirs):
                    tokenizer.add_tokens([ADDED])
                more = [marked(text, ours.mask_token) for text in texts]
                for column, n in count_mismatches(ours, theirs, more).items():
                    wrong[f"{column} with a mask"] = n
            differ = ", ".join(f"{column} {n}" for column, n in wrong.items())
            print(f"| {name} | {differ} | {count_wrong_offsets(ours, texts)} |", flush=True)


if __name__ == "__main__":
    main()
