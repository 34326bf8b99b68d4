"""From a folder of shards by language to what a run of multilingual pretraining takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.pretraining.language_corpora import Corpora, open_corpora
from paddlenlp_ext.pretraining.language_reader import LanguageReader
from paddlenlp_ext.pretraining.language_words import LanguageWords
from paddlenlp_ext.pretraining.masking import MaskingVocabulary
from paddlenlp_ext.pretraining.multilingual_settings import (
    MONOLINGUAL,
    OBJECTIVES,
    PARALLEL,
    MultilingualSettings,
)
from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.cross_lingual import (
    BackTranslated,
    CrossLingualPrediction,
    CrossMasked,
    MaskedSentences,
)
from paddlenlp_ext.training.loaders import RunData
from paddlenlp_ext.training.mixture import Ingredient, MixedBatches
from paddlenlp_ext.training.pretrain import MakeTensors, ShardBatches
from paddlenlp_ext.training.settings import RunSettings
from paddlenlp_ext.training.vocabulary_trimming import Words, words_of


@dataclass(frozen=True)
class MultilingualData:
    """What a run is given.

    Attributes:
        run_data: What it trains and evaluates on; the splits are languages, and pairs of them.
        objective: What it minimises.
        words: Ids that the shards have, for `trim_vocab`; None without it.
    """

    run_data: RunData[Any]
    objective: CrossLingualPrediction
    words: Words | None


def open_data(
    multilingual: MultilingualSettings, settings: RunSettings, model: Model, tokenizer: Tokenizer
) -> MultilingualData:
    """Open the shards that some objectives take, and all that are held out.

    Args:
        multilingual: What is trained, and how.
        settings: Of the run.
        model: Whose positions and token types rows get.
        tokenizer: The model's.

    Raises:
        UserError: A shard cannot be used, or an objective has no rows.
    """
    embeddings = next(one for one in model.sublayers() if isinstance(one, Embeddings))
    corpora = open_corpora(
        Path(multilingual.input_dir),
        tokenizer,
        model.config.vocab_size,
        embeddings.max_length,
        train_limit=settings.max_train_samples,
        eval_limit=settings.max_eval_samples,
    )
    sets = _train_sets(multilingual, corpora)
    known = [one for one in (corpora.sentences, corpora.pairs) if one is not None]
    held_out = {**corpora.held_out_sentences, **corpora.held_out_pairs}
    vocabulary, words = MaskingVocabulary.of(tokenizer), None
    if settings.trim_vocab:
        words = words_of([*known, *held_out.values()], tokenizer)
        vocabulary = vocabulary.among(words)
    masks = MaskedSentences(
        vocabulary,
        tokenizer.pad_token_id,
        multilingual.mlm_probability,
        settings.seed,
        tokenizer.assembly.separators - 1,
        multilingual.whole_word_mask,
        multilingual.continue_positions,
        embeddings.token_type_embeddings is not None,
        settings.pad_to_multiple_of,
    )
    makers: dict[str, MakeTensors] = {"mmlm": masks, "tlm": masks, "camlm": CrossMasked(masks)}
    objective = CrossLingualPrediction()
    if "btmlm" in multilingual.objectives:
        texts = LanguageWords.read(known, len(corpora.languages), len(vocabulary.special))
        makers["btmlm"] = BackTranslated(
            masks,
            texts,
            tokenizer.sep_token_id,
            multilingual.pseudo_share,
            embeddings.max_length,
        )
        objective = CrossLingualPrediction(
            texts.ids & ~vocabulary.special, samples=multilingual.pseudo_tokens == "sample"
        )
    train = MixedBatches(
        {
            name: _batches(
                LanguageReader(one, alpha=multilingual.language_alpha, seed=settings.seed),
                settings.batch_size,
            )
            for name, one in sets.items()
        },
        {
            name: Ingredient(OBJECTIVES[name], makers[name], weight)
            for name, weight in multilingual.weights.items()
        },
    )
    size = settings.eval_batch_size or settings.batch_size
    evaluate_on = {
        split: _batches(ShardReader(one, shuffle=False), size, masks)
        for split, one in held_out.items()
    }
    width = max(one.widths["tokens"] for one in sets.values())
    run_data = RunData(train, evaluate_on, train.sources, width)
    return MultilingualData(run_data, objective, words)


def _train_sets(multilingual: MultilingualSettings, corpora: Corpora) -> Mapping[str, ShardSet]:
    """Choose the rows that the objectives take.

    Raises:
        UserError: There are none of a kind.
    """
    found = {MONOLINGUAL: corpora.sentences, PARALLEL: corpora.pairs}
    for objective in multilingual.objectives:
        kind = OBJECTIVES[objective]
        if found[kind] is None:
            raise UserError(
                f"`objectives` {objective}: `input_dir` {multilingual.input_dir} has no {kind} "
                "text; make shards of some with create_pretraining_data.py, or leave it out"
            )
    kinds = {OBJECTIVES[objective] for objective in multilingual.objectives}
    return {kind: one for kind, one in found.items() if one is not None and kind in kinds}


def _batches(reader: Any, size: int, make: MakeTensors | None = None) -> ShardBatches:
    """Read batches on this process; an objective of a mixture brings its own tensors."""
    make = make or (lambda rows, epoch: {})
    return ShardBatches(reader, make, size, distributed.rank(), distributed.world_size())
