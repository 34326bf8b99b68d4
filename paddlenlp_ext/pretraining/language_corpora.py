"""The folder of shards of several languages: sentences, pairs, and what is held out of them.

`train.en.hdf5` and `dev.en.hdf5` hold English sentences, `train.en-de.hdf5` and `dev.en-de.hdf5`
pairs; `create_pretraining_data.py` makes them all at once, and each lists all languages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import require_fit
from paddlenlp_ext.pretraining.multilingual_rows import LANGUAGES, LAYOUT, SOURCE, WORDS, check_rows
from paddlenlp_ext.pretraining.shard_set import Check, ShardSet
from paddlenlp_ext.pretraining.shards import (
    HAS_PAIRS,
    SUFFIXES,
    TRAINING,
    VOCABULARY,
    Shard,
    digest,
    find_shards,
    open_shard,
)
from paddlenlp_ext.tokenizers.base import Tokenizer

ATTRIBUTES = {HAS_PAIRS: bool, VOCABULARY: str, LANGUAGES: str, SOURCE: str, WORDS: str}


@dataclass(frozen=True)
class Corpora:
    """What a folder holds.

    Attributes:
        languages: Codes; rows name them by their places.
        sentences: To train on; None if there are none.
        pairs: Likewise.
        held_out_sentences: By language.
        held_out_pairs: By pair of languages: "en-de".
    """

    languages: list[str]
    sentences: ShardSet | None
    pairs: ShardSet | None
    held_out_sentences: dict[str, ShardSet]
    held_out_pairs: dict[str, ShardSet]


def corpora_digest(folder: str | Path) -> str:
    """Digest the shards of a folder that are trained on."""
    return digest(find_shards(folder))


def open_corpora(
    folder: str | Path,
    tokenizer: Tokenizer,
    vocab_size: int,
    max_length: int,
    *,
    train_limit: int | None = None,
    eval_limit: int | None = None,
) -> Corpora:
    """Open all shards of a folder.

    Args:
        folder: Made by `create_pretraining_data.py`.
        tokenizer: The model's.
        vocab_size: Rows of the model's table.
        max_length: Tokens that the model has positions for.
        train_limit: Use the first rows only, of each language and each pair.
        eval_limit: Likewise of what is held out.

    Raises:
        DataError: There are no shards, or they were made for another model, or of other languages.
    """
    train = _opened(find_shards(folder), train_limit)
    held_out = _opened(_held_out(Path(folder)), eval_limit)
    languages = _languages([*train, *held_out])
    check = check_rows(vocab_size, len(languages))
    sentences, pairs = (_set(_of_kind(train, kind), check) for kind in (False, True))
    corpora = Corpora(
        languages,
        sentences,
        pairs,
        _by_source(_of_kind(held_out, False), check),
        _by_source(_of_kind(held_out, True), check),
    )
    for shards in (sentences, pairs):
        if shards is not None:
            require_fit(shards, tokenizer, max_length, named_by="`tokenizer_name`")
    for shards in (*corpora.held_out_sentences.values(), *corpora.held_out_pairs.values()):
        require_fit(shards, tokenizer, max_length, named_by="`tokenizer_name`")
    return corpora


def _held_out(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.suffix in SUFFIXES and TRAINING not in file.name]


def _opened(paths: Sequence[Path], limit: int | None) -> list[Shard]:
    """Open files in the order of their languages, with the first rows of each."""
    shards = [open_shard(path, LAYOUT, ATTRIBUTES) for path in paths]
    for shard in shards:
        if missing := {LANGUAGES, SOURCE, HAS_PAIRS} - shard.attributes.keys():
            raise DataError(
                f"{shard.path}: does not say its {min(missing)}; make it with "
                "create_pretraining_data.py"
            )
    shards.sort(key=lambda shard: (shard.attributes[SOURCE], shard.path.name))
    left: dict[str, int] = {}
    kept = []
    for shard in shards:
        source = shard.attributes[SOURCE]
        rows = shard.rows if limit is None else min(shard.rows, left.get(source, limit))
        left[source] = left.get(source, limit or 0) - rows
        kept.append(replace(shard, rows=rows))
    return [shard for shard in kept if shard.rows]


def _languages(shards: Sequence[Shard]) -> list[str]:
    """Return the languages that all files list."""
    if not shards:
        return []
    first = shards[0]
    for shard in shards:
        if shard.attributes[LANGUAGES] != first.attributes[LANGUAGES]:
            raise DataError(
                f"{shard.path}: lists other languages than {first.path.name}; make all shards of "
                "a folder with one command"
            )
    return str(first.attributes[LANGUAGES]).split(",")


def _of_kind(shards: Iterable[Shard], pairs: bool) -> list[Shard]:
    return [shard for shard in shards if shard.attributes[HAS_PAIRS] is pairs]


def _set(shards: Sequence[Shard], check: Check) -> ShardSet | None:
    return ShardSet(shards, LAYOUT, check) if shards else None


def _by_source(shards: Sequence[Shard], check: Check) -> dict[str, ShardSet]:
    sources = dict.fromkeys(shard.attributes[SOURCE] for shard in shards)
    return {
        source: ShardSet(
            [shard for shard in shards if shard.attributes[SOURCE] == source], LAYOUT, check
        )
        for source in sources
    }
