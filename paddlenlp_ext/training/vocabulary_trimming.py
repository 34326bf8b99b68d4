"""`trim_vocab`: train only those word embeddings whose tokens occur in the run's data.

For a model that reads words this is exact: the others have no gradient. A model that scores words
scores those of the data only, by its word embeddings or a table of its own. The embeddings that it
reads are trained exactly as before as long as nothing else is put in the place of masked tokens
(`MaskingVocabulary.among`); but its loss is that of a choice among the words of the data, which is
another number and another gradient than that of a choice among all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import spill_to_disk
from paddlenlp_ext.models import heads
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.nn.arrays import as_array
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed

Words = NDArray[np.int64]  # ids, ascending; [U]

# Models that read words and score none: nothing but the input uses their word embeddings.
READERS = (
    *heads.SEQUENCE_CLASSIFIERS,
    heads.ForTokenClassification,
    heads.ForQuestionAnswering,
    heads.ForMultipleChoice,
)
BLOCK = 4096  # rows of a shard that are looked at together


def trim_vocabulary(model: Model, words: Words, folder: Path) -> None:
    """Replace a model's tables of words by ones that train only some rows.

    Call it when the model is loaded, before the optimizer is built.

    Args:
        model: Float32; it reads words, or fills masked ones in.
        words: All that it will ever see or score, in training and in evaluation, equal in all
            processes.
        folder: On the disk that holds the other rows until they are saved, in a file without a
            name.

    Raises:
        UserError: The model does something else with words.
        WeightsError: The disk has no room.
    """
    scores = isinstance(model, heads.ForMaskedLM)
    if not isinstance(model, READERS) and not scores:
        raise UserError(
            f"`trim_vocab`: {type(model).__name__} is not a model that reads words without scoring "
            "them, or that fills masked ones in; leave `trim_vocab` out"
        )
    tables = [model.get_input_embeddings()]
    if isinstance(model, heads.ForMaskedLM) and model.lm_head.decoder is not None:
        tables.append(model.lm_head.decoder)
    for table in tables:
        whole = as_array(table.weight)
        _replace(model, table, TrimmedEmbedding(spill_to_disk(whole, folder), words))
    if distributed.rank() == 0:
        are = "are trained, and scored among each other" if scores else "are trained"
        total = model.config.vocab_size
        print(f"trim_vocab: {len(words):,} of {total:,} word embeddings {are}", flush=True)


def words_of_texts(vocab_size: int, tokenizer: Tokenizer, loaders: Iterable[Loader]) -> Words:
    """Return the ids that batches can hold, and the special ones.

    Every process holds all features, whichever part of them it trains on.

    Args:
        vocab_size: Of the model.
        tokenizer: Its special tokens stay, whether they occur or not.
        loaders: All batches that the model will ever see.

    Raises:
        UserError: The model has fewer words than the tokenizer.
    """
    rows = (one.input_ids for loader in loaders for one in loader.features)
    return _words(vocab_size, tokenizer, rows)


def words_of(shards: Iterable[ShardSet], tokenizer: Tokenizer) -> Words:
    """Return the ids that rows of shards hold, and the special ones; reads all of them.

    Raises:
        DataError: A shard is damaged.
    """
    slices = ((one, piece) for one in shards for piece in one.slices(BLOCK))
    rows = (one.read(piece).columns["input_ids"] for one, piece in slices)
    return _words(len(tokenizer), tokenizer, rows)


def _words(vocab_size: int, tokenizer: Tokenizer, rows: Iterable[NDArray[Any]]) -> Words:
    is_used = np.zeros(vocab_size, bool)
    try:
        is_used[[*tokenizer.all_special_ids, tokenizer.pad_token_id]] = True
        for ids in rows:
            is_used[ids] = True
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
