"""Make shards of a corpus, with as many processes as asked for; the files are always the same."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import LAYOUT, vocabulary_digest
from paddlenlp_ext.pretraining.corpus import Block, read_blocks
from paddlenlp_ext.pretraining.hdf5 import Columns
from paddlenlp_ext.pretraining.instances import InstanceMaker, InstanceSettings
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, VOCABULARY
from paddlenlp_ext.pretraining.workers import in_order
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer

BLOCK_BYTES = 1 << 21


class Created(NamedTuple):
    """What was made.

    Attributes:
        paths: The shards.
        instances: Rows of all of them.
        tokens: In all rows, special ones included.
        masked: Tokens to predict.
        random_next: Rows whose second text is a random one.
    """

    paths: list[Path]
    instances: int
    tokens: int
    masked: int
    random_next: int


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
    tokens = masked = random_next = 0
    blocks = read_blocks(files, block_bytes)
    made = _made(blocks, InstanceMaker(tokenizer, settings), processes)
    with closing(made), ShardWriter(paths, LAYOUT, widths, attributes) as writer:
        for block, columns in made:
            writer.write(columns)
            tokens += int(columns["input_mask"].sum(dtype=np.int64))
            masked += int((columns["masked_lm_positions"] > 0).sum())
            random_next += int(columns["next_sentence_labels"].sum(dtype=np.int64))
            on_progress(block.size)
        if not writer.rows:
            raise DataError(f"{files[0]}: no sentence of the corpus has a token of the vocabulary")
    return Created(paths, writer.rows, tokens, masked, random_next)


def _made(
    blocks: Iterable[Block], maker: InstanceMaker, processes: int
) -> Generator[tuple[Block, Columns], None, None]:
    """Yield each block with its examples, in the order of the corpus."""
    if processes == 1:
        return ((block, maker.make(block)) for block in blocks)
    return in_order(maker.make, blocks, processes)
