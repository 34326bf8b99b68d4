"""Make shards of a corpus, with as many processes as asked for; the files are always the same."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import LAYOUT, vocabulary_digest
from paddlenlp_ext.pretraining.corpus import Block, read_blocks
from paddlenlp_ext.pretraining.instances import Examples, InstanceMaker, InstanceSettings
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, VOCABULARY
from paddlenlp_ext.pretraining.words import Script
from paddlenlp_ext.pretraining.workers import in_order
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 21
# Proportions beyond which something is said, or refused.
MOST_UNUSED = 0.05
MOST_RANDOM = 2 / 3
LEAST_MASKED = 0.8
LEAST_UNPARTED = 0.05
MOST_UNPARTED = 0.5


class Created(NamedTuple):
    """What was made.

    Attributes:
        paths: The shards.
        instances: Rows of all of them.
        tokens: In all rows, special ones included.
        masked: Tokens to predict.
        random_next: Rows whose second text is a random one.
        corpus_tokens: Of the whole text.
        used_tokens: Of these, in at least one row.
    """

    paths: list[Path]
    instances: int
    tokens: int
    masked: int
    random_next: int
    corpus_tokens: int
    used_tokens: int


def shard_paths(output_file: str | Path, count: int) -> list[Path]:
    """Name the shards: the file itself if it is one, else with a number before its suffix.

    Raises:
        DataError: It is a folder, or an earlier run made more shards, which would be read along
            with the new ones.
    """
    path = Path(output_file)
    if path.is_dir():
        raise DataError(f"`output_file` {path}: is a folder; name a file ({path / 'train.hdf5'})")
    if count == 1:
        return [path]
    digits = len(str(count - 1))
    paths = [path.with_name(f"{path.stem}_{n:0{digits}}{path.suffix}") for n in range(count)]
    others = sorted(set(path.parent.glob(f"{path.stem}_[0-9]*{path.suffix}")) - set(paths))
    if others:
        raise DataError(
            f"{others[0]}: is of an earlier run with another number of shards; delete it, or "
            "choose another `output_file`"
        )
    return paths


def create_shards(
    files: Sequence[Path],
    tokenizer: Tokenizer,
    output_file: str | Path,
    settings: InstanceSettings,
    *,
    num_shards: int = 1,
    processes: int = 1,
    block_bytes: int = BLOCK_BYTES,
    on_progress: Callable[[int], object] = lambda size: None,
) -> Created:
    """Make shards of a corpus.

    Args:
        files: The corpus.
        tokenizer: Of the model that is to be trained.
        output_file: See `shard_paths`.
        settings: How examples are made.
        num_shards: Number of files.
        processes: That work at once.
        block_bytes: Bytes of the corpus that are worked on together; random next sentences come
            from the same block, so this, unlike the number of processes, changes the result.
        on_progress: Called with the bytes of the corpus that are done since the last call.

    Raises:
        UserError: The corpus cannot be used, or the shards cannot be written.
    """
    paths = shard_paths(output_file, num_shards)
    widths = {"tokens": settings.max_seq_length, "predictions": settings.max_predictions_per_seq}
    attributes = {HAS_PAIRS: settings.next_sentence, VOCABULARY: vocabulary_digest(tokenizer)}
    tokens = masked = random_next = corpus_tokens = used_tokens = 0
    script = Script(0, 0, 0)
    blocks = read_blocks(files, block_bytes)
    made = _made(blocks, InstanceMaker(tokenizer, settings), processes)
    with closing(made), ShardWriter(paths, LAYOUT, widths, attributes) as writer:
        for block, examples in made:
            script = Script(*map(sum, zip(script, examples.script, strict=True)))
            _require_words(script)
            columns = examples.columns
            writer.write(columns)
            tokens += int(columns["input_mask"].sum(dtype=np.int64))
            masked += int((columns["masked_lm_positions"] > 0).sum())
            random_next += int(columns["next_sentence_labels"].sum(dtype=np.int64))
            corpus_tokens += examples.tokens
            used_tokens += examples.used
            on_progress(block.size)
        if not writer.rows:
            raise DataError(f"{files[0]}: no sentence of the corpus has a token of the vocabulary")
    created = Created(paths, writer.rows, tokens, masked, random_next, corpus_tokens, used_tokens)
    used = created.used_tokens / max(created.corpus_tokens, 1)
    logger.info("%s: %.2f %% of the corpus's tokens are in at least one row", files[0], 100 * used)
    for warning in _warnings(created, settings, script):
        logger.warning("%s: %s", files[0], warning)
    return created


def _require_words(script: Script) -> None:
    """Refuse text of which whole words cannot be known."""
    if script.unparted > MOST_UNPARTED * script.characters:
        raise DataError(
            f"`whole_word_masking`: {script.unparted / script.characters:.0%} of the text stand in "
            "scripts without spaces (Chinese, Japanese, Thai ...), whose words are not known; put "
            "spaces between the words, as a segmenter (jieba, MeCab ...) does, or mask tokens"
        )


def _warnings(created: Created, settings: InstanceSettings, script: Script) -> Iterator[str]:
    """Say what of the corpus was left out, and what is not as it was asked for."""
    unused = 1 - created.used_tokens / max(created.corpus_tokens, 1)
    if unused > MOST_UNUSED:
        yield (
            f"{unused:.0%} of the {created.corpus_tokens:,} tokens are in no row, since pairs are "
            "shortened to `max_seq_length`; raise `dupe_factor`, or put shorter sentences on the "
            "lines"
        )
    if created.random_next > MOST_RANDOM * created.instances:
        yield (
            f"{created.random_next / created.instances:.0%} of the second texts are random, since "
            "nothing follows in documents of one sentence; expected about half: put a sentence on "
            "each line and an empty line after a document only, or give `no_next_sentence`"
        )
    wanted = settings.masked_lm_prob
    if created.masked < LEAST_MASKED * wanted * created.tokens:
        most = settings.max_predictions_per_seq
        capped = most < round(wanted * settings.max_seq_length)
        yield (
            f"{created.masked / created.tokens:.1%} of the tokens are masked, not {wanted:.1%}: "
            + (
                f"`max_predictions_per_seq` {most} is too low for rows of "
                f"{settings.max_seq_length} tokens"
                if capped
                else "the others are unknown to the vocabulary, or pieces of words that are too "
                "long for a row's predictions"
            )
        )
    if script.unparted > LEAST_UNPARTED * script.characters:
        yield (
            f"{script.unparted / script.characters:.0%} of the text stand in scripts without "
            "spaces, whose words are not known; their tokens were masked one by one"
        )


def _made(
    blocks: Iterable[Block], maker: InstanceMaker, processes: int
) -> Generator[tuple[Block, Examples], None, None]:
    """Yield each block with its examples, in the order of the corpus."""
    if processes == 1:
        return ((block, maker.make(block)) for block in blocks)
    return in_order(maker.make, blocks, processes)
