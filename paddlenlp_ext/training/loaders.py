"""From a task's files to this process's batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader
from paddlenlp_ext.tasks.features import make_features
from paddlenlp_ext.tasks.rows import read_examples
from paddlenlp_ext.tasks.task import Task, TextExample
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed


@dataclass(frozen=True)
class TaskLoaders:
    """The batches of a task.

    Attributes:
        train: Of training.
        evaluate_on: Of each other split, by its name.
        sources: Where each training row stands ("train.tsv:17").
        bad_rows: How many rows were left out.
    """

    train: Loader
    evaluate_on: dict[str, Loader]
    sources: list[str]
    bad_rows: int


def task_loaders(
    task: Task,
    tokenizer: Tokenizer,
    data_dir: str | Path,
    *,
    max_length: int,
    batch_size: int,
    eval_batch_size: int | None = None,
    seed: int = 42,
    group_by_length: bool = False,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
    pad_to_multiple_of: int = 1,
) -> TaskLoaders:
    """Read, tokenize and batch all splits of a task.

    Args:
        task: Its first split is trained on, the others are evaluated on.
        tokenizer: The model's.
        data_dir: Folder of the task's files, or the one above it.
        max_length: Most tokens of an example.
        batch_size: Training examples of a batch on each process.
        eval_batch_size: The same of an evaluation; `batch_size` if absent.
        seed: Of the order of training.
        group_by_length: Whether examples of similar length share a batch.
        max_train_samples: Use the first rows only.
        max_eval_samples: Use the first rows of each evaluation split only.
        on_bad_row: Stop at a row that cannot be used, or leave it out and say so.
        pad_to_multiple_of: Lengths of batches are rounded up to a multiple of it.

    Raises:
        DataError: A file is missing or holds rows that cannot be used.
    """
    rank, world_size = distributed.rank(), distributed.world_size()
    bad_rows = 0

    def read(split: str, limit: int | None) -> list[TextExample]:
        nonlocal bad_rows
        examples = read_examples(task, split, data_dir, on_bad_row=on_bad_row)
        bad_rows += len(examples.bad_rows)
        for bad in examples.bad_rows if rank == 0 else ():
            print(f"left out {bad.source}: {bad.reason}")
        return examples[:limit]

    def loader(examples: Sequence[TextExample], training: bool) -> Loader:
        features = make_features(examples, tokenizer, max_length)
        lengths = [len(one) for one in features]
        order: BatchOrder | EvaluationOrder
        if training:
            order = BatchOrder(
                len(features),
                batch_size,
                seed,
                rank,
                world_size,
                lengths=lengths if group_by_length else None,
            )
        else:
            size = eval_batch_size or batch_size
            order = EvaluationOrder(len(features), size, rank, world_size, lengths)
        return Loader(
            features,
            order,
            pad_token_id=tokenizer.pad_token_id,
            pad_to_multiple_of=pad_to_multiple_of,
        )

    first, *others = task.splits
    # All files are read before the first is tokenized, so that a bad row is told at once.
    train = read(first, max_train_samples)
    held_out = {split: read(split, max_eval_samples) for split in others}
    return TaskLoaders(
        loader(train, training=True),
        {split: loader(examples, training=False) for split, examples in held_out.items()},
        [example.source for example in train],
        bad_rows,
    )
