"""The shards of BERT's pretraining, in the layout of NVIDIA's scripts.

Names, types and meaning are those of NVIDIA DeepLearningExamples
(PyTorch/LanguageModeling/BERT/create_pretraining_data.py) and PaddleNLP, so that shards work in all
three. Foreign names end here: batches have the names that models take.
"""

from collections.abc import Iterator

import numpy as np

from paddlenlp_ext.pretraining.shard_set import Check
from paddlenlp_ext.pretraining.shards import Array, Column, Columns, Layout

LAYOUT: Layout = {
    "input_ids": Column("int32", "tokens"),
    "input_mask": Column("int8", "tokens"),  # 1 token, 0 padding
    "segment_ids": Column("int8", "tokens"),
    "masked_lm_positions": Column("int32", "predictions"),  # ascending, then zeros
    "masked_lm_ids": Column("int32", "predictions"),
    "next_sentence_labels": Column("int8"),  # 1: the second text is a random one
}
# Attributes of a file; other programs do not look at them.
HAS_PAIRS = "next_sentence_prediction"  # False: single texts, whose labels all are 0
VOCABULARY = "vocabulary_sha256"

NO_LABEL = -1  # in `next_sentence_labels`


def check_rows(vocab_size: int, type_vocab_size: int) -> Check:
    """Make the check of rows for a model with so many tokens and kinds of segments."""

    def check(columns: Columns) -> tuple[int, str] | None:
        faults = [
            (int(np.nonzero(bad)[0].min()), problem)
            for problem, bad in _faults(columns, vocab_size, type_vocab_size)
            if bad.any()
        ]
        return min(faults, default=None)

    return check


def _faults(columns: Columns, vocab_size: int, types: int) -> Iterator[tuple[str, Array]]:
    """Yield what may be wrong, and where it is; bool [N] or [N, width] each."""
    mask = columns["input_mask"]
    length = mask.shape[1]
    for name, limit, whose in (
        ("input_ids", vocab_size, "the model's vocabulary"),
        ("masked_lm_ids", vocab_size, "the model's vocabulary"),
        ("segment_ids", types, "the model's token types"),
        ("input_mask", 2, "padding and tokens"),
        ("masked_lm_positions", length, "the places of a row"),
    ):
        values = columns[name]
        yield f"{name} must be from 0 to {limit - 1}, {whose}", (values < 0) | (values >= limit)
    yield "input_mask must begin with a token", mask[:, 0] == 0
    yield "input_mask must be ones, then zeros", np.diff(mask, axis=1) > 0
    places = np.clip(columns["masked_lm_positions"], 0, length - 1).astype(np.int64)
    yield "masked_lm_positions must not be padding", np.take_along_axis(mask, places, axis=1) == 0
    labels = columns["next_sentence_labels"]
    yield "next_sentence_labels must be 0 or 1", (labels < NO_LABEL) | (labels > 1)
