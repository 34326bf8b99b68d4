"""Pieces of words that were cut before: words repeat, and cutting them is what takes the time."""

from collections.abc import Callable
from itertools import chain

LONGEST = 32  # characters of a word that is kept; longer ones hardly ever come again
MOST = 1 << 17  # words that are kept, some 40 MB; after them it begins anew


class WordCache:
    """Cuts texts word by word, where words are what stands between spaces.

    It serves segmentations to which a text is its words, one after another. Several threads may
    use it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[int]] = {}

    def __reduce__(self) -> tuple[type["WordCache"], tuple[()]]:
        return WordCache, ()  # other processes get an empty one

    def cut(
        self, texts: list[str], segment: Callable[[list[str]], list[list[int]]]
    ) -> list[list[int]]:
        """Cut texts into the ids of their pieces.

        Args:
            texts: Any texts.
            segment: Cuts words; the same function in every call.
        """
        kept = self._kept
        words = [text.split(" ") for text in texts]
        unique = set(chain.from_iterable(words))
        new = list(unique.difference(kept))
        pieces = dict(zip(new, segment(new) if new else (), strict=True))
        fresh = {word: ids for word, ids in pieces.items() if len(word) <= LONGEST}
        pieces.update((word, kept[word]) for word in unique.difference(new))
        kept.update(fresh)
        if len(kept) > MOST:
            self._kept = {}
        return [list(chain.from_iterable(map(pieces.__getitem__, text))) for text in words]
