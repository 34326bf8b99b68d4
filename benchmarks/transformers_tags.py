"""Fine-tune an encoder to tag words with transformers and torch: the other side of docs/results.md.

    python -m benchmarks.transformers_tags --model_name_or_path FOLDER \
        --train_file wnut17/train.conll --validation_file wnut17/dev.conll --seed 42

Same sentences in the same batches, same settings and metric as

    python examples/tasks/run_token_classification.py --model_name_or_path FOLDER \
        --train_file wnut17/train.conll --validation_file wnut17/dev.conll --seed 42 \
        --batch_size 32 --warmup_proportion 0.1 --group_by_length true --save_steps 100000 \
        --output_dir outputs/tags --do_train

Model, tokenizer, optimizer and schedule are theirs. Prints one JSON line, with the loss of each
step and the results of each file. Tokenizers of transformers that know no words are given one word
at a time: ERNIE-M's, and RemBERT's slow one, which the comparison on XNLI has too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.transformers_training import (
    Inputs,
    add_files,
    collate,
    load,
    logits_of,
    make_parser,
    pad,
    print_line,
    train,
)
from paddlenlp_ext.tasks.token_labels import (
    TaggedSentence,
    TokenRow,
    read_sentences,
    tag_metric,
    tag_names,
)

IGNORED = -100  # torch's


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0], max_seq_length=128, learning_rate=5e-5)
    add_files(parser)
    parser.add_argument(
        "--trim_vocab", action="store_true", help="train the words of the data only"
    )
    parser.set_defaults(batch_size=32, threads=2)
    return parser.parse_args(argv)


Cut = Iterator[tuple[int, list[int], list[int | None]]]


def cut_by_words(sentences: Sequence[TaggedSentence], tokenizer: Any, longest: int) -> Cut:
    """Yield the rows of each sentence: its number, ids, and the word of each of them."""
    encoded = tokenizer(
        [list(one.words) for one in sentences],
        is_split_into_words=True,
        truncation=True,
        max_length=longest,
        return_overflowing_tokens=True,
    )
    for row, number in enumerate(encoded.overflow_to_sample_mapping):
        yield number, encoded.input_ids[row], encoded.word_ids(row)


def cut_word_by_word(sentences: Sequence[TaggedSentence], tokenizer: Any, longest: int) -> Cut:
    """Yield the same of a tokenizer that does not say where words are."""
    for number, sentence in enumerate(sentences):
        pieces = [tokenizer.tokenize(word) for word in sentence.words]
        ids = tokenizer.convert_tokens_to_ids([piece for one in pieces for piece in one])
        word_ids = [word for word, one in enumerate(pieces) for _ in one]
        size = longest - tokenizer.num_special_tokens_to_add()
        for start in range(0, max(1, len(ids)), size):
            part = slice(start, start + size)
            framed = tokenizer.build_inputs_with_special_tokens(ids[part])
            yield number, framed, [None, *word_ids[part], None]


class Rows:
    """What the model reads of sentences: ids and labels, and where the words are."""

    def __init__(
        self, sentences: Sequence[TaggedSentence], tags: Sequence[str], tokenizer: Any, longest: int
    ) -> None:
        self.tokenizer = tokenizer
        self.ids: list[list[int]] = []
        self.labels: list[np.ndarray] = []
        self.places: list[TokenRow] = []
        before: tuple[int, int | None] = (-1, None)
        cut = cut_by_words if tokenizer.is_fast else cut_word_by_word
        for number, ids, word_ids in cut(sentences, tokenizer, longest):
            words, tokens = [], []
            for token, word in enumerate(word_ids):
                if word is not None and (number, word) != before:
                    words.append(word)
                    tokens.append(token)
                    before = number, word
            label = np.full(len(ids), IGNORED)
            gold = sentences[number].tags
            label[tokens] = [tags.index(gold[w]) if gold[w] in tags else IGNORED for w in words]
            self.ids.append(ids)
            self.labels.append(label)
            self.places.append(TokenRow(number, np.array(words, int), np.array(tokens, int)))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return list(map(len, self.ids))

    def collate(self, chosen: np.ndarray) -> Inputs:
        """Pad rows; with the labels of their tokens."""
        labels = pad([self.labels[row] for row in chosen], IGNORED)
        return collate({"input_ids": self.ids}, self.tokenizer, chosen) | {"labels": labels}


class TrimmedTable(torch.nn.Module):
    """The embeddings of some words, by the ids of all; the others are never looked up."""

    def __init__(self, table: torch.nn.Embedding, used: Sequence[int]) -> None:
        super().__init__()
        places = torch.zeros(table.num_embeddings, dtype=torch.long)
        places[used] = torch.arange(len(used))
        self.register_buffer("places", places)
        self.rows = torch.nn.Embedding.from_pretrained(table.weight[used], freeze=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Look ids up; float32 [B, L, H]."""
        return self.rows(self.places[ids])


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Train, evaluate on each file and return the results."""
    args = parse_args(argv)
    train_sentences = read_sentences(list(map(Path, args.train_file)))[0]
    sentences = {name: read_sentences([Path(name)])[0] for name in args.validation_file}
    tags = tag_names(train_sentences)
    config = transformers.AutoConfig.from_pretrained(args.model_name_or_path)
    is_rembert = config.model_type == "rembert"
    tokenizer, model = load(
        transformers.AutoModelForTokenClassification,
        args,
        transformers.RemBertTokenizer if is_rembert else transformers.AutoTokenizer,
        num_labels=len(tags),
    )
    make_rows = partial(Rows, tags=tags, tokenizer=tokenizer, longest=args.max_seq_length)
    rows, tested = make_rows(train_sentences), {name: make_rows(o) for name, o in sentences.items()}
    if args.trim_vocab:
        found = (ids for one in (rows, *tested.values()) for ids in one.ids)
        used = {tokenizer.pad_token_id}.union(*found)
        model.set_input_embeddings(TrimmedTable(model.get_input_embeddings(), sorted(used)))
    training = train(model, rows, args)
    results = {}
    for name, one in tested.items():
        metric = tag_metric(one.places, sentences[name], tags, strict=False)
        results[Path(name).stem] = metric(logits_of(model, one), one.labels)
    print_line(args, training, results=results)
    return results


if __name__ == "__main__":
    main()
