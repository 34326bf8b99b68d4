"""From a task's files to this process's batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader, Order
from paddlenlp_ext.tasks.download import official_folder
from paddlenlp_ext.tasks.features import Features, make_features
from paddlenlp_ext.tasks.rows import BadRow, read_examples
from paddlenlp_ext.tasks.task import Task, TextExample
from paddlenlp_ext.tasks.token_cache import TokenCache
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed

Batches = TypeVar("Batches", bound=Sized)


@dataclass(frozen=True)
class RunData(Generic[Batches]):
    """What a run trains and evaluates on.

    Attributes:
        train: Batches to train on, of every epoch.
        evaluate_on: Held-out batches by the name of their split.
        sources: Where each training row stands ("train.tsv:17"), for messages.
        max_length: Most tokens of a row.
        digest: Of what is trained on; empty where it was known before it was read.
    """

    train: Batches
    evaluate_on: Mapping[str, Batches]
    sources: Sequence[str]
    max_length: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Batching:
    """How examples become the batches of this process.

    Attributes:
        tokenizer: The model's.
        max_length: Most tokens of an example.
        batch_size: Training examples of a batch on each process.
        eval_batch_size: The same of an evaluation; `batch_size` if absent.
        seed: Of the order of training.
        accumulate: Batches of an update, on each process.
        group_by_length: Whether training examples of similar length make up an update.
        pad_to_multiple_of: Lengths of batches are rounded up to a multiple of it.
        cache: Where ids are kept for later runs; None keeps none.
    """

    tokenizer: Tokenizer
    max_length: int
    batch_size: int
    eval_batch_size: int | None = None
    seed: int = 42
    accumulate: int = 1
    group_by_length: bool = False
    pad_to_multiple_of: int = 1
    cache: TokenCache | None = None

    def data(
        self, train: Sequence[TextExample], evaluate_on: Mapping[str, Sequence[TextExample]]
    ) -> RunData[Loader]:
        """Tokenize all examples of a run."""
        loader = self.train_loader(train)
        return RunData(
            loader,
            {split: self.evaluation_loader(examples) for split, examples in evaluate_on.items()},
            [example.source for example in train],
            self.max_length,
            digest(loader.features),
        )

    def train_loader(self, examples: Sequence[TextExample]) -> Loader:
        """Tokenize examples to train on: every epoch has its order, each process its part."""
        features = make_features(examples, self.tokenizer, self.max_length, cache=self.cache)
        order = BatchOrder(
            len(features),
            self.batch_size,
            self.seed,
            distributed.rank(),
            distributed.world_size(),
            lengths=[len(one) for one in features] if self.group_by_length else None,
            accumulate=self.accumulate,
        )
        return self._loader(features, order)

    def evaluation_loader(self, examples: Sequence[TextExample]) -> Loader:
        """Tokenize examples to evaluate on: each process has its part, longest first."""
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


def digest(features: Sequence[Features]) -> str:
    """Digest what a model reads of training examples, and their labels."""
    content = hashlib.sha256()
    for one in features:
        content.update(one.input_ids.tobytes())
        content.update(repr(one.label).encode())
    return content.hexdigest()[:16]


def report_skipped_rows(bad_rows: Iterable[BadRow]) -> None:
    """Print each row that is left out, on the first process."""
    for bad in bad_rows if distributed.rank() == 0 else ():
        print(f"left out {bad.source}: {bad.reason}")


def read_task(
    task: Task,
    data_dir: str | Path | None,
    *,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
) -> dict[str, Sequence[TextExample]]:
    """Read all splits of a task, before any is tokenized: a bad row is reported at once.

    Args:
        task: Its first split is trained on, the others are evaluated on.
        data_dir: Folder of the task's files, or the one above it; None downloads the official ones
            on the first use.
        max_train_samples: Use the first rows only.
        max_eval_samples: Use the first rows of each evaluation split only.
        on_bad_row: Stop at a row that cannot be used, or leave it out and say so.

    Raises:
        DataError: A file is missing or holds rows that cannot be used.
    """
    folder = data_dir or official_folder(task)
    splits: dict[str, Sequence[TextExample]] = {}
    for split in task.splits:
        examples = read_examples(task, split, folder, on_bad_row=on_bad_row)
        report_skipped_rows(examples.bad_rows)
        splits[split] = examples[: max_eval_samples if splits else max_train_samples]
    return splits
