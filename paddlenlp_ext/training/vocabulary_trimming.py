"""`trim_vocab`: train only those word embeddings whose tokens occur in the run's data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import spill_to_disk
from paddlenlp_ext.models import heads
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.nn.arrays import as_array
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed

# Models that read words and score none: nothing but the input uses their word embeddings.
READERS = (
    heads.ForSequenceClassification,
    heads.FirstTokenClassification,
    heads.ForTokenClassification,
    heads.ForQuestionAnswering,
    heads.ForMultipleChoice,
)


def trim_vocabulary(
    model: Model, tokenizer: Tokenizer, loaders: Iterable[Loader], folder: Path
) -> None:
    """Replace a model's word embeddings by ones that train only the rows that are looked up.

    Call it when the model is loaded, before the optimizer is built. Every process holds all
    features, whichever part of them it trains on, so that all processes choose the same rows.

    Args:
        model: Float32, with a head that does not score words.
        tokenizer: Its special tokens stay, whether they occur or not.
        loaders: All batches that this model will ever see: of training and of evaluation.
        folder: On the disk that holds the other rows until they are saved, in a file without a
            name.

    Raises:
        UserError: The model scores words with its table, or has fewer of them than the tokenizer.
        WeightsError: The disk has no room.
    """
    if not isinstance(model, READERS):
        raise UserError(
            f"`trim_vocab`: {type(model).__name__} is not a model that reads words without scoring "
            "them; leave `trim_vocab` out"
        )
    embedding = model.get_input_embeddings()
    table = as_array(embedding.weight)
    used = _used_ids(len(table), tokenizer, loaders)
    _replace(model, embedding, TrimmedEmbedding(spill_to_disk(table, folder), used))
    if distributed.rank() == 0:
        print(
            f"trim_vocab: {len(used):,} of {len(table):,} word embeddings are trained", flush=True
        )


def _used_ids(
    vocab_size: int, tokenizer: Tokenizer, loaders: Iterable[Loader]
) -> NDArray[np.int64]:
    """Return the ids that batches can hold, ascending."""
    is_used = np.zeros(vocab_size, bool)
    try:
        is_used[[*tokenizer.all_special_ids, tokenizer.pad_token_id]] = True
        for loader in loaders:
            for one in loader.features:
                is_used[one.input_ids] = True
    except IndexError:
        raise UserError(
            f"`trim_vocab`: the tokenizer has {len(tokenizer)} tokens, the model {vocab_size}; "
            "take the tokenizer that belongs to the model"
        ) from None
    return np.flatnonzero(is_used)


def _replace(model: nn.Layer, old: nn.Layer, new: nn.Layer) -> None:
    for parent in model.sublayers(include_self=True):
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
