"""The shards of BERT's pretraining, in the layout of NVIDIA's scripts.

Names, types and meaning are those of NVIDIA DeepLearningExamples
(PyTorch/LanguageModeling/BERT/create_pretraining_data.py) and PaddleNLP, so that shards work in all
three. Foreign names end here: batches have the names that models take.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.hdf5 import Array, Column, Columns, Layout
from paddlenlp_ext.pretraining.shard_set import Check, ShardSet
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, VOCABULARY
from paddlenlp_ext.tokenizers.base import Tokenizer

LAYOUT: Layout = {
    "input_ids": Column("int32", "tokens"),
    "input_mask": Column("int8", "tokens"),  # 1 token, 0 padding
    "segment_ids": Column("int8", "tokens"),
    "masked_lm_positions": Column("int32", "predictions"),  # ascending, then zeros
    "masked_lm_ids": Column("int32", "predictions"),
    "next_sentence_labels": Column("int8"),  # 1: the second text is a random one
}

NO_LABEL = -1  # in `next_sentence_labels`
ROWS_LOOKED_AT = 1000  # for what is only said


def vocabulary_digest(tokenizer: Tokenizer) -> str:
    """Digest a vocabulary's tokens in the order of their ids."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return hashlib.sha256("\n".join(tokens).encode()).hexdigest()


def has_pairs(shards: ShardSet) -> bool:
    """Whether rows are pairs of texts.

    Raises:
        DataError: Some files have pairs and others do not.
    """
    kinds = {bool(shard.attributes.get(HAS_PAIRS, True)): shard.path for shard in shards.shards}
    if len(kinds) > 1:
        raise DataError(
            f"{kinds[True]} has pairs of texts and {kinds[False]} single ones; put them into "
            "different folders"
        )
    return True in kinds


def require_fit(
    shards: ShardSet,
    tokenizer: Tokenizer,
    max_positions: int,
    *,
    named_by: str = "`vocab_file` or `bert_model`",
) -> None:
    """Refuse shards that are not for a model.

    Args:
        shards: To train on.
        tokenizer: The model's.
        max_positions: Tokens that the model has positions for.
        named_by: What names the vocabulary where shards are made, for messages.

    Raises:
        DataError: Rows are too long, or were made with another vocabulary, if the file says so.
    """
    own = vocabulary_digest(tokenizer)
    for shard in shards.shards:
        if (length := shard.widths["tokens"]) > max_positions:
            raise DataError(
                f"{shard.path}: has rows of {length} tokens, and the model takes {max_positions}; "
                f"make the file again with `max_seq_length` {max_positions}"
            )
        if shard.attributes.get(VOCABULARY, own) != own:
            raise DataError(
                f"{shard.path}: was made with another vocabulary than the model's; make it again "
                f"with this one ({named_by})"
            )


def part_beyond(shards: ShardSet, max_predictions: int) -> float:
    """Return which part of the masked tokens of the first rows is not predicted.

    Args:
        shards: To train on.
        max_predictions: Masked tokens of a row that are.
    """
    if shards.widths["predictions"] <= max_predictions:
        return 0.0
    first = shards.read(next(shards.slices(ROWS_LOOKED_AT)))
    listed = first.columns["masked_lm_positions"] > 0
    return float(listed[:, max_predictions:].sum() / max(listed.sum(), 1))


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
