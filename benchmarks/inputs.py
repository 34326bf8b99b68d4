"""The batches of a job, the same on all sides; no framework is needed to make them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.jobs import Batches

FIRST_ID = 300  # below are special tokens, unused ones and letters
LABELS = 2

Ids = list[npt.NDArray[np.int32]]


@dataclass(frozen=True)
class Inputs:
    """Token ids, unpadded, in batches.

    Attributes:
        batches: Each a list of rows; int32 [L].
        pad_to: Tokens to which every row is padded; None is the longest of its batch.
    """

    batches: list[Ids]
    pad_to: int | None = None

    @property
    def rows(self) -> int:
        """Examples of all batches."""
        return sum(map(len, self.batches))

    def labels(self, number: int) -> npt.NDArray[np.int64]:
        """Classes of a batch: 0, 1, 0, 1, ...; int64 [B]."""
        return np.arange(len(self.batches[number])) % LABELS


def load(batches: Batches, vocabulary: int, folder: Path) -> Inputs:
    """Make or read the batches of a job.

    Args:
        batches: Which.
        vocabulary: Rows of the model's word table.
        folder: With what `prepare` wrote.
    """
    if batches.kind == "full":
        random = np.random.default_rng(7)
        ids = occurring_ids(batches, vocabulary)
        shape = (batches.count, batches.size, batches.length)
        return Inputs([list(batch) for batch in random.choice(ids, shape)])
    lists = read(folder / batches.file_name)["rows"]
    return Inputs(
        [[np.asarray(row, np.int32) for row in batch] for batch in lists],
        batches.length if batches.kind == "padded" else None,
    )


def read(path: Path) -> dict[str, Any]:
    """Read a file of `prepare`: "rows", and the "source" that they were taken from."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def occurring_ids(batches: Batches, vocabulary: int) -> npt.NDArray[np.int32]:
    """Choose the ids that random rows are made of; int32 [distinct]."""
    ids = np.arange(min(FIRST_ID, vocabulary // 2), vocabulary, dtype=np.int32)
    if batches.distinct:
        ids = np.random.default_rng(5).choice(ids, batches.distinct, replace=False)
    return ids


def collate(rows: Ids, pad_token_id: int, pad_to: int | None) -> dict[str, npt.NDArray[np.int64]]:
    """Pad rows and make their mask; each int64 [B, L]."""
    length = pad_to or max(map(len, rows))
    ids = np.full((len(rows), length), pad_token_id, np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
