"""Sentence retrieval by the states of transformers' model, beside `paddlenlp-ext eval-alignment`.

    python benchmarks/transformers_alignment.py ENCODER_FOLDER tatoeba/en-de.tsv tatoeba/en-sw.tsv
    paddlenlp-ext eval-alignment ENCODER_FOLDER tatoeba/en-de.tsv tatoeba/en-sw.tsv

Needs torch and transformers (`pip install 'paddlenlp-ext[parity]'`) and a folder in transformers'
layout. Prints the rows of `alignment.tsv`; nothing of this project's models or tokenizers is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def vectors(model: Any, tokenizer: Any, sentences: Sequence[str], batch_size: int) -> Any:
    """Mean of each layer's states over the tokens; float32 [layers, N, H]."""
    import torch

    means = []
    for start in range(0, len(sentences), batch_size):
        inputs = tokenizer(
            [*sentences[start : start + batch_size]],
            padding=True,
            truncation=True,
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        )
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states
        mask = inputs["attention_mask"][:, :, None]
        means.append([((one * mask).sum(1) / mask.sum(1)).numpy() for one in states])
    return np.concatenate([np.stack(one) for one in means], axis=1)


def found(queries: Any, answers: Any, sentences: Sequence[str]) -> float:
    """Part of the queries whose nearest answer reads as the right one."""
    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        answers / np.linalg.norm(answers, axis=1, keepdims=True)
    ).T
    nearest = cosines.argmax(axis=1)
    return float(
        np.mean([sentences[at] == one for at, one in zip(nearest, sentences, strict=True)])
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="folder in transformers' layout")
    parser.add_argument("pairs", type=Path, nargs="+", help="two columns with a tab between them")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_pairs", type=int)
    args = parser.parse_args(argv)
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(args.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model, use_fast=False)
    print("pairs\tcount\tlayer\tforward\tbackward\tmean")
    for path in args.pairs:
        lines = path.read_text(encoding="utf-8").splitlines()[: args.max_pairs]
        sides = [[line.split("\t")[at].strip() for line in lines] for at in (0, 1)]
        first, second = sides
        ours, theirs = (vectors(model, tokenizer, one, args.batch_size) for one in sides)
        for layer, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            there, back = found(one, other, second), found(other, one, first)
            numbers = f"{there:.6f}\t{back:.6f}\t{(there + back) / 2:.6f}"
            print(f"{path.stem}\t{len(lines)}\t{layer}\t{numbers}", flush=True)


if __name__ == "__main__":
    main()
