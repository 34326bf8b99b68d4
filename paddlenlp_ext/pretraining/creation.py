"""Make shards of a corpus, with as many processes as asked for; the files are always the same."""

import multiprocessing
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.pretraining.corpus import Block, read_blocks
from paddlenlp_ext.pretraining.instances import InstanceMaker, InstanceSettings
from paddlenlp_ext.pretraining.masked_lm import (
    HAS_PAIRS,
    LAYOUT,
    VOCABULARY,
    vocabulary_digest,
)
from paddlenlp_ext.pretraining.shards import Columns
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer

BLOCK_BYTES = 1 << 21


class Created(NamedTuple):
    """What was made.

    Attributes:
        paths: The shards.
        instances: Rows of all of them.
        tokens: In all rows, special ones included.
        masked: Tokens to tell.
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
        DataError: An earlier run made more shards, which would be read along with the new ones.
    """
    path = Path(output_file)
    if count == 1:
        return [path]
    digits = len(str(count - 1))
    paths = [path.with_name(f"{path.stem}_{n:0{digits}}{path.suffix}") for n in range(count)]
    others = sorted(set(path.parent.glob(f"{path.stem}_[0-9]*{path.suffix}")) - set(paths))
    if others:
        raise DataError(
            f"{others[0]}: is of an earlier run with another number of shards; delete it, or "
            "choose another --output_file"
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
        on_progress: Told how many bytes of the corpus are done since it was called last.

    Raises:
        UserError: The corpus cannot be used, or the shards cannot be written.
    """
    paths = shard_paths(output_file, num_shards)
    widths = {"tokens": settings.max_seq_length, "predictions": settings.max_predictions_per_seq}
    attributes = {HAS_PAIRS: settings.next_sentence, VOCABULARY: vocabulary_digest(tokenizer)}
    tokens = masked = random_next = 0
    blocks = read_blocks(files, block_bytes)
    with ShardWriter(paths, LAYOUT, widths, attributes) as writer:
        for size, columns in _made(blocks, InstanceMaker(tokenizer, settings), processes):
            writer.write(columns)
            tokens += int(columns["input_mask"].sum(dtype=np.int64))
            masked += int((columns["masked_lm_positions"] > 0).sum())
            random_next += int(columns["next_sentence_labels"].sum(dtype=np.int64))
            on_progress(size)
        if not writer.rows:
            raise DataError(f"{files[0]}: no sentence of the corpus has a token of the vocabulary")
    return Created(paths, writer.rows, tokens, masked, random_next)


def _made(
    blocks: Iterator[Block], maker: InstanceMaker, processes: int
) -> Iterator[tuple[int, Columns]]:
    """Yield the size and the examples of each block, in the order of the corpus."""
    if processes == 1:
        for block in blocks:
            yield block.size, maker.make(block)
        return
    # A spawned process is the same on every system, and inherits no locks.
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[int, Future[Path]]] = deque()
    earlier = set(multiprocessing.active_children())
    # What was made comes back in a file: a process that is killed while it writes into the pool's
    # pipe leaves a part there, whose rest the pool would wait for forever.
    folder = tempfile.mkdtemp(prefix="pretraining-")
    pool = ProcessPoolExecutor(processes, context, _begin, (maker, Path(folder)))
    try:
        for block in blocks:
            waiting.append((block.size, pool.submit(_make, block)))
            if len(waiting) > processes:  # one more than are worked on, so that none waits
                size, made = waiting.popleft()
                yield size, _taken(made.result())
        while waiting:
            size, made = waiting.popleft()
            yield size, _taken(made.result())
    except BrokenProcessPool:
        raise UserError(
            "a process that made examples was ended, probably for lack of memory; give fewer "
            "--processes, or a smaller --block_bytes"
        ) from None
    except BaseException:  # the run is told to end, and nobody waits for what is in work
        for process in set(multiprocessing.active_children()) - earlier:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(folder, ignore_errors=True)


def _taken(path: Path) -> Columns:
    """Read what a process has made, and delete the file."""
    with np.load(path) as file:
        columns = dict(file)
    path.unlink()
    return columns


_maker: InstanceMaker  # of a worker process
_folder: Path


def _begin(maker: InstanceMaker, folder: Path) -> None:
    """Prepare a worker process."""
    global _maker, _folder
    _maker, _folder = maker, folder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes share the cores already


def _make(block: Block) -> Path:
    path = _folder / f"{block.number}.npz"
    np.savez(path, **_maker.make(block))  # type: ignore[arg-type]
    return path
