"""Read the shards of several languages so that small ones are seen more often than they are large.

A language with a part p of the rows is drawn with a probability in proportion to p^alpha, the
sampling of XLM (Lample and Conneau, 2019, arXiv 1901.07291, section 3.1) and XLM-R (Conneau et al.,
2020, arXiv 1911.02116, section 3). Here nothing is drawn: each epoch, which is as long as all rows
together, has exactly that part of each language. A language's rows are gone through again and
again, each time in another order, and each epoch goes on where the one before it ended; so no row
is seen twice before all of its language were seen once. All of it follows from the seed and the
epoch, so a place in the epoch is the exact position of every language.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.pretraining.multilingual_rows import SOURCE
from paddlenlp_ext.pretraining.reader import WINDOW_BYTES, ShardReader
from paddlenlp_ext.pretraining.shard_set import SLICE, ShardSet, Slice

ALPHA = 0.7
SLICES = 64  # of a window, so that it has many languages


class LanguageReader(ShardReader):
    """The rows of shards of several languages, epoch by epoch.

    Args:
        shards: What is read; each file is of one language, or of one pair, and says so.
        alpha: Exponent of the part that a language has in all rows: 1 leaves it, 0 makes all equal.
        seed: Of the order; at least 0.
        window_bytes: Size of a window in memory.

    Attributes:
        rows_by_source: How many rows of each language there are.
        rows_of_epoch: How many rows of each language an epoch has.
    """

    def __init__(
        self,
        shards: ShardSet,
        *,
        alpha: float = ALPHA,
        seed: int = 0,
        window_bytes: int = WINDOW_BYTES,
    ):
        super().__init__(shards, seed=seed, window_bytes=window_bytes)
        self.rows_by_source: dict[str, int] = {}
        self._shards_of: dict[str, list[int]] = {}
        for whole in shards.slices(shards.num_rows):
            source = shards.shards[whole.shard].attributes[SOURCE]
            self.rows_by_source[source] = self.rows_by_source.get(source, 0) + whole.rows
            self._shards_of.setdefault(source, []).append(whole.shard)
        self.rows_of_epoch = sampled_rows(self.rows_by_source, alpha)

    def slices(self, epoch: int) -> Iterator[Slice]:
        """Yield what is read in an epoch, in any order."""
        length = max(1, self.window_rows // SLICES)
        pieces = np.fromiter(self.shards.slices(length), SLICE)
        for number, (source, rows) in enumerate(self.rows_of_epoch.items()):
            own = pieces[np.isin(pieces["shard"], self._shards_of[source])]
            yield from self._part(number, own, epoch * rows, (epoch + 1) * rows)

    def _part(
        self, number: int, pieces: npt.NDArray[np.void], start: int, stop: int
    ) -> Iterator[Slice]:
        """Yield the rows of a language from one place to another of all times it is gone through.

        Args:
            number: Of the language.
            pieces: Its rows; array of `SLICE`.
            start: Rows before.
            stop: Rows before the end.
        """
        size = int((pieces["stop"] - pieces["start"]).sum())
        first = start // size
        for turn in range(first, -(-stop // size)):
            sequence = np.random.SeedSequence((self.seed, number, turn, 1))
            random = np.random.RandomState(np.random.MT19937(sequence))
            at = turn * size
            for place in random.permutation(len(pieces)):
                piece = Slice(*pieces[place].item())
                begin, end = max(start - at, 0), min(stop - at, piece.rows)
                if begin < end:
                    rows = piece.start + begin, piece.start + end
                    yield Slice(piece.shard, *rows, turn - first)
                at += piece.rows


def sampled_rows(rows: Mapping[str, int], alpha: float) -> dict[str, int]:
    """Divide as many rows as there are among languages: by rows^alpha, and at least one each.

    Args:
        rows: Of each language.
        alpha: The exponent.
    """
    total = sum(rows.values())
    weights = np.array(list(rows.values()), np.float64) ** alpha
    shares = total * weights / weights.sum()
    counts = np.maximum(np.floor(shares).astype(np.int64), 1)
    # What is left goes to the largest remainders, and comes from the largest counts.
    for place in np.argsort(-(shares - np.floor(shares)), kind="stable")[: total - counts.sum()]:
        counts[place] += 1
    while counts.sum() > total:
        counts[counts.argmax()] -= 1
    return dict(zip(rows, counts.tolist(), strict=True))
