"""Fine-tune an encoder to answer questions with transformers: the other side of docs/results.md.

    python -m benchmarks.transformers_answers --model_name_or_path FOLDER \
        --train_file xquad/train.en.json --validation_file xquad/dev.*.json --seed 42

Same questions, windows and batches, same settings and scores as

    python examples/tasks/run_question_answering.py --model_name_or_path FOLDER \
        --train_file xquad/train.en.json --validation_file xquad/dev.*.json --seed 42 \
        --max_seq_length 256 --doc_stride 64 --learning_rate 1e-4 --warmup_proportion 0.1 \
        --group_by_length true --save_steps 100000 --output_dir outputs/answers --do_train

Model, tokenizer, optimizer and schedule are theirs; windows are made and answers chosen as their
official script does, `run_qa.py`. Prints one JSON line.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.transformers_training import (
    Inputs,
    add_files,
    collate,
    evaluate,
    load,
    make_parser,
    print_line,
    train,
)
from paddlenlp_ext.tasks.answers import squad_scores
from paddlenlp_ext.tasks.questions import Question, read_questions

N_BEST, MAX_ANSWER_LENGTH = 20, 30  # defaults of both scripts


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0], max_seq_length=256, learning_rate=1e-4)
    add_files(parser)
    parser.add_argument("--doc_stride", type=int, default=64)
    return parser.parse_args(argv)


class Windows:
    """Rows of questions and parts of their passages.

    Attributes:
        owners: Number of the question of each row.
        offsets: Of each row's tokens, first and one past last character; None outside the passage.
    """

    def __init__(
        self, questions: Sequence[Question], tokenizer: Any, args: argparse.Namespace
    ) -> None:
        encoded = tokenizer(
            [one.text.strip() for one in questions],
            [one.context for one in questions],
            truncation="only_second",
            max_length=args.max_seq_length,
            stride=args.doc_stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        self.tokenizer, self.encoded = tokenizer, encoded
        self.owners: list[int] = encoded.overflow_to_sample_mapping
        self.offsets: list[list[tuple[int, int] | None]] = [
            [
                place if part == 1 else None
                for place, part in zip(places, encoded.sequence_ids(row), strict=True)
            ]
            for row, places in enumerate(encoded.offset_mapping)
        ]
        self.labels = [
            label(questions[owner], offsets)
            for owner, offsets in zip(self.owners, self.offsets, strict=True)
        ]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return list(map(len, self.encoded.input_ids))

    def collate(self, chosen: np.ndarray) -> Inputs:
        """Pad rows; with the first and the last tokens of their answers."""
        inputs = collate(self.encoded, self.tokenizer, chosen)
        starts, ends = torch.tensor([self.labels[row] for row in chosen]).T
        return inputs | {"start_positions": starts, "end_positions": ends}


def label(question: Question, offsets: Sequence[tuple[int, int] | None]) -> tuple[int, int]:
    """Find first and last token of the answer; the row's first token where it is not inside."""
    places = [place for place, one in enumerate(offsets) if one is not None]
    if not places or not question.answers:
        return 0, 0
    begin, end = question.start, question.start + len(question.answers[0])
    if offsets[places[0]][0] > begin or offsets[places[-1]][1] < end:
        return 0, 0
    first = max(place for place in places if offsets[place][0] <= begin)
    last = min(place for place in places if offsets[place][1] >= end)
    return first, last


def best_of(
    starts: np.ndarray, ends: np.ndarray, offsets: Sequence[tuple[int, int] | None]
) -> tuple[float, tuple[int, int]] | None:
    """Return the score of a window's best answer and its characters, if there is one."""
    best = None
    for first in np.argsort(starts)[-1 : -N_BEST - 1 : -1]:
        for last in np.argsort(ends)[-1 : -N_BEST - 1 : -1]:
            if max(first, last) >= len(offsets) or offsets[first] is None or offsets[last] is None:
                continue
            if last < first or last - first + 1 > MAX_ANSWER_LENGTH:
                continue
            score = float(starts[first] + ends[last])
            if best is None or score > best[0]:
                best = score, (offsets[first][0], offsets[last][1])
    return best


def scores_of(
    model: Any, questions: Sequence[Question], tokenizer: Any, args: argparse.Namespace
) -> dict[str, float]:
    """Answer questions; return exact match and F1."""
    windows = Windows(questions, tokenizer, args)
    answers: dict[int, tuple[float, tuple[int, int]]] = {}
    for chosen, output in evaluate(model, windows):
        logits = output.start_logits.numpy(), output.end_logits.numpy()
        for row, starts, ends in zip(chosen, *logits, strict=True):
            owner = windows.owners[row]
            found = best_of(starts, ends, windows.offsets[row])
            if found and (owner not in answers or found > answers[owner]):
                answers[owner] = found
    given = dict.fromkeys((one.name for one in questions), "")
    for owner, (_, (begin, end)) in answers.items():
        given[questions[owner].name] = questions[owner].context[begin:end]
    gold = {one.name: one.answers for one in questions}
    return squad_scores(given, gold, has_negatives=False)


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Train, evaluate on each file and return the results."""
    args = parse_args(argv)
    questions, _ = read_questions(map(Path, args.train_file), for_training=True)
    tokenizer, model = load(transformers.AutoModelForQuestionAnswering, args)
    training = train(model, Windows(questions, tokenizer, args), args)
    results = {
        Path(name).stem: scores_of(model, read_questions([Path(name)])[0], tokenizer, args)
        for name in args.validation_file
    }
    print_line(args, training, results=results)
    return results


if __name__ == "__main__":
    main()
