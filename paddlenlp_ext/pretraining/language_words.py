"""Which words the corpora have in each language, and which languages have pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.cross_attention import FIRST, SECOND, places_of
from paddlenlp_ext.pretraining.masking import Flags, Numbers
from paddlenlp_ext.pretraining.shard_set import ShardSet

SLICE = 1 << 13  # rows that are read at once


@dataclass(frozen=True)
class LanguageWords:
    """What is known of languages by their text.

    Attributes:
        ids: Ids that occur in each; bool [K, V].
        partners: Which have pairs with each other; bool [K, K].
    """

    ids: Flags
    partners: Flags

    @classmethod
    def read(cls, sets: Iterable[ShardSet], num_languages: int, vocab_size: int) -> LanguageWords:
        """Read all rows of some sets once, a slice at a time.

        Raises:
            DataError: A shard cannot be read.
        """
        ids = np.zeros((num_languages, vocab_size), bool)
        partners = np.zeros((num_languages, num_languages), bool)
        for shards in sets:
            for piece in shards.slices(SLICE):
                columns = shards.read(piece).columns
                tokens = columns["input_ids"]
                places = places_of(columns["length"], columns["first_length"], tokens.shape[1])
                languages = columns["language"], columns["second_language"]
                for place, of_rows in zip((FIRST, SECOND), languages, strict=True):
                    for language in np.unique(of_rows[of_rows >= 0]):
                        rows = of_rows == language
                        ids[language, np.unique(tokens[rows][places[rows] == place])] = True
                in_pair = languages[1] >= 0
                partners[languages[0][in_pair], languages[1][in_pair]] = True
        return cls(ids, partners | partners.T)

    def targets_of(self, language: int) -> Numbers:
        """List the languages that text of one may be translated to; int64.

        Raises:
            DataError: There is no other one.
        """
        others = np.arange(len(self.ids)) != language
        for candidates in (self.partners[language] & others, self.ids.any(1) & others):
            if candidates.any():
                return np.flatnonzero(candidates)
        raise DataError(
            "`objectives` btmlm: the shards are of one language; it needs text in another, too"
        )
