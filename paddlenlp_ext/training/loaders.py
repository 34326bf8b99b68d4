"""From a task's files to this process's batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader, Order
from paddlenlp_ext.tasks.features import Features, make_features
from paddlenlp_ext.tasks.rows import BadRow, read_examples
from paddlenlp_ext.tasks.task import Task, TextExample
from paddlenlp_ext.tasks.token_cache import TokenCache
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed


@dataclass(frozen=True, slots=True)
class Batching:
    """How examples become the batches of this process.

    Attributes:
        tokenizer: The model's.
        max_length: Most tokens of an example.
        batch_size: Training examples of a batch on each process.
        eval_batch_size: The same of an evaluation; `batch_size` if absent.
        seed: Of the order of training.
        group_by_length: Whether training examples of similar length share a batch.
        pad_to_multiple_of: Lengths of batches are rounded up to a multiple of it.
        cache: Where ids are kept for later runs; None keeps none.
    """

    tokenizer: Tokenizer
    max_length: int
    batch_size: int
    eval_batch_size: int | None = None
    seed: int = 42
    group_by_length: bool = False
    pad_to_multiple_of: int = 1
    cache: TokenCache | None = None

    def training(self, examples: Sequence[TextExample]) -> Loader:
        """Tokenize examples to train on: shuffled anew each epoch, shared out batch by batch."""
        features = make_features(examples, self.tokenizer, self.max_length, cache=self.cache)
        order = BatchOrder(
            len(features),
            self.batch_size,
            self.seed,
            distributed.rank(),
            distributed.world_size(),
            lengths=[len(one) for one in features] if self.group_by_length else None,
        )
        return self._loader(features, order)

    def evaluation(self, examples: Sequence[TextExample]) -> Loader:
        """Tokenize examples to evaluate on: each process has its share, longest first."""
        features = make_features(examples, self.tokenizer, self.max_length, cache=self.cache)
        order = EvaluationOrder(
            len(features),
            self.eval_batch_size or self.batch_size,
            distributed.rank(),
            distributed.world_size(),
            lengths=[len(one) for one in features],
        )
        return self._loader(features, order)

    def _loader(self, features: Sequence[Features], order: Order) -> Loader:
        return Loader(
            features,
            order,
            pad_token_id=self.tokenizer.pad_token_id,
            pad_to_multiple_of=self.pad_to_multiple_of,
        )


def tell_left_out(bad_rows: Iterable[BadRow]) -> None:
    """Print each row that is left out, on the first process."""
    for bad in bad_rows if distributed.rank() == 0 else ():
        print(f"left out {bad.source}: {bad.reason}")


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
    batching: Batching,
    data_dir: str | Path,
    *,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
) -> TaskLoaders:
    """Read, tokenize and batch all splits of a task.

    Args:
        task: Its first split is trained on, the others are evaluated on.
        batching: How examples become batches.
        data_dir: Folder of the task's files, or the one above it.
        max_train_samples: Use the first rows only.
        max_eval_samples: Use the first rows of each evaluation split only.
        on_bad_row: Stop at a row that cannot be used, or leave it out and say so.

    Raises:
        DataError: A file is missing or holds rows that cannot be used.
    """
    bad_rows = 0

    def read(split: str, limit: int | None) -> list[TextExample]:
        nonlocal bad_rows
        examples = read_examples(task, split, data_dir, on_bad_row=on_bad_row)
        bad_rows += len(examples.bad_rows)
        tell_left_out(examples.bad_rows)
        return examples[:limit]

    first, *others = task.splits
    # All files are read before the first is tokenized, so that a bad row is told at once.
    train = read(first, max_train_samples)
    held_out = {split: read(split, max_eval_samples) for split in others}
    return TaskLoaders(
        batching.training(train),
        {split: batching.evaluation(examples) for split, examples in held_out.items()},
        [example.source for example in train],
        bad_rows,
    )
