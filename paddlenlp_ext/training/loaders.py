"""From examples to this process's batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader, Order
from paddlenlp_ext.tasks.features import Features, make_features
from paddlenlp_ext.tasks.rows import BadRow
from paddlenlp_ext.tasks.task import TextExample
from paddlenlp_ext.tasks.token_cache import TokenCache
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.report import say
from paddlenlp_ext.training.settings import RunSettings

Batches = TypeVar("Batches", bound=Sized)

# Which setting names a user's files of a split.
FILES = {split: f"{split}_file" for split in ("train", "validation", "test")}


@dataclass(frozen=True)
class RunData(Generic[Batches]):
    """What a run trains and evaluates on.

    Attributes:
        train: Batches to train on, of every epoch.
        evaluate_on: Held-out batches by the name of their split.
        sources: Where each training row stands ("train.tsv:17"), for messages.
        max_length: Most tokens of a row.
        digest: Of what is trained on; empty where it was known before it was read.
        rows: Where each row that is evaluated stands, and its text, by split; nothing for splits
            of which that is not known.
        judge: Sums up what a model says of a split, of its logits, and whether with texts; of
            those whose predictions are no labels.
    """

    train: Batches
    evaluate_on: Mapping[str, Batches]
    sources: Sequence[str]
    max_length: int
    digest: str = ""
    rows: Mapping[str, Callable[[int], tuple[str, str]]] = field(default_factory=dict)
    judge: Mapping[str, Callable[..., dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batching:
    """How examples become the batches of this process.

    Attributes:
        settings: Of the run.
        tokenizer: The model's.
    """

    settings: RunSettings
    tokenizer: Tokenizer

    def data(
        self, train: Sequence[TextExample], evaluate_on: Mapping[str, Sequence[TextExample]]
    ) -> RunData[Loader]:
        """Tokenize all examples of a run."""
        features = {split: self.features(examples) for split, examples in evaluate_on.items()}
        rows = {split: partial(_row_of, examples) for split, examples in evaluate_on.items()}
        return self.data_of(self.features(train), features, [one.source for one in train], rows)

    def data_of(
        self,
        train: Sequence[Features],
        evaluate_on: Mapping[str, Sequence[Features]],
        sources: Sequence[str],
        rows: Mapping[str, Callable[[int], tuple[str, str]]],
    ) -> RunData[Loader]:
        """Make batches of all features of a run.

        Args:
            train: What is trained on.
            evaluate_on: What is evaluated on, by the name of the split.
            sources: Where each training row stands ("train.tsv:17").
            rows: See `RunData`.
        """
        return RunData(
            self.train_loader(train),
            {split: self.evaluation_loader(features) for split, features in evaluate_on.items()},
            sources,
            self.settings.max_seq_length,
            digest(train),
            rows,
        )

    def train_loader(self, features: Sequence[Features]) -> Loader:
        """Make batches to train on: every epoch has its order, each process its part."""
        settings = self.settings
        order = BatchOrder(
            len(features),
            settings.batch_size,
            settings.seed,
            distributed.rank(),
            distributed.world_size(),
            lengths=[len(one) for one in features] if settings.group_by_length else None,
            accumulate=settings.gradient_accumulation_steps,
        )
        return self._loader(features, order)

    def evaluation_loader(self, features: Sequence[Features]) -> Loader:
        """Make batches to evaluate on: each process has its part, longest first."""
        order = EvaluationOrder(
            len(features),
            self.settings.eval_batch_size or self.settings.batch_size,
            distributed.rank(),
            distributed.world_size(),
            lengths=[len(one) for one in features],
        )
        return self._loader(features, order)

    def features(self, examples: Sequence[TextExample]) -> Sequence[Features]:
        """Tokenize examples."""
        cache = TokenCache.default() if self.settings.token_cache else None
        return make_features(examples, self.tokenizer, self.settings.max_seq_length, cache=cache)

    def _loader(self, features: Sequence[Features], order: Order) -> Loader:
        return Loader(
            features,
            order,
            pad_token_id=self.tokenizer.pad_token_id,
            pad_to_multiple_of=self.settings.pad_to_multiple_of,
        )


def digest(features: Sequence[Features]) -> str:
    """Digest what a model reads of training examples, and their labels."""
    content = hashlib.sha256()
    for one in features:
        content.update(one.input_ids.tobytes())
        label = one.label
        content.update(label.tobytes() if isinstance(label, np.ndarray) else repr(label).encode())
    return content.hexdigest()[:16]


def _row_of(examples: Sequence[TextExample], row: int) -> tuple[str, str]:
    """Return where a row stands, and its text or texts."""
    one = examples[row]
    return one.source, one.text_a if one.text_b is None else f"{one.text_a} ‖ {one.text_b}"


def report_skipped_rows(bad_rows: Iterable[BadRow]) -> None:
    """Print each row that is left out, on the first process."""
    for bad in bad_rows:
        say(f"left out {bad.source}: {bad.reason}\n")
