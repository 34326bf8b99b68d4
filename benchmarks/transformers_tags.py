"""Fine-tune an encoder to tag words with transformers and torch: the other side of docs/results.md.

    python benchmarks/transformers_tags.py --model_name_or_path FOLDER \
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
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder
from paddlenlp_ext.tasks.token_labels import (
    TaggedSentence,
    TokenRow,
    read_sentences,
    tag_metric,
    tag_names,
)

IGNORED = -100  # torch's


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--train_file", nargs="+", type=Path, required=True)
    parser.add_argument("--validation_file", nargs="+", type=Path, required=True)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--warmup_proportion", type=float, default=0.1)
    parser.add_argument("--num_train_epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--trim_vocab", action="store_true", help="train the words of the data only"
    )
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
        self.pad = tokenizer.pad_token_id
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

    def batches(
        self, order: Iterable[np.ndarray]
    ) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]]:
        """Yield inputs and labels of each batch, int64 [B, L], and the numbers of its rows."""
        for chosen in order:
            shape = len(chosen), max(len(self.ids[row]) for row in chosen)
            ids, labels = np.full(shape, self.pad), np.full(shape, IGNORED)
            mask = np.zeros(shape, int)
            for place, row in enumerate(chosen):
                length = len(self.ids[row])
                ids[place, :length] = self.ids[row]
                labels[place, :length] = self.labels[row]
                mask[place, :length] = 1
            inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
            yield inputs, torch.tensor(labels), chosen


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


def test(
    model: Any, rows: Rows, sentences: Sequence[TaggedSentence], tags: Sequence[str]
) -> dict[str, float]:
    """Score the tags of sentences as the script does."""
    logits: dict[int, np.ndarray] = {}
    order = EvaluationOrder(len(rows.ids), 64, lengths=rows.lengths)
    with torch.no_grad():
        for inputs, _, chosen in rows.batches(order.rows()):
            logits |= zip(chosen.tolist(), model(**inputs).logits.numpy(), strict=True)
    metric = tag_metric(rows.places, sentences, tags, strict=False)
    return metric([logits[row] for row in range(len(rows.ids))], rows.labels)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    folder = args.model_name_or_path
    torch.set_num_threads(args.threads)
    transformers.set_seed(args.seed)
    train = read_sentences(args.train_file)[0]
    sentences = {path: read_sentences([path])[0] for path in args.validation_file}
    tags = tag_names(train)
    is_rembert = transformers.AutoConfig.from_pretrained(folder).model_type == "rembert"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, use_fast=not is_rembert)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        folder, num_labels=len(tags), dtype=torch.float32
    )
    make_rows = partial(Rows, tags=tags, tokenizer=tokenizer, longest=args.max_seq_length)
    rows, tested = make_rows(train), {path: make_rows(one) for path, one in sentences.items()}
    if args.trim_vocab:
        used = {rows.pad}.union(*(ids for one in (rows, *tested.values()) for ids in one.ids))
        model.set_input_embeddings(TrimmedTable(model.get_input_embeddings(), sorted(used)))
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        (plain if "bias" in name or "norm" in name.lower() else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, args.learning_rate, weight_decay=args.weight_decay)
    steps = -(-len(rows.ids) // args.batch_size) * args.num_train_epochs
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, int(steps * args.warmup_proportion), steps
    )
    order = BatchOrder(len(rows.ids), args.batch_size, args.seed, lengths=rows.lengths)
    losses = []
    started = time.perf_counter()
    model.train()
    for epoch in range(args.num_train_epochs):
        for inputs, labels, _ in rows.batches(order.rows(epoch)):
            loss = model(**inputs, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    seconds = time.perf_counter() - started
    model.eval()
    results = {}
    for path in args.validation_file:
        results[path.stem] = test(model, tested[path], sentences[path], tags)
    line = vars(args) | {
        "train_file": list(map(str, args.train_file)),
        "validation_file": list(map(str, args.validation_file)),
    }
    line |= {"train_seconds": round(seconds, 1), "losses": losses, "results": results}
    line |= {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
